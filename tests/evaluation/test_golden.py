"""Golden questions: kept from what was asked, replayed, compared, brought in as sheets."""

import io

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.files.base import ContentFile
from django.urls import reverse
from django_q.models import OrmQ

from chat import asking, runner
from chat.models import Conversation, Turn
from evaluation import comparing, golden, golden_sheets, running, verdicts
from evaluation.models import GoldenQuestion, GoldenSource, Result, Run
from handoff import actions
from knowledge import sheets
from knowledge.models import Document, KnowledgeBase, Role
from knowledge.parsing.document import Block
from opsdesk.errors import Conflict
from tests.chat.conftest import put
from tests.evaluation.golden_set import (
    BACKUP,
    DISK,
    NOWHERE,
    ask_about,
    came,
    finished,
    run,
    small_base,
)
from tests.knowledge import documents

pytestmark = pytest.mark.django_db


@pytest.fixture
def base(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    return small_base()


def asked(question=BACKUP):
    _message, turn = asking.ask(Conversation.objects.create(visitor="w" * 32), question)
    runner.run_waiting()
    return Turn.objects.select_related("conversation", "message").get(pk=turn.pk)


def staff(base=None, kind=Role.Kind.CURATOR, *permissions):
    user = User.objects.create_user(f"{kind}-{len(permissions)}", password="x", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    if base:
        group = Group.objects.create(name=str(kind))
        user.groups.add(group)
        Role.objects.create(knowledge_base=base, group=group, kind=kind)
    return user


# --- kept ----------------------------------------------------------------------------------


def test_the_same_question_is_kept_once_and_asked_when_it_is_approved(base):
    first = golden.add("备份 保留多久？", "gap", base=base)
    assert golden.add("备份保留多久", "label", base=base) == first
    assert golden.add("备份保留多久", "label", base=documents.base("b2")) != first
    assert not running.plan({}).questions
    golden.approve(GoldenQuestion.objects.filter(pk=first.pk), None)
    assert [one.question for one in running.plan({}).questions] == ["备份 保留多久？"]
    with pytest.raises(Conflict):
        golden.add("  ", "gap", base=base)


def test_a_labelled_turn_says_what_should_have_come(base, admin_user):
    right = asked()
    verdicts.judge(right, "right", "", admin_user)
    right.refresh_from_db()
    made = golden.of_turn(right, admin_user)
    cited = right.reply.citations.first()
    assert (made.expected, made.source) == ("answered", "label")
    assert [source.digest for source in made.sources.all()] == [cited.chunk.digest]
    unfit = asked(DISK)
    verdicts.judge(unfit, "unanswerable", "别处的内容", admin_user)
    unfit = Turn.objects.get(pk=unfit.pk)
    made = golden.of_turn(unfit, admin_user)
    assert (made.expected, made.sources.count(), made.note) == ("refused", 0, "别处的内容")


def test_a_conversation_is_kept_from_the_console(base, admin_user):
    turn = asked()
    done = actions.run(admin_user, turn.conversation, "regression")
    made = GoldenQuestion.objects.get()
    assert str(made.pk) in done.url
    assert (made.source, made.approved_at) == ("handoff", None)
    actions.run(admin_user, turn.conversation, "regression")  # people click twice
    assert GoldenQuestion.objects.count() == 1
    silent = Conversation.objects.create()
    assert "regression" not in [one["name"] for one in actions.offered(admin_user, silent)]


def test_a_source_survives_a_new_upload_and_says_when_it_is_gone(base):
    question = ask_about(base)[0]
    document = question.sources.get().document
    same = document.chunks.get().text
    document.delete()
    assert GoldenQuestion.objects.stale().get() == question
    again = put(base, "数据库备份", *_paragraph(same), external_id="runbooks/数据库备份")
    assert golden.find_again() == 1
    assert question.sources.get().document == again
    assert [row.digest == question.sources.get().digest for row in again.chunks.all()] == [False]
    made = run()  # of a passage that is gone its document counts
    assert came(made)[BACKUP] == ("answered", True, "")


def _paragraph(text):
    return [Block("paragraph", text)]


# --- replayed ------------------------------------------------------------------------------


def test_a_run_says_what_is_right_and_why_not(base):
    backup, disk, nowhere = ask_about(base)
    assert set(came(run()).values()) == {("answered", True, ""), ("handoff", True, "")}
    GoldenQuestion.objects.filter(pk=backup.pk).update(facts=["30 天"])
    GoldenSource.objects.filter(question=disk).update(
        document=Document.objects.get(title="值班手册 1")
    )
    GoldenQuestion.objects.filter(pk=nowhere.pk).update(expected="clarified")
    made = run()
    assert came(made) == {
        BACKUP: ("answered", False, "fact"), DISK: ("answered", False, "source"),
        NOWHERE: ("handoff", False, "outcome"),
    }  # fmt: skip
    assert Conversation.objects.count() == 0  # nothing was written
    assert running.summary(made.results.all())["right"] == 0


def test_a_run_keeps_the_versions_that_mattered(base):
    ask_about(base)
    before, strict = run(), run(CONFIDENCE=1.0)
    assert before.versions["documents"] == {"ops": KnowledgeBase.objects.get().version}
    assert strict.versions["settings"]["CONFIDENCE"] == 1.0
    assert before.fingerprint != strict.fingerprint == run(CONFIDENCE=1.0).fingerprint
    put(base, "新文档", *_paragraph("另一件事。"))
    assert run().fingerprint != before.fingerprint


def test_a_run_goes_on_where_it_stopped_is_cancelled_and_taken_up_again(base):
    ask_about(base)
    made = running.start(running.plan({}))
    assert OrmQ.objects.count() == 1
    assert not running.work(made, 0.0)  # no time left
    Result.objects.filter(run=made, position=1).update(outcome="answered", text="问过了")
    Run.objects.update(worked_at=made.created_at - running.IDLE)
    assert running.sweep() == 1
    running.go_on(made.pk)
    made.refresh_from_db()
    assert (made.state, made.done) == (Run.State.DONE, 2)
    assert made.results.get(position=1).text == "问过了"
    other = running.start(running.plan({}))
    assert running.cancel(other)
    running.go_on(other.pk)
    other.refresh_from_db()
    assert (other.state, other.done) == (Run.State.CANCELLED, 0)
    assert not running.cancel(other)


def test_yesterdays_questions_are_asked_once_each(base):
    asked()
    asked()
    asked(NOWHERE)
    assert [one.question for one in running.recent(None, 9)] == [NOWHERE, BACKUP]
    assert [one.question for one in running.recent(base.pk, 1)] == [NOWHERE]


# --- compared ------------------------------------------------------------------------------


def test_two_runs_are_compared_question_by_question(base):
    ask_about(base)
    found = comparing.compare(run(), run(CONFIDENCE=1.0))
    assert {pair.after.question for pair in found.of(comparing.LOST)} == {BACKUP, DISK}
    assert [pair.after.question for pair in found.of(comparing.SAME)] == [NOWHERE]
    apart = found.difference
    assert (apart.n, apart.won, apart.lost, apart.before, apart.after) == (3, 0, 2, 1.0, 1 / 3)
    assert apart.p == 0.5


@pytest.mark.parametrize(
    ("won", "lost", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 6, 0.03125), (1, 9, 0.021484375)]
)
def test_the_exact_test_of_an_uneven_split(won, lost, p):
    assert comparing.mcnemar(won, lost) == pytest.approx(p)


def test_the_interval_of_a_moved_mean_holds_it():
    pairs = [(n % 7, n % 7 + 1 + (n % 3 - 1) / 10) for n in range(60)]
    found = comparing.moved(pairs)
    assert found.difference == pytest.approx(1.0)
    assert found.low < found.difference < found.high
    assert found.high - found.low < 0.1
    assert comparing.moved([]) is None


# --- sheets --------------------------------------------------------------------------------


def sheet(*rows):
    head = ["问题", "预期", "文档", "必须包含", "标签", "必答"]
    return sheets.to_csv([head, *rows])


def read(base, tmp_path, content):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    return golden_sheets.read(file, "a.csv", base)


def test_a_sheet_is_brought_in_and_its_bad_rows_say_why(base, tmp_path, admin_user):
    content = sheet(
        [BACKUP, "", "runbooks/数据库备份", "/data/backup\n14 天", "备份，值班", "是"],
        [NOWHERE, "拒答", "", "", "", ""],
        [f"{BACKUP} ", "", "", "", "", ""],
        ["哪里有？", "也许", "", "", "", ""],
        ["哪里有呢？", "", "没有的文档", "", "", ""],
        ["", "回答", "", "", "", ""],
    )
    rows = read(base, tmp_path, content)
    assert [bool(row.error) for row in rows] == [False, False, True, True, True, True]
    assert "2" in rows[2].error
    assert golden_sheets.keep(rows, base, admin_user) == (2, 0)
    made = GoldenQuestion.objects.get(question=BACKUP)
    assert (made.must, made.tags, made.facts) == (True, ["备份", "值班"], ["/data/backup", "14 天"])
    assert made.sources.get().document.title == "数据库备份"
    assert GoldenQuestion.objects.get(question=NOWHERE).expected == "refused"


def test_a_sheet_that_was_exported_comes_back_without_a_change(base, tmp_path, admin_user):
    question = ask_about(base)[0]
    digest = question.sources.get().digest
    content = sheets.to_csv(golden_sheets.exported(GoldenQuestion.objects.all()))
    rows = read(base, tmp_path, content)
    assert golden_sheets.keep(rows, base, admin_user) == (0, 3)
    question.refresh_from_db()
    assert (question.facts, question.approved_at is None) == (["/data/backup"], False)
    assert question.sources.get().digest == digest  # the passage, not only its document


# --- pages ---------------------------------------------------------------------------------


def url(name, *args):
    return reverse(f"admin:evaluation_{name}", args=args)


def test_the_page_of_a_question_names_passages_and_approves(admin_client, base):
    one = golden.add(BACKUP, "gap", base=base)
    page = admin_client.get(url("goldenquestion_change", one.pk))
    assert "数据库备份" in page.content.decode()
    chunk = Document.objects.get(title="数据库备份").chunks.get()
    admin_client.post(url("goldenquestion_sources", one.pk), {"chunk": chunk.pk})
    admin_client.post(url("goldenquestion_sources", one.pk), {"chunk": chunk.pk})
    assert one.sources.get().digest == chunk.digest
    admin_client.post(url("goldenquestion_approve", one.pk))
    one.refresh_from_db()
    assert one.approved_by.username == "admin"
    admin_client.post(url("goldenquestion_sources", one.pk), {"remove": one.sources.get().pk})
    assert not one.sources.exists()
    assert "1" in admin_client.get(url("goldenquestion_changelist")).content.decode()


def test_the_page_of_a_base_counts_them(admin_client, base):
    ask_about(base)
    golden.add("磁盘满了怎么办？", "gap", base=base)
    finished(running.prepare(running.plan({}, base=base.pk)))
    page = admin_client.get(reverse("admin:knowledge_knowledgebase_change", args=[base.pk]))
    assert "3 / 3" in page.content.decode()


def test_a_question_is_written_in_a_form_once(admin_client, base):
    given = {
        "knowledge_base": base.pk, "question": BACKUP, "expected": "answered",
        "facts": "14 天\n02:30", "tags": "备份", "note": "",
    }  # fmt: skip
    assert admin_client.post(url("goldenquestion_add"), given).status_code == 302
    assert GoldenQuestion.objects.get().facts == ["14 天", "02:30"]
    again = admin_client.post(url("goldenquestion_add"), {**given, "question": f" {BACKUP}"})
    assert again.status_code == 200
    assert GoldenQuestion.objects.count() == 1


def test_sheets_go_out_and_in_on_pages(admin_client, base):
    ask_about(base)
    chosen = [row.pk for row in GoldenQuestion.objects.all()]
    for action in ("export_csv", "export_xlsx"):
        given = {"action": action, "_selected_action": chosen}
        sent = admin_client.post(url("goldenquestion_changelist"), given)
        file = io.BytesIO(sent.content)
        file.name = f"a.{action[-4:].strip('_')}"
        page = admin_client.post(
            url("goldenquestion_import"), {"knowledge_base": base.pk, "file": file}
        )
        assert page.status_code == 302
    wrong = ContentFile(sheet(["哪里有？", "也许", "", "", "", ""]), name="a.csv")
    page = admin_client.post(
        url("goldenquestion_import"), {"knowledge_base": base.pk, "file": wrong}
    )
    assert "也许" in page.content.decode()
    picture = ContentFile(b"\x89PNG", name="a.csv")
    page = admin_client.post(
        url("goldenquestion_import"), {"knowledge_base": base.pk, "file": picture}
    )
    assert page.status_code == 200


def test_a_turn_is_kept_from_its_page(admin_client, base):
    turn = asked()
    page = admin_client.get(reverse("admin:chat_turn_change", args=[turn.pk])).content.decode()
    assert url("goldenquestion_keep", turn.pk) in page
    admin_client.post(url("goldenquestion_keep", turn.pk))
    assert GoldenQuestion.objects.get().question == BACKUP


def test_runs_are_started_followed_and_compared_on_pages(admin_client, base):
    ask_about(base)
    page = admin_client.post(url("run_start"), {"yesterday": "0", "name": "第一次"})
    before = Run.objects.get()
    assert page.url == url("run_change", before.pk)
    assert admin_client.get(page.url).headers["Refresh"] == "5"
    finished(before)
    assert "3 / 3" in admin_client.get(page.url).content.decode()
    after = run(CONFIDENCE=1.0)
    shown = admin_client.get(url("run_compare", after.pk), {"with": before.pk}).content.decode()
    assert BACKUP in shown
    assert "设置 · CONFIDENCE" in shown
    won = admin_client.get(url("run_compare", after.pk), {"with": before.pk, "kind": "won"})
    assert BACKUP not in won.content.decode()
    empty = admin_client.post(url("run_start"), {"yesterday": "0", "tags": "没有"})
    assert (empty.status_code, Run.objects.count()) == (200, 2)
    assert admin_client.get(url("run_changelist")).status_code == 200


def test_curators_work_on_their_own_base_alone(client, base):
    mine, other = golden.add(BACKUP, "gap", base=base), documents.base("theirs")
    theirs = golden.add(DISK, "gap", base=other)
    everywhere = Run.objects.create(fingerprint="x")
    client.force_login(staff(base))
    assert client.get(url("goldenquestion_change", mine.pk)).status_code == 200
    assert client.get(url("goldenquestion_change", theirs.pk)).status_code == 302  # none to see
    assert client.post(url("goldenquestion_approve", mine.pk)).status_code == 302
    for name in ("goldenquestion_approve", "goldenquestion_sources"):
        assert client.post(url(name, theirs.pk)).status_code == 403
    assert client.get(url("goldenquestion_approve", mine.pk)).status_code == 405
    assert client.post(url("run_start"), {"yesterday": "0"}).status_code == 200  # which base?
    started = client.post(url("run_start"), {"yesterday": "0", "knowledge_base": base.pk})
    assert client.get(started.url).status_code == 200
    assert client.get(url("run_change", everywhere.pk)).status_code == 302
    client.force_login(staff(base, Role.Kind.VIEWER))
    assert client.get(url("goldenquestion_change", mine.pk)).status_code == 200
    assert client.post(url("goldenquestion_approve", mine.pk)).status_code == 403
    assert client.get(url("run_start")).status_code == 403
    assert client.post(url("run_cancel", Run.objects.first().pk)).status_code == 403
