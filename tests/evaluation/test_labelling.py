"""Two raters label without seeing each other; a third decides; what is settled counts."""

import io
import threading

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from openpyxl import load_workbook

from chat.models import Conversation, Message, Turn
from evaluation import claiming, labelling, pooling, progress
from evaluation.labelling import Form
from evaluation.models import GoldenQuestion, Item, Label, PooledPassage, Relevance, Verdict
from knowledge.models import Chunk, KnowledgeBase, Role
from opsdesk.errors import Conflict
from tests.evaluation import drawn
from tests.knowledge import documents

pytestmark = pytest.mark.django_db
HANDOFF = Turn.Outcome.HANDOFF


@pytest.fixture
def base():
    made = documents.base(audience=KnowledgeBase.Audience.VISITORS)
    documents.put_many(
        made, "怎么重启：先执行 systemctl restart nginx。", "重启之前备份配置。", "值班表在门户上。"
    )
    return made


@pytest.fixture
def sampler(base):
    return drawn.staff("sampler", "add_sample")


@pytest.fixture
def ann():
    return drawn.staff("ann")


@pytest.fixture
def bob():
    return drawn.staff("bob")


@pytest.fixture
def eve():
    return drawn.staff("eve", "adjudicate_sample")


@pytest.fixture
def sample(base, sampler):
    for outcome in (Turn.Outcome.ANSWERED, Turn.Outcome.ANSWERED, HANDOFF):
        drawn.turn(base, outcome)
    return drawn.draw(sampler, 3, axes=())


def settled(sample):
    return {one.item: one for one in labelling.settled(sample)}


# --- settling ---------------------------------------------------------------------------


def test_what_two_raters_agree_on_is_settled_and_is_the_turns_verdict(sample, ann, bob):
    one = drawn.label(sample, ann, "right" if sample.items.first().answered else "refused")
    assert settled(sample)[one.item_id].kind is None
    assert not Verdict.objects.exists()
    again = drawn.label(sample, bob, one.kind, note="好")
    assert again.item == one.item
    made = settled(sample)[one.item_id]
    assert made.kind == one.kind
    assert made.independent == {ann.pk: one.kind, bob.pk: one.kind}
    assert made.turn == one.item.turn_id
    verdict = Verdict.objects.get()
    assert (verdict.turn, verdict.kind, verdict.item, verdict.note) == (
        one.item.turn, one.kind, one.item, "好",
    )  # fmt: skip


def answered(sample):
    return sample.items.filter(answered=True).first()


def of(item, user, decide=False):
    return Label.objects.create(item=item, rater=user, adjudicates=decide)


def test_where_raters_differ_a_third_decides(sample, ann, bob, eve):
    item = answered(sample)
    pooling.pool(item)
    keys = list(item.pool.values_list("key", flat=True))
    labelling.finish(of(item, ann), Form("right", unsupported=frozenset({2})))
    labelling.finish(of(item, bob), Form("partly", relevant={key: key == keys[1] for key in keys}))
    item.refresh_from_db()
    assert (item.kind, item.disputed) == (None, True)
    made = settled(sample)[item.pk]
    assert made.kind is None
    assert made.sentences == {1: True}  # about the second they differ
    assert made.pool == made.relevant == frozenset()
    verdict, sentences, passages = labelling.disputes(labelling.said_of(item), 2)
    assert (verdict, sentences, set(passages)) == (True, [2], {keys[0], keys[1]})
    assert claiming.claim(sample, ann, decide=True) is None  # they labelled it themselves
    label = drawn.label(sample, eve, "partly", decide=True, relevant=dict.fromkeys(keys, True))
    assert label.item == item
    made = settled(sample)[item.pk]
    assert (made.kind, made.sentences) == ("partly", {1: True, 2: True})
    assert made.relevant == made.pool == frozenset(keys)
    assert made.independent == {ann.pk: "right", bob.pk: "partly"}
    verdict = Verdict.objects.get()
    assert (verdict.kind, verdict.by, verdict.right) == ("partly", eve, False)


def test_a_quarrel_about_a_passage_does_not_hold_up_the_verdict(sample, ann, bob, eve):
    item = answered(sample)
    pooling.pool(item)
    keys = list(item.pool.values_list("key", flat=True))
    labelling.finish(of(item, ann), Form("wrong"))
    labelling.finish(of(item, bob), Form("wrong", relevant={keys[-1]: True}))
    made = settled(sample)[item.pk]
    assert (made.kind, made.pool) == ("wrong", frozenset())
    assert Item.objects.get(pk=item.pk).disputed
    assert drawn.label(sample, eve, "wrong", decide=True, relevant={keys[-1]: True})
    assert settled(sample)[item.pk].relevant == {keys[-1]}


def test_one_rater_settles_where_one_is_wanted(base, sampler, ann, bob):
    drawn.turn(base)
    sample = drawn.draw(sampler, 1, raters=1)
    label = drawn.label(sample, ann, "wrong")
    assert settled(sample)[label.item_id].kind == "wrong"
    assert claiming.claim(sample, bob) is None


def test_only_what_fits_the_outcome_can_be_said(sample, ann):
    item = answered(sample)
    for kind in ("refused", "missed", "", "nonsense"):
        with pytest.raises(ValidationError):
            labelling.finish(of(item, ann), Form(kind))
        Label.objects.all().delete()


def test_kappa_is_that_of_the_blind_verdicts(base, sampler, ann, bob):
    for _n in range(10):
        drawn.turn(base)
    sample = drawn.draw(sampler, 10)
    kinds = ["right"] * 6 + ["wrong"] * 4
    for item, first, second in zip(sample.items.all(), kinds, ["right"] * 5 + ["wrong"] * 5,
                                   strict=True):  # fmt: skip
        labelling.finish(of(item, ann), Form(first, seconds=30))
        labelling.finish(of(item, bob), Form(second, seconds=10))
    made = progress.of(sample)
    # (0.9 - (0.6·0.5 + 0.4·0.5)) / (1 - 0.5)
    assert made.agreement.kappa == pytest.approx(0.8)
    assert (made.settled, made.disputed, made.whole) == (9, 1, 10)
    assert [(one.name, one.labels, one.seconds) for one in made.raters] == [
        ("ann", 10, 30), ("bob", 10, 10),
    ]  # fmt: skip


# --- claiming ---------------------------------------------------------------------------


def test_an_item_goes_to_two_and_each_gets_it_once(sample, ann, bob, eve):
    first = claiming.claim(sample, ann)
    assert claiming.claim(sample, ann) == first  # until it is done
    assert claiming.claim(sample, bob).item == first.item
    assert claiming.claim(sample, eve).item != first.item
    labelling.finish(first, Form(labelling.kinds(first.item)[0]))
    assert claiming.claim(sample, ann).item != first.item


def test_a_claim_that_was_left_comes_free_and_the_draft_stays(sample, ann, bob, eve):
    first = claiming.claim(sample, ann)
    labelling.keep(first, Form("", note="半句", seconds=5))
    claiming.claim(sample, bob)
    Label.objects.filter(pk=first.pk).update(lease_until=timezone.now())
    third = claiming.claim(sample, eve)
    assert third.item == first.item
    assert claiming.claim(sample, ann).item != first.item  # two others have it now
    third.delete()
    Label.objects.filter(item=first.item, rater=bob).delete()
    again = claiming.claim(sample, ann)
    assert (again.pk, again.note, again.seconds) == (first.pk, "半句", 5)


def test_what_others_finished_meanwhile_is_refused(sample, ann, bob, eve):
    first = claiming.claim(sample, ann)
    kind = labelling.kinds(first.item)[0]
    for user in (bob, eve):
        labelling.finish(of(first.item, user), Form(kind))
    with pytest.raises(Conflict):
        labelling.finish(first, Form(kind))


def test_what_is_passed_over_comes_last(sample, ann):
    first = claiming.claim(sample, ann)
    claiming.pass_over(first)
    items = []
    for _n in range(2):
        label = claiming.claim(sample, ann)
        labelling.finish(label, Form(labelling.kinds(label.item)[0]))
        items.append(label.item)
    assert first.item not in items
    assert claiming.claim(sample, ann) == first


@pytest.mark.django_db(transaction=True)
def test_of_many_who_claim_at_once_no_item_goes_to_more_than_two(base, sampler):
    for _n in range(6):
        drawn.turn(base)
    sample = drawn.draw(sampler, 6)
    for item in sample.items.all():
        pooling.pool(item)
    users = [drawn.staff(f"rater{n}") for n in range(6)]
    begin = threading.Barrier(len(users))
    got = {}

    def work(user):
        try:
            begin.wait(30)
            mine = []
            while label := claiming.claim(sample, user):
                labelling.finish(label, Form("right"))
                mine.append(label.item_id)
            got[user.pk] = mine
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[user]) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    labelled = [item for items in got.values() for item in items]
    assert sorted(labelled) == sorted(list(sample.items.values_list("pk", flat=True)) * 2)
    assert all(len(set(items)) == len(items) for items in got.values())
    assert Verdict.objects.count() == 6


def test_nobody_labels_what_they_may_not_read(sample, base):
    from django.contrib.auth.models import Group

    viewer = drawn.staff("viewer")
    viewer.user_permissions.remove(*viewer.user_permissions.filter(codename="view_document"))
    viewer = User.objects.get(pk=viewer.pk)
    assert claiming.claim(sample, viewer) is None
    group = Group.objects.create(name="g")
    viewer.groups.add(group)
    Role.objects.create(knowledge_base=base, group=group, kind=Role.Kind.VIEWER)
    viewer = User.objects.get(pk=viewer.pk)
    label = claiming.claim(sample, viewer)
    assert label
    # Passages of a base that they may not read make an item another's.
    Item.objects.update(bases=[base.pk, base.pk + 1000])
    assert claiming.mine(viewer, label.pk) is None


# --- the pool ---------------------------------------------------------------------------


def test_the_pool_holds_what_was_shown_and_what_any_way_finds(sample, base):
    item = answered(sample)
    pooling.pool(item)
    rows = list(item.pool.all())
    assert [row.rank for row in rows] == [1, 2, 3]
    assert {"shown", "cited"} <= set(rows[0].methods)
    assert any("words" in row.methods for row in rows)
    assert len({row.key for row in rows}) == 3
    made = settled(sample)[item.pk]
    assert made.shown == tuple(row.key for row in rows)
    before = [row.pk for row in rows]
    pooling.pool_all(sample.pk)  # delivered again
    assert list(item.pool.values_list("pk", flat=True)) == before
    assert pooling.of_sample(sample) == 0


def test_a_passage_keeps_its_name_when_its_document_is_read_anew(base, sampler):
    turn = drawn.turn(base)
    first = turn.trace["passages"][0]["chunk_id"]
    sample = drawn.draw(sampler, 1)
    chunk = Chunk.objects.get(pk=first)
    before = pooling.key(chunk.document_id, chunk.text)
    Chunk.objects.filter(pk=first).delete()
    pooling.pool(sample.items.get())
    gone = PooledPassage.objects.get(rank=1)
    assert gone.chunk is None
    assert (gone.key, gone.text) == (before, chunk.text)


def test_what_is_cited_counts_as_relevant_if_the_answer_is_right(sample, ann):
    item = answered(sample)
    pooling.pool(item)
    labelling.finish(of(item, ann), Form("right"))
    assert list(Relevance.objects.order_by("passage__rank").values_list("relevant", flat=True)) == [
        True, False, False,
    ]  # fmt: skip
    Label.objects.all().delete()
    labelling.finish(of(item, ann), Form("unanswerable"))
    assert not Relevance.objects.filter(relevant=True).exists()


# --- pages ------------------------------------------------------------------------------


def begin(client, sample, user, **post):
    client.force_login(user)
    return client.post(reverse("admin:evaluation_sample_claim", args=[sample.pk]), post)


def test_two_keys_label_an_item_and_lead_to_the_next(client, sample, ann):
    page = begin(client, sample, ann).url
    shown = client.get(page).content.decode()
    label = Label.objects.get()
    assert "怎么重启" in shown
    assert "systemctl" in shown
    kind = labelling.kinds(label.item)[0]
    # A verdict's key and Enter post what the page holds.
    keys = list(label.item.pool.values_list("key", flat=True))
    said = {"kind": kind, "seconds": "12", "pool": keys, "sentence": ["1", "2"],
            "supported": ["1", "2"], "relevant": keys[:1]}  # fmt: skip
    finish = reverse("admin:evaluation_sample_finish", args=[label.pk])
    after = client.post(finish, said)
    label.refresh_from_db()
    assert (label.kind, label.seconds, bool(label.done_at)) == (kind, 12, True)
    assert Relevance.objects.filter(relevant=True).count() == 1
    assert f"?last={label.pk}" in after.url
    assert str(label.pk) not in after.url.split("?")[0]
    assert "undo" in client.get(after.url).content.decode()
    # Enter twice: the second changes nothing.
    assert client.post(finish, {**said, "kind": "wrong"}).status_code == 302
    label.refresh_from_db()
    assert label.kind == kind


def test_a_label_is_taken_back_and_stands_there_as_it_was(client, base, sampler, ann, bob):
    drawn.turn(base)
    sample = drawn.draw(sampler, 1)
    label = drawn.label(sample, ann, "wrong", unsupported=frozenset({2}), note="旧")
    drawn.label(sample, bob, "wrong")
    assert Verdict.objects.exists()
    client.force_login(ann)
    back = client.post(reverse("admin:evaluation_sample_undo", args=[label.pk]))
    assert not Verdict.objects.exists()
    shown = client.get(back.url).content.decode()
    assert 'value="旧"' in shown
    assert 'value="wrong" required checked' in shown
    label.refresh_from_db()
    assert label.sentences[1] == {"n": 2, "supported": False}
    labelling.finish(label, Form("right"))
    drawn.staff("judge", "adjudicate_sample")
    assert claiming.claim(sample, User.objects.get(username="judge"), decide=True)
    with pytest.raises(Conflict):
        labelling.undo(label)


def test_a_rater_sees_nothing_of_the_other(client, sample, ann, bob):
    item = answered(sample)
    labelling.finish(of(item, ann), Form("unanswerable", note="安的秘密"))
    client.force_login(bob)
    label = of(item, bob)
    page = client.get(reverse("admin:evaluation_sample_label", args=[label.pk]))
    assert "安的秘密" not in page.content.decode()
    assert client.get(
        reverse("admin:evaluation_sample_label", args=[Label.objects.get(rater=ann).pk])
    ).status_code == 404  # fmt: skip
    sheet = client.get(reverse("admin:evaluation_sample_export", args=[sample.pk, "csv"]))
    assert sheet.status_code == 403
    own = client.get(reverse("admin:evaluation_sample_export", args=[sample.pk, "csv"]) + "?mine")
    assert "安的秘密" not in own.content.decode("utf-8-sig")


def test_who_decides_sees_what_both_said(client, base, sampler, ann, bob, eve):
    drawn.turn(base)
    sample = drawn.draw(sampler, 1)
    drawn.label(sample, ann, "right")
    drawn.label(sample, bob, "wrong", note="过时了")
    page = begin(client, sample, eve, decide="1").url
    shown = client.get(page).content.decode()
    assert "过时了" in shown
    assert "disputed" in shown


def test_a_draft_outlives_its_page(client, sample, ann):
    page = begin(client, sample, ann).url
    label = Label.objects.get()
    keys = list(label.item.pool.values_list("key", flat=True))
    keep = reverse("admin:evaluation_sample_keep", args=[label.pk])
    draft = {"note": "想一想", "seconds": "7", "pool": keys, "relevant": keys[2:]}
    assert client.post(keep, draft).status_code == 204
    shown = client.get(page).content.decode()
    assert 'value="想一想"' in shown
    assert f'value="{keys[2]}" checked' in shown
    assert f'value="{keys[0]}" checked' not in shown
    assert not Label.objects.done().exists()


def test_a_passage_is_looked_up_and_joins_the_pool(client, base, sampler, ann):
    drawn.turn(base, text="zzz", passages=[])
    sample = drawn.draw(sampler, 1)
    begin(client, sample, ann)
    label = Label.objects.get()
    found = client.get(reverse("admin:evaluation_sample_search", args=[label.pk]) + "?q=值班表")
    chunk = Chunk.objects.get(text__contains="值班表")
    assert f'data-chunk="{chunk.pk}"' in found.content.decode()
    add = reverse("admin:evaluation_sample_pool", args=[label.pk])
    for _n in range(2):
        assert "值班表" in client.post(add, {"chunk": chunk.pk}).content.decode()
    row = PooledPassage.objects.get(chunk=chunk)
    assert row.methods == ["search"]
    assert client.post(add, {"chunk": "9" * 30}).status_code == 404


def test_a_passage_that_is_added_is_for_those_who_may_read_it(client, base, sampler, ann, bob):
    open_, hidden = (documents.base(name) for name in ("open", "hidden"))
    KnowledgeBase.objects.filter(pk=open_.pk).update(audience=KnowledgeBase.Audience.VISITORS)
    turn = drawn.turn(base, text="zzz", passages=[])
    Conversation.objects.filter(pk=turn.conversation_id).update(knowledge_base=None)
    sample = drawn.draw(sampler, 1)
    begin(client, sample, ann)
    label = Label.objects.get()
    add = reverse("admin:evaluation_sample_pool", args=[label.pk])
    documents.put(hidden, "仓库的门禁密码在保险柜里。")
    secret = hidden.chunks.get()
    assert client.post(add, {"chunk": secret.pk}).status_code == 404  # the asker may not read it
    label.item.refresh_from_db()
    assert hidden.pk not in label.item.bases
    documents.put(open_, "值班经理的电话在墙上。")
    assert client.post(add, {"chunk": open_.chunks.get().pk}).status_code == 200
    label.item.refresh_from_db()
    assert set(label.item.bases) == {base.pk, open_.pk}
    narrow(bob, base)
    assert claiming.claim(sample, User.objects.get(pk=bob.pk)) is None


def narrow(user, base):
    """From now on `user` may read `base` alone."""
    user.user_permissions.remove(*user.user_permissions.filter(codename="view_document"))
    group = Group.objects.create(name=f"only-{base.slug}-{user.username}")
    Role.objects.create(knowledge_base=base, group=group, kind=Role.Kind.VIEWER)
    user.groups.add(group)


def test_nobody_judges_a_passage_that_was_added_behind_their_page(sample, ann, bob):
    item = answered(sample)
    pooling.pool(item)
    seen = dict.fromkeys(item.pool.values_list("key", flat=True), False)
    other = documents.base("other", audience=KnowledgeBase.Audience.VISITORS)
    documents.put(other, "值班经理的电话在墙上。")
    added = pooling.add(item, other.chunks.get())
    labelling.finish(of(item, ann), Form("wrong", relevant={**seen, added.key: True}))
    labelling.finish(of(item, bob), Form("wrong", relevant=seen))
    assert added.judged.get().rater == ann
    assert settled(sample)[item.pk].relevant == {added.key}


def test_a_question_is_proposed_for_the_golden_set(client, base, sampler, admin_user):
    drawn.turn(base)
    sample = drawn.draw(sampler, 1)
    begin(client, sample, admin_user)
    label = Label.objects.get()
    keys = list(label.item.pool.values_list("key", flat=True))
    finish = reverse("admin:evaluation_sample_finish", args=[label.pk])
    said = {"kind": "wrong", "pool": keys, "relevant": keys[1:2], "golden": "1"}
    client.post(finish, said)
    made = GoldenQuestion.objects.get()
    assert (made.question, made.expected, made.approved_at) == ("怎么重启？", "answered", None)
    assert made.sources.count() == 1


def test_numbers_of_people_are_masked(client, base, sampler, ann):
    turn = drawn.turn(base, text="我的手机 13812345678 收不到验证码", reply="已发到 13812345678。")
    Message.objects.filter(pk=turn.message_id).update(seq=3)
    Message.objects.create(
        conversation=turn.conversation, seq=1, role="customer", text="身份证 11010519491231002X"
    )
    page = begin(client, drawn.draw(sampler, 1), ann).url
    shown = client.get(page).content.decode()
    assert "13812345678" not in shown
    assert "11010519491231002X" not in shown
    assert "【手机号】" in shown


def test_who_may_not_label_does_not(client, sample):
    user = drawn.staff("reader", "view_sample")
    user.user_permissions.remove(*user.user_permissions.filter(codename="label_sample"))
    assert begin(client, sample, user).status_code == 403
    assert client.get(reverse("admin:evaluation_sample_claim", args=[sample.pk])).status_code == 405
    page = client.get(reverse("admin:evaluation_sample_change", args=[sample.pk]))
    assert page.status_code == 200
    label = of(sample.items.first(), user)
    for name in ("finish", "keep", "pass", "undo", "pool"):
        url = reverse(f"admin:evaluation_sample_{name}", args=[label.pk])
        assert client.post(url).status_code == 403, name


# --- sheets -----------------------------------------------------------------------------


def bring(client, sample, rows, name="labels.csv"):
    text = "\n".join(",".join(row) for row in rows)
    file = SimpleUploadedFile(name, text.encode("utf-8-sig"))
    return client.post(
        reverse("admin:evaluation_sample_import", args=[sample.pk]), {"file": file}
    ).context["brought"]


def test_labels_go_out_and_come_back_unchanged(client, sample, ann, bob, sampler):
    for user, note in ((ann, '=HYPERLINK("http://x")'), (bob, "好，“引号”\n换行")):
        for _n in range(3):
            claimed = claiming.claim(sample, user)
            kind = labelling.kinds(claimed.item)[1]
            form = Form(kind, note, frozenset({1}), frozenset({2}), seconds=3)
            labelling.finish(claimed, form)
    client.force_login(sampler)
    for kind in ("csv", "xlsx"):
        url = reverse("admin:evaluation_sample_export", args=[sample.pk, kind])
        sheet = client.get(url).content
        if kind == "csv":
            assert "'=HYPERLINK" in sheet.decode("utf-8-sig")
        else:
            rows = list(load_workbook(io.BytesIO(sheet)).active.iter_rows())
            assert len(rows) == 7
            assert all(cell.data_type != "f" for row in rows for cell in row)
        file = SimpleUploadedFile(f"labels.{kind}", sheet)
        page = client.post(
            reverse("admin:evaluation_sample_import", args=[sample.pk]), {"file": file}
        )
        brought = page.context["brought"]
        assert (brought.labelled, brought.unchanged, brought.refused) == (0, 6, []), kind


def test_a_sheet_holds_what_one_may_read(client, sample, base, ann, eve):
    sheet = reverse("admin:evaluation_sample_export", args=[sample.pk, "csv"])
    item = answered(sample)
    client.force_login(ann)
    assert "重启" not in client.get(sheet + "?mine").content.decode()  # no passages yet
    pooling.pool_all(sample.pk)
    assert client.get(sheet + "?mine").content.decode().count("怎么重启") == 3
    for user in (ann, eve):
        labelling.finish(of(item, user), Form("wrong"))
    client.force_login(eve)
    assert "怎么重启" in client.get(sheet).content.decode()
    narrow(eve, documents.base("elsewhere"))
    assert "怎么重启" not in client.get(sheet).content.decode()


def test_a_sheet_labels_and_says_which_rows_cannot(client, sample, ann):
    client.force_login(ann)
    item = answered(sample)
    refused = sample.items.get(answered=False)
    brought = bring(
        client,
        sample,
        [
            [
                "item",
                "verdict",
                "unsupported sentences",
                "relevant passages",
                "rater",
                "note",
                "repeated sentences",
            ],
            [str(item.position), "wrong", "2", '"1, 3"', "", "来自表格", "2"],
            [str(refused.position), "right", "", "", "", "", ""],
            ["99", "right", "", "", "", "", ""],
            [str(item.position), "partly", "", "", "bob", "", ""],
            [str(item.position), "wrong", "7", "", "ann", "", ""],
            [str(refused.position), "", "", "", "", "ohne", ""],
        ],
    )
    assert brought.labelled == 1
    assert [row for row, _why in brought.refused] == [3, 4, 5, 6]
    assert all(why for _row, why in brought.refused)
    label = Label.objects.done().get()
    assert (label.kind, label.note) == ("wrong", "来自表格")
    assert label.sentences == [
        {"n": 1, "supported": True}, {"n": 2, "supported": False, "again": True},
    ]  # fmt: skip
    assert Relevance.objects.filter(relevant=True).count() == 2
    page = client.post(
        reverse("admin:evaluation_sample_import", args=[sample.pk]),
        {"file": SimpleUploadedFile("x.csv", b"a,b\n1,2\n")},
    )
    assert page.context["form"].errors


# --- with many stored -----------------------------------------------------------------------

MANY = """
    INSERT INTO chat_conversation
        (id, channel, visitor, identity, language, title, state, epoch, last_seq, created_at,
         updated_at)
    SELECT gen_random_uuid(), 'web', 'v', '', 'zh-hans', '', 'bot', 0, 2, now(), now()
    FROM generate_series(1, 10000);
    INSERT INTO chat_message
        (conversation_id, seq, role, text, client_msg_id, epoch, data, public, created_at)
    SELECT id, seq, CASE seq % 2 WHEN 1 THEN 'customer' ELSE 'assistant' END, '怎么重启', '', 0,
        '{}', true, now()
    FROM chat_conversation, generate_series(1, 10) seq;
    INSERT INTO chat_turn
        (conversation_id, message_id, reply_id, epoch, status, outcome, attempt, confidence,
         pending, trace, created_at)
    SELECT asked.conversation_id, asked.id, said.id, 0, 'done', 'answered', 1, 0.9, '{}',
        jsonb_build_object('query', '怎么重启', 'sureness', jsonb_build_object('base', BASE)),
        now()
    FROM chat_message asked JOIN chat_message said
        ON said.conversation_id = asked.conversation_id AND said.seq = asked.seq + 1
    WHERE asked.seq % 2 = 1;
    INSERT INTO evaluation_sample
        (name, seed, design, frame, axes, k, raters, population, excluded, size, drawn_at)
    SELECT 'alt ' || n, n, 'simple', '{"from": "2026-11-01T00:00:00+00:00",
        "to": "2026-11-22T00:00:00+00:00"}', '{}', 5, 2, 50000, '{}', 200, now()
    FROM generate_series(1, 50) n;
    INSERT INTO evaluation_stratum (sample_id, key, population, drawn)
    SELECT id, '{}', 50000, 200 FROM evaluation_sample;
    INSERT INTO evaluation_item
        (sample_id, stratum_id, turn_id, position, answered, bases, disputed, kind, pooled_at)
    SELECT stratum.sample_id, stratum.id, turn.id, n, true, ARRAY[BASE::bigint], false,
        CASE WHEN n < 100 THEN 'right' END, now()
    FROM evaluation_stratum stratum CROSS JOIN generate_series(1, 200) n
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS at FROM chat_turn) turn
        ON turn.at = n * 7;
    INSERT INTO evaluation_label
        (item_id, rater_id, adjudicates, kind, sentences, note, seconds, draft, done_at)
    SELECT id, rater, false, 'right', '[]', '', 20, '{}', now()
    FROM evaluation_item, unnest(ARRAY[ANN, BOB]) rater WHERE position < 100;
    INSERT INTO evaluation_pooledpassage (item_id, key, title, locator, text, methods)
    SELECT id, n::text, '手册', '', '先备份', '{words}'
    FROM evaluation_item, generate_series(1, 3) n;
    INSERT INTO evaluation_relevance (passage_id, rater_id, relevant, adjudicates)
    SELECT passage.id, ANN, false, false FROM evaluation_pooledpassage passage
    JOIN evaluation_item item ON item.id = passage.item_id WHERE item.position < 100;
    ANALYZE;
"""
LARGE = ("chat_conversation", "chat_message", "chat_turn", "evaluation_item", "evaluation_label",
         "evaluation_pooledpassage", "evaluation_relevance")  # fmt: skip


def scanned(statements):
    """The large tables that a statement reads from end to end, by its plan."""
    for statement in statements:
        sql = statement["sql"]
        if not sql.startswith("SELECT"):
            continue
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
        for table in LARGE:
            if f"Seq Scan on {table}" in plan:
                yield table, sql, plan


def test_the_pages_read_no_large_table_with_100000_messages_stored(client, base, sampler, ann, bob):
    with connection.cursor() as cursor:
        many = MANY.replace("BASE", str(base.pk))
        cursor.execute(many.replace("ANN", str(ann.pk)).replace("BOB", str(bob.pk)))
    assert Message.objects.count() == 100_000
    sample = Item.objects.order_by("-pk").first().sample
    carl = drawn.staff("carl", "adjudicate_sample", "add_sample")
    client.force_login(carl)
    change = reverse("admin:evaluation_sample_change", args=[sample.pk])
    claim = reverse("admin:evaluation_sample_claim", args=[sample.pk])
    page = client.post(claim).url
    finish = reverse("admin:evaluation_sample_finish", args=[Label.objects.get(rater=carl).pk])
    for most, ask in (
        (14, lambda: client.get(reverse("admin:evaluation_sample_changelist"))),
        (30, lambda: client.get(change)),
        (30, lambda: client.get(page)),
        (60, lambda: client.post(finish, {"kind": "right", "sentence": ["1"]})),
    ):
        with CaptureQueriesContext(connection) as asked:
            assert ask().status_code in (200, 302)
        assert len(asked) <= most, [one["sql"][:120] for one in asked]
        assert list(scanned(asked.captured_queries)) == []
