import logging
from datetime import timedelta

import pytest
from django.utils import timezone
from structlog.contextvars import get_contextvars

from chat import asking, runner, turns
from chat.models import Turn
from chat.state import TurnState
from handoff import desk
from handoff.models import Handoff
from knowledge.models import Document
from knowledge.parsing.document import Block
from tests.chat.conftest import put


def said(conversation):
    return [(m.role, m.text) for m in conversation.messages.order_by("seq")]


def answered(text="答案", **fields):
    return TurnState("?", [], outcome="answered", text=text, **fields)


def test_a_question_is_answered_with_its_source(base, conversation):
    asking.ask(conversation, "磁盘使用率超过 90% 怎么找出大的日志？")
    assert runner.run_waiting() == 1
    turn = Turn.objects.get()
    assert (turn.status, turn.outcome) == ("done", "answered")
    reply = turn.reply
    assert "du -sh /var/log/*" in reply.text
    assert "[1]" in reply.text
    citation = reply.citations.get()
    assert (citation.n, citation.title, citation.external_id) == (
        1, "磁盘空间", "runbooks/磁盘空间",
    )  # fmt: skip
    assert "df -h" in citation.quote
    assert reply.data["mode"] == "extractive"
    assert turn.trace["passages"][0]["title"] == "磁盘空间"
    assert set(turn.trace["steps"]) == {"clarify", "recall", "answer"}


def test_what_is_logged_of_a_turn_names_it(base, conversation):
    _message, turn = asking.ask(conversation, "我要转人工")
    named = []

    class Reader(logging.Handler):
        def emit(self, record):
            named.append((record.name, get_contextvars().get("turn")))

    reader = Reader()
    logging.getLogger().addHandler(reader)
    try:
        runner.run_waiting()
    finally:
        logging.getLogger().removeHandler(reader)
    assert ("chat.runner", turn.pk) in named
    assert ("handoff.desk", turn.pk) in named


def test_what_is_not_known_goes_to_a_person(base, conversation):
    asking.ask(conversation, "量子纠缠仪如何部署？")
    runner.run_waiting()
    turn = Turn.objects.get()
    assert turn.outcome == "handoff"
    handoff = Handoff.objects.get()
    assert (handoff.reason, handoff.turn) == ("no_answer", turn)
    assert "量子纠缠" in handoff.summary
    assert said(conversation)[1:] == [
        ("assistant", "知识库里没有找到可靠的答案。"),
        ("system", "当前没有客服在岗，请留下联系方式"),
    ]
    conversation.refresh_from_db()
    assert conversation.state == "queued"


def test_a_person_asked_for_is_called_without_a_word_between(base, conversation):
    asking.ask(conversation, "转人工")
    runner.run_waiting()
    assert Handoff.objects.get().reason == "asked"
    assert [role for role, _text in said(conversation)] == ["customer", "system"]


def test_no_number_to_call_stands_in_for_a_person(base, conversation):
    text = "转人工客服请拨打 400-800-1234，或扫描二维码添加客服。"
    put(base, "联系我们", Block("heading", "转人工客服", level=1), Block("paragraph", text))
    asking.ask(conversation, "我要转人工客服")
    runner.run_waiting()
    assert Handoff.objects.get().reason == "asked"
    assert [role for role, _text in said(conversation)] == ["customer", "system"]


def test_too_little_is_asked_back_once_and_then_put_together(base, conversation):
    asking.ask(conversation, "报错了怎么办")
    runner.run_waiting()
    first = Turn.objects.get()
    assert first.outcome == "clarifying"
    assert first.pending["missing"] == ["product", "error", "done"]
    asking.ask(conversation, "Redis 哨兵故障转移超时")
    runner.run_waiting()
    second = Turn.objects.latest("pk")
    assert second.outcome == "answered"
    assert "failover-timeout" in second.reply.text


def test_a_bare_name_and_the_reply_make_one_question(base, conversation):
    for text in ("Redis", "故障转移的超时参数"):
        asking.ask(conversation, text)
        runner.run_waiting()
    first, second = Turn.objects.order_by("pk")
    assert (first.outcome, first.reply.data["options"]) == ("clarifying", ["Redis 哨兵"])
    assert second.trace["query"] == "Redis 故障转移的超时参数"
    assert second.outcome == "answered"


def test_nobody_is_asked_back_twice(base, conversation):
    for text in ("怎么办", "不行"):
        asking.ask(conversation, text)
        runner.run_waiting()
    assert [turn.outcome for turn in Turn.objects.order_by("pk")] == ["clarifying", "handoff"]


def test_a_follow_up_keeps_the_subject(base, conversation):
    for text in ("数据库备份保存在哪个目录？", "那保留多久"):
        asking.ask(conversation, text)
        runner.run_waiting()
    turn = Turn.objects.latest("pk")
    assert turn.outcome == "answered"
    assert "14 天" in turn.reply.text


def test_only_readable_bases_answer(base, conversation):
    base.audience = "signed_in"
    base.save()
    asking.ask(conversation, "数据库备份保存在哪个目录？")
    runner.run_waiting()
    assert Turn.objects.get().outcome == "handoff"


def test_turns_of_a_conversation_wait_for_each_other(conversation):
    asking.ask(conversation, "一")
    asking.ask(conversation, "二")
    first = turns.claim()
    assert first.message.text == "一"
    assert turns.claim() is None
    turns.finish(first, answered())
    assert turns.claim().message.text == "二"


def test_an_answer_under_an_old_epoch_is_discarded(conversation, django_user_model):
    asking.ask(conversation, "怎么办")
    turn = turns.claim()
    agent = django_user_model.objects.create_user("agent")
    asking.call_human(conversation, "asked")
    desk.claim(conversation, agent)
    assert turns.finish(turn, answered("迟到的答案 13812345678")) == "discarded"
    assert "迟到的答案" not in [text for _role, text in said(conversation)]
    turn.refresh_from_db()
    assert turn.trace["draft"] == "迟到的答案 【手机号】"
    assert turn.status == "done"


def test_a_turn_asked_before_a_person_took_over_is_not_even_made(base, conversation):
    asking.ask(conversation, "数据库备份保存在哪个目录？")
    asking.call_human(conversation, "asked")
    runner.run_waiting()
    turn = Turn.objects.get()
    assert (turn.outcome, "steps" in turn.trace) == ("discarded", False)


def test_what_nobody_renews_is_queued_again_and_the_late_one_has_lost(conversation):
    asking.ask(conversation, "一")
    lost = turns.claim()
    assert turns.sweep() == 0
    Turn.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert turns.sweep() == 1
    again = turns.claim()
    assert (again.pk, again.attempt) == (lost.pk, 2)
    assert turns.finish(lost, answered("旧")) == ""
    assert turns.finish(again, answered("新")) == "answered"
    assert [text for _role, text in said(conversation)] == ["一", "新"]


def test_renewing_keeps_the_lease(conversation):
    asking.ask(conversation, "一")
    turn = turns.claim()
    Turn.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    turns.renew([turn])
    assert turns.sweep() == 0


def test_what_was_given_back_counts_no_attempt(conversation):
    asking.ask(conversation, "一")
    turns.give_back(turns.claim())
    assert turns.claim().attempt == 1


def test_after_three_failures_a_person_is_called(conversation):
    asking.ask(conversation, "一")
    for _attempt in range(3):
        turns.retry_later(turns.claim(), "KeyError: 'x'")
        Turn.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        turns.sweep()
    runner.run_waiting()
    turn = Turn.objects.get()
    assert turn.outcome == "failed"
    assert turn.trace["errors"] == ["KeyError: 'x'"] * 3
    assert Handoff.objects.get().reason == "failed"
    assert said(conversation)[1] == ("assistant", "由于技术问题，未能完成回答。")


@pytest.mark.parametrize(
    ("text", "outcome"), [("谢谢", "chat"), ("你好", "chat"), ("傻逼", "handoff")]
)
def test_what_is_no_question_is_not_looked_for(base, conversation, text, outcome):
    asking.ask(conversation, text)
    runner.run_waiting()
    turn = Turn.objects.get()
    assert turn.outcome == outcome
    assert "passages" not in turn.trace


def test_what_nobody_approved_is_not_offered_by_its_title(base, conversation):
    put(base, "Kafka 私密计划", Block("paragraph", "Kafka 的迁移计划。"))
    Document.objects.filter(title="Kafka 私密计划").update(approved_at=None)
    put(base, "Kafka 扩容", Block("paragraph", "Kafka 扩容先加节点。"))
    asking.ask(conversation, "Kafka")
    runner.run_waiting()
    assert Turn.objects.get().reply.data["options"] == ["Kafka 扩容"]
