import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from knowledge import entries, retrieval, tasks, uploading
from knowledge.models import Chunk, Document, Entry, KnowledgeBase, Lexicon, Role
from opsdesk.site import panels

pytestmark = pytest.mark.django_db
LIST = reverse("admin:knowledge_entry_changelist")
ADD = reverse("admin:knowledge_entry_add")


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    return settings.MEDIA_ROOT


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


def entry(base, question="nginx 怎么重启？", answer="执行 nginx -s reload", **fields):
    return Entry.objects.create(knowledge_base=base, question=question, answer=answer, **fields)


def found(base, query):
    return [(one.question, one.text) for one in retrieval.search(query, [base]).passages]


def changed(one):
    return reverse("admin:knowledge_entry_change", args=[one.pk])


def form(one, **fields):
    return {
        "question": one.question, "answer": one.answer, "variants": "\n".join(one.variants),
        "category": one.category, "key": one.key, "product": "", "version": "",
        "environment": "", "tags": "", "expires_on": "", **fields,
    }  # fmt: skip


def test_a_draft_answers_nobody_until_it_is_published(base, admin_user):
    one = entries.draft(
        base, " nginx 怎么\n重启？", "nginx -s reload", origin=Entry.Origin.HANDOFF,
        reference="工单 7", context=[{"who": "客户 A", "at": "", "text": "…"}],
    )  # fmt: skip
    assert (one.state, one.question) == (Entry.State.DRAFT, "nginx 怎么 重启？")
    assert found(base, "nginx 重启") == []
    version = base.version
    assert entries.publish([one], admin_user) == 1
    one.refresh_from_db()
    base.refresh_from_db()
    assert found(base, "nginx 重启") == [("nginx 怎么 重启？", "nginx -s reload")]
    assert (one.decided_by, one.document.origin) == (admin_user, Document.Origin.FAQ)
    assert one.document.approved_by == admin_user and base.version > version
    original = one.document.current.file.read().decode()
    assert "# nginx 怎么 重启？\n\nnginx -s reload" in original


def test_a_question_that_is_known_makes_no_second_draft(base):
    known = entry(base, "Nginx 怎么重启")
    assert entries.draft(base, "nginx怎么重启？？", "x", origin=Entry.Origin.WECOM) == known
    assert Entry.objects.count() == 1


def test_publishing_twice_changes_nothing(base):
    one = entry(base)
    assert (entries.publish([one]), entries.publish([one])) == (1, 0)
    assert Document.objects.count() == Chunk.objects.count() == 1
    assert one.__class__.objects.get().document.revisions.count() == 1


def test_without_an_answer_nothing_is_published(base):
    assert entries.publish([entry(base, answer=" ")]) == 0
    assert not Document.objects.exists()


def test_taking_back_forgets_the_document_and_can_be_undone(
    base, files, django_capture_on_commit_callbacks
):
    one = entry(base)
    entries.publish([one])
    with django_capture_on_commit_callbacks(execute=True):
        assert entries.unpublish([one]) == 1
    assert found(base, "nginx") == [] and not Document.objects.exists()
    assert Lexicon.objects.get().chunks == 0
    assert not [path for path in files.rglob("*") if path.is_file()]
    one.refresh_from_db()
    assert (one.state, one.document) == (Entry.State.DRAFT, None)
    entries.publish([one])
    assert found(base, "nginx")
    assert entries.dismiss([one]) == 1 and found(base, "nginx") == []


def test_variants_category_and_scope_go_with_the_entry(base):
    one = entry(
        base, variants=["服务器起不来了"], category="网关", product="网关", version="2.1",
        tags=["紧急"], expires_on="2999-01-01",
    )  # fmt: skip
    entries.publish([one])
    assert found(base, "服务器起不来了")
    chunk, document = Chunk.objects.get(), Document.objects.get()
    assert (chunk.kind, chunk.questions, chunk.heading_path) == ("qa", ["服务器起不来了"], ["网关"])
    assert (document.product, document.version, document.tags) == ("网关", "2.1", ["紧急"])
    assert str(document.expires_on) == "2999-01-01"


def test_a_long_answer_is_cut_and_only_its_first_part_is_the_answer(base):
    answer = "## 步骤\n\n" + "先看日志再重启服务。" * 300
    one = entry(base, answer=answer)
    entries.publish([one])
    kinds = list(Chunk.objects.order_by("position").values_list("kind", "question"))
    assert len(kinds) > 1
    assert kinds[0] == ("qa", one.question) and set(kinds[1:]) == {("text", "")}


def test_reading_the_document_again_keeps_the_answer(base):
    one = entry(base, variants=["重载配置"])
    entries.publish([one])
    document = Document.objects.get()
    assert uploading.retry(document)
    tasks.process(document.latest_id)
    chunk = Chunk.objects.get()
    assert (chunk.kind, chunk.text, chunk.questions) == ("qa", one.answer, ["重载配置"])


def test_an_entry_whose_document_is_deleted_is_a_draft_again(base):
    one = entry(base)
    entries.publish([one])
    uploading.delete(Document.objects.all())
    one.refresh_from_db()
    assert one.state == Entry.State.DRAFT
    assert entries.publish([one]) == 1 and found(base, "nginx")


# --- the pages ------------------------------------------------------------------------


def test_a_curator_writes_edits_and_takes_back(admin_client, base):
    data = {"knowledge_base": base.pk, **form(Entry(question="nginx 怎么重启？", answer="甲"))}
    admin_client.post(ADD, {**data, "variants": "重载\n重载\n\n reload ", "_publish": "1"})
    one = Entry.objects.get()
    assert (one.state, one.variants) == (Entry.State.PUBLISHED, ["重载", "reload"])
    assert found(base, "reload")[0][1] == "甲"

    admin_client.post(changed(one), form(one, answer="乙", tags="a\nb", _save="1"))
    assert found(base, "reload")[0][1] == "乙"
    assert Document.objects.get().tags == ["a", "b"]

    page = admin_client.post(changed(one), form(one, answer="乙", _unpublish="1"), follow=True)
    assert [str(message) for message in page.context["messages"]][-1].startswith("“")
    assert found(base, "reload") == []


def test_an_edit_without_an_answer_is_refused_while_published(admin_client, base):
    one = entry(base)
    entries.publish([one])
    page = admin_client.post(changed(one), form(one, answer="", _save="1"))
    assert page.context["adminform"].form.errors["answer"]
    assert found(base, "nginx")[0][1] == one.answer


def test_the_same_question_or_number_is_refused(admin_client, base):
    known = entry(base, key="K1")
    data = {"knowledge_base": base.pk, **form(known, key="K1", _save="1")}
    errors = admin_client.post(ADD, data).context["adminform"].form.errors
    assert set(errors) == {"question", "key"} and changed(known) in str(errors)
    other = entry(base, "别的问题")
    page = admin_client.post(changed(other), form(other, key="K1", _save="1"))
    assert set(page.context["adminform"].form.errors) == {"key"}


def test_after_a_draft_is_decided_the_next_one_comes(admin_client, base):
    first, second = entry(base), entry(base, "另一个")
    page = admin_client.post(changed(second), form(second, _dismiss="1"))
    assert page.url == changed(first)
    page = admin_client.post(changed(first), form(first, _publish="1"), follow=True)
    assert page.redirect_chain[-1][0] == LIST
    assert {row.state for row in Entry.objects.all()} == {"published", "dismissed"}


def test_beside_a_draft_stands_what_answers_already_and_the_talk(admin_client, base):
    entries.publish([entry(base, "怎样重启 nginx", answer="systemctl restart nginx")])
    said = [{"who": "客户 A", "at": "2024-05-01 10:00", "text": "nginx 挂了", "part": "question"}]
    draft = entry(base, context=said)
    page = admin_client.get(changed(draft)).content.decode()
    assert "systemctl restart nginx" in page and "nginx 挂了" in page


def test_drafts_come_first_and_actions_decide_many(admin_client, base, rf, admin_user):
    done, draft, empty = entry(base), entry(base, "问二"), entry(base, "问三", answer="")
    entries.publish([done])
    rows = admin_client.get(LIST).context["cl"].result_list
    assert [row.pk for row in rows] == [empty.pk, draft.pk, done.pk]
    data = {"action": "publish", "_selected_action": [draft.pk, empty.pk]}
    page = admin_client.post(LIST, data, follow=True)
    assert [message.level_tag for message in page.context["messages"]] == ["success", "warning"]
    request = rf.get("/")
    request.user = admin_user
    panel = next(one for one in panels(request) if "state__exact=draft" in str(one))
    assert panel["rows"][0]["value"] == 1


def test_who_may_only_look_changes_nothing(client, base):
    user = User.objects.create(username="viewer", is_staff=True)
    group = Group.objects.create(name="g")
    user.groups.add(group)
    Role.objects.create(knowledge_base=base, group=group, kind=Role.Kind.VIEWER)
    client.force_login(user)
    one, foreign = entry(base), entry(KnowledgeBase.objects.create(slug="x", name="X"))
    assert client.get(changed(one)).status_code == 200
    assert client.post(changed(one), form(one, _publish="1")).status_code == 403
    data = {"action": "publish", "_selected_action": [one.pk]}
    client.post(LIST, data)
    one.refresh_from_db()
    assert one.state == Entry.State.DRAFT
    assert client.get(changed(foreign)).status_code == 302
    assert (
        foreign.question not in client.get(f"{LIST}export/csv/").content.decode().split("\n", 2)[2:]
    )
