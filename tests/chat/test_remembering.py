import pytest
from django_q.models import OrmQ

from chat import asking, digest, remembering, runner, transcript
from chat.models import EscalationPolicy, Message, Summary, Turn
from chat.turns import load

FIRST = "Redis 7.2 哨兵切换超时，参数 failover-timeout 是多少？"


@pytest.fixture(autouse=True)
def offering(db):
    """Nobody takes a conversation over whose question found no answer."""
    EscalationPolicy.objects.create(unsure="offer")


def talk(conversation, count):
    """`count` messages back and forth, the first one a question with a turn."""
    asking.ask(conversation, FIRST)
    Turn.objects.update(status="done", outcome="answered")
    for n in range(count - 1):
        role = Message.Role.CUSTOMER if n % 2 else Message.Role.ASSISTANT
        transcript.append(conversation.pk, role, f"第 {n} 句，手机 13912345678")


def ask(conversation, text="那怎么改"):
    _message, turn = asking.ask(conversation, text)
    return turn


def queued():
    return [one.task["args"] for one in OrmQ.objects.all() if one.func() == remembering.TASK]


def test_what_falls_out_of_the_window_is_summed_up_in_the_background(conversation):
    talk(conversation, 15)
    turn = ask(conversation)
    runner.run_waiting()
    assert queued() == [(turn.pk,)]
    remembering.refresh(turn.pk)
    summary = Summary.objects.get()
    assert (summary.by, "failover-timeout" in summary.text) == ("rules", True)
    conversation.refresh_from_db()
    left = remembering.said(conversation.pk).filter(seq__gt=summary.upto).count()
    assert left == remembering.WINDOW
    remembering.refresh(turn.pk)  # once more changes nothing
    assert Summary.objects.get().made_at == summary.made_at
    later = ask(conversation)
    assert "failover-timeout" in load(later).summary
    assert "此前：" in digest.summary(conversation, "asked")


def test_a_short_conversation_needs_none(conversation):
    talk(conversation, 9)
    turn = ask(conversation)
    runner.run_waiting()
    assert queued() == []
    remembering.refresh(turn.pk)
    assert not Summary.objects.exists()


def test_what_was_told_stands_in_the_summary_for_who_takes_over(conversation):
    talk(conversation, 3)
    assert "问：" in digest.summary(conversation, "asked")


@pytest.mark.parametrize(
    ("lines", "by", "kept"),
    [
        (["客户的 Redis 7.2 哨兵切换超时", "已升级到 8.0"], "rules", ""),
        (["客户的 Redis 7.2 哨兵切换超时", "问 failover-timeout 是多少", "已升级到 8.0"], "model",
         "客户的 Redis 7.2 哨兵切换超时\n问 failover-timeout 是多少"),
        ([], "rules", ""),
    ],
)  # fmt: skip
def test_a_model_may_only_sum_up_what_was_said(conversation, configured, settings, lines, by, kept):
    settings.BACKENDS["llm"]["OPTIONS"]["timeout"] = 20
    configured.structured["summary"] = {"lines": lines}
    talk(conversation, 15)
    remembering.refresh(ask(conversation).pk)
    summary = Summary.objects.get()
    assert summary.by == by
    assert "8.0" not in summary.text
    assert not kept or summary.text == kept
    assert "13912345678" not in str(configured.requests)


def test_a_model_that_fails_leaves_it_to_the_rules(conversation, configured):
    configured.structured["summary"] = 401
    talk(conversation, 15)
    remembering.refresh(ask(conversation).pk)
    assert Summary.objects.get().by == "rules"


def test_what_a_tool_told_reaches_no_model_and_no_summary(conversation):
    talk(conversation, 1)
    reply = transcript.append(
        conversation.pk, Message.Role.ASSISTANT, "订单 4711 已退款", data={"mode": "tool"}
    )
    Turn.objects.update(reply=reply)
    for n in range(14):
        transcript.append(conversation.pk, Message.Role.ASSISTANT, f"第 {n} 句")
    turn = ask(conversation)
    assert remembering.said(conversation.pk).count() == 16
    remembering.refresh(turn.pk)
    assert "4711" not in Summary.objects.get().text
    transcript.append(conversation.pk, Message.Role.ASSISTANT, "订单 4712", data={"mode": "tool"})
    assert "4712" not in str(load(ask(conversation)).history)
