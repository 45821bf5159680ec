"""The pages on which raters label and decide."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from chat.models import Message
from evaluation import claiming, labelling
from evaluation.labelling import Form
from evaluation.models import GoldenQuestion, Item, Label, Relevance, Verdict
from opsdesk.errors import Conflict
from tests.evaluation import drawn
from tests.evaluation.drawn import answered, begin, narrow, of
from tests.knowledge import documents

pytestmark = pytest.mark.django_db


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


def test_who_may_see_nothing_of_a_sample_is_told_why_nothing_is_there(client, sample, ann):
    page = reverse("admin:evaluation_sample_change", args=[sample.pk])
    told = "Items of knowledge bases that you may not see"
    client.cookies["django_language"] = "en"
    client.force_login(ann)
    assert told not in client.get(page).content.decode()
    narrow(ann, documents.base("elsewhere"))
    assert told in client.get(page).content.decode()


def test_lists_in_passages_leave_the_page_whole(client, base, sampler, ann):
    documents.put(base, "怎么重启，两步：\n\n- 先备份\n- 再执行 systemctl restart nginx")
    drawn.turn(base)
    page = client.get(begin(client, drawn.draw(sampler, 1), ann).url).content.decode()
    assert "<ul>\n<li>先备份</li>" in page


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
    ANALYZE chat_conversation, chat_message;  -- or what follows is planned as for empty tables
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
    ANALYZE chat_turn, evaluation_sample;
    INSERT INTO evaluation_stratum (sample_id, key, population, drawn)
    SELECT id, '{}', 50000, 200 FROM evaluation_sample;
    INSERT INTO evaluation_item
        (sample_id, stratum_id, turn_id, position, answered, bases, disputed, kind, pooled_at)
    SELECT stratum.sample_id, stratum.id, turn.id, n, true, ARRAY[BASE::bigint], false,
        CASE WHEN n < 100 THEN 'right' END, now()
    FROM evaluation_stratum stratum CROSS JOIN generate_series(1, 200) n
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS at FROM chat_turn) turn
        ON turn.at = n * 7;
    ANALYZE evaluation_item;
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
