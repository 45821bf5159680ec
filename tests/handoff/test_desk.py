from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.core.checks import run_checks
from django.utils import timezone

from chat import asking, runner, transcript, turns
from chat.models import Conversation, Message, Turn
from chat.signals import handoff_requested
from chat.state import TurnState
from handoff import desk
from handoff.models import Agent, Handoff
from opsdesk.errors import Conflict
from tests.chat.sockets import Socket, visitor_cookie
from tests.handoff.conftest import check_invariants


@pytest.fixture
def conversation(db):
    return Conversation.objects.create(visitor="v" * 32)


@pytest.fixture
def ana(db, django_user_model):
    user = django_user_model.objects.create_user("ana", is_staff=True)
    Agent.objects.create(user=user, on_duty=True, seen_at=timezone.now())
    return user


@pytest.fixture
def ben(db, django_user_model):
    user = django_user_model.objects.create_user("ben", is_staff=True)
    Agent.objects.create(user=user, on_duty=True, seen_at=timezone.now())
    return user


def said(conversation):
    return [(m.role, m.text) for m in conversation.messages.order_by("seq")]


def events(conversation):
    return [m.data["event"] for m in conversation.messages.filter(role="system").order_by("seq")]


def test_calling_a_person_tells_that_one_was_called(conversation, ana, caplog):
    with caplog.at_level("INFO"):
        asking.call_human(conversation, "asked")
    handoff = Handoff.objects.get()
    assert (handoff.reason, handoff.status) == ("asked", "waiting")
    assert said(conversation) == [("system", "已为您呼叫人工客服，正在等待接入")]
    assert "asked" in caplog.text
    check_invariants(conversation)


@pytest.mark.parametrize("away", ["off duty", "not seen", "nobody"])
def test_when_nobody_is_there_the_customer_is_told_so(conversation, ana, away):
    match away:
        case "off duty":
            Agent.objects.update(on_duty=False)
        case "not seen":
            Agent.objects.update(seen_at=timezone.now() - timedelta(hours=1))
        case "nobody":
            Agent.objects.all().delete()
    asking.call_human(conversation, "asked")
    assert said(conversation) == [("system", "当前没有客服在岗，请留下联系方式")]
    desk.leave_contact(conversation, "微信 ops123")
    assert Handoff.objects.get().contact == "微信 ops123"
    assert events(conversation) == ["nobody_on_duty", "contact_saved"]


def test_taking_over_is_said_in_the_chat_and_in_the_log(conversation, ana, caplog):
    asking.call_human(conversation, "asked")
    with caplog.at_level("INFO"):
        desk.claim(conversation, ana)
    assert said(conversation)[-1] == ("system", "人工客服已经接手！")
    assert "人工客服已经接手！" in caplog.text
    told = desk.standing(conversation)
    assert (told["agent"], told["waiting"], told["staffed"]) == ("ana", 0, True)
    check_invariants(conversation)


def test_the_log_speaks_the_language_of_the_installation(ana, caplog):
    english = Conversation.objects.create(visitor="v" * 32, language="en")
    asking.call_human(english, "asked")
    with caplog.at_level("INFO"):
        desk.claim(english, ana)
    assert said(english)[-1] == ("system", "A person has taken over!")
    assert "人工客服已经接手！" in caplog.text


def test_who_writes_on_while_waiting_is_told_once_who_answers(conversation, ana):
    asking.ask(conversation, "转人工", "m1")
    asking.ask(conversation, "磁盘满了怎么办", "m2")  # before anybody was called
    runner.run_waiting()
    asking.ask(conversation, "还有，主从延迟", "m3")
    assert events(conversation) == ["handoff_requested", "noted"]
    assert Turn.objects.get(message__client_msg_id="m2").outcome == Turn.Outcome.DISCARDED
    desk.claim(conversation, ana)
    asking.ask(conversation, "在吗", "m4")
    assert events(conversation)[2:] == ["handoff_taken"]


@pytest.mark.parametrize("before", [True, False], ids=["overtaken", "said while waiting"])
def test_who_waits_no_longer_gets_an_answer_to_what_they_wrote_last(conversation, ana, before):
    asking.ask(conversation, "转人工", "m1")
    if before:
        asking.ask(conversation, "磁盘满了怎么办", "m2")
    runner.run_waiting()
    if not before:
        asking.ask(conversation, "磁盘满了怎么办", "m2")
    asking.withdraw(conversation)
    assert Handoff.objects.get().status == Handoff.Status.RETURNED
    check_invariants(conversation)
    assert runner.run_waiting() == 1
    turn = Turn.objects.get(message__client_msg_id="m2")
    assert turn.status == Turn.Status.DONE
    assert turn.outcome != Turn.Outcome.DISCARDED
    conversation.refresh_from_db()
    assert (conversation.state == "queued") == (turn.outcome == Turn.Outcome.HANDOFF)


@pytest.mark.parametrize("under_way", ["never", "since before", "since a person was called"])
def test_who_waits_no_longer_is_answered_what_was_still_to_be(conversation, ana, under_way):
    asking.ask(conversation, "你好")
    begun = turns.claim() if under_way == "since before" else None
    asking.call_human(conversation, "asked")
    begun = turns.claim() if under_way == "since a person was called" else begun
    asking.withdraw(conversation)
    if begun:
        assert turns.finish(begun, TurnState("你好", [], text="迟到的答案")) == ""
    assert runner.run_waiting() == 1
    assert Turn.objects.get().outcome == Turn.Outcome.CHAT
    assert "迟到的答案" not in [text for _role, text in said(conversation)]
    check_invariants(conversation)


def test_what_a_person_has_answered_opsdesk_does_not_answer_again(conversation, ana):
    asking.call_human(conversation, "asked")
    desk.claim(conversation, ana)
    asking.ask(conversation, "你好")
    desk.reply(conversation, ana, "您好，请讲")
    desk.transfer(conversation, ana)
    asking.withdraw(conversation)
    assert not Turn.objects.exists()
    check_invariants(conversation)


def test_what_promises_an_answer_is_not_withdrawn(conversation, ana):
    asking.call_human(conversation, "asked")
    desk.leave_contact(conversation, "13800000000")
    asking.ask(conversation, "还有一个问题")
    assert events(conversation)[1:] == ["contact_saved", "noted_later"]
    for taken in (False, True):
        if taken:
            desk.claim(conversation, ana)
        with pytest.raises(Conflict):
            asking.withdraw(conversation)
    check_invariants(conversation)


def test_calling_twice_calls_once(conversation):
    asking.call_human(conversation, "asked")
    asking.call_human(conversation, "unhappy")
    assert Handoff.objects.count() == 1
    check_invariants(conversation)


def test_only_the_owner_answers(conversation, ana, ben):
    asking.call_human(conversation, "asked")
    with pytest.raises(Conflict):
        desk.reply(conversation, ana, "我来看看")
    desk.claim(conversation, ana)
    desk.reply(conversation, ana, "我来看看")
    with pytest.raises(Conflict):
        desk.reply(conversation, ben, "我也来")
    assert said(conversation)[-1] == ("agent", "我来看看")


def test_only_the_owner_gives_it_away(conversation, ana, ben):
    asking.call_human(conversation, "asked")
    desk.claim(conversation, ana)
    for action in (desk.return_to_bot, desk.resolve):
        with pytest.raises(Conflict):
            action(conversation, ben)
    desk.return_to_bot(conversation, ana)
    assert Handoff.objects.get().status == "returned"
    check_invariants(conversation)
    assert asking.ask(conversation, "再问一个")[1] is not None


@pytest.mark.parametrize("action", [desk.return_to_bot, desk.resolve])
def test_an_administrator_frees_what_somebody_left(conversation, ana, django_user_model, action):
    asking.call_human(conversation, "asked")
    desk.claim(conversation, ana)
    action(conversation, django_user_model.objects.create_superuser("root"))
    conversation.refresh_from_db()
    assert conversation.owner is None
    check_invariants(conversation)


def test_who_writes_within_a_day_of_a_persons_answer_gets_a_person(conversation, ana):
    asking.call_human(conversation, "asked")
    desk.claim(conversation, ana)
    desk.reply(conversation, ana, "重启即可")
    desk.resolve(conversation, ana)
    _message, turn = asking.ask(conversation, "还是不行")
    conversation.refresh_from_db()
    assert (turn, conversation.state) == (None, "queued")
    assert Handoff.objects.waiting().get().reason == "follow_up"
    assert events(conversation)[3:] == ["handoff_requested"]
    asking.ask(conversation, "重启过两次了")
    assert events(conversation)[3:] == ["handoff_requested", "noted"]
    check_invariants(conversation)


@pytest.mark.parametrize("long_ago", [True, False])
def test_otherwise_opsdesk_answers_after_a_resolution(conversation, ana, long_ago):
    asking.call_human(conversation, "asked")
    desk.claim(conversation, ana)
    if long_ago:
        desk.reply(conversation, ana, "重启即可")
        Message.objects.update(created_at=timezone.now() - timedelta(hours=25))
    desk.resolve(conversation, ana)
    _message, turn = asking.ask(conversation, "怎么备份数据库")
    conversation.refresh_from_db()
    assert conversation.state == "bot"
    assert turn.epoch == conversation.epoch
    check_invariants(conversation)


def test_who_waits_longer_is_ahead(db):
    first, second = (Conversation.objects.create(visitor="v" * 32) for _ in range(2))
    asking.call_human(first, "asked")
    asking.call_human(second, "asked")
    assert desk.standing(first)["waiting"] == 0
    assert desk.standing(second)["waiting"] == 1


def test_the_summary_tells_what_was_asked_and_answered(conversation):
    _message, turn = asking.ask(conversation, "磁盘满了怎么办")
    turn.reply = transcript.append(conversation.pk, "assistant", "清理日志 [1]")
    turn.outcome, turn.status = Turn.Outcome.ANSWERED, Turn.Status.DONE
    turn.save()
    asking.call_human(conversation, "asked")
    handoff = Handoff.objects.get()
    assert "磁盘满了怎么办" in handoff.summary
    assert "清理日志" in handoff.summary
    assert handoff.last_seq == 2


def test_the_chat_speaks_the_customers_language(ana):
    conversation = Conversation.objects.create(visitor="v" * 32, language="en")
    asking.call_human(conversation, "asked")
    assert said(conversation) == [("system", "A person has been called and will join shortly.")]


def test_exactly_one_desk_listens():
    assert not [error for error in run_checks() if error.id == "chat.E001"]
    receiver = handoff_requested.receivers.pop()
    try:
        assert [error for error in run_checks() if error.id == "chat.E001"]
    finally:
        handoff_requested.receivers.append(receiver)


@pytest.mark.django_db(transaction=True)
async def test_who_left_a_way_to_be_reached_finds_the_answer_on_return(ana):
    await database_sync_to_async(Agent.objects.update)(on_duty=False)
    cookie = visitor_cookie()
    evening = Socket(cookie)
    pk = (await evening.open())["conversation"]
    await evening.send({"type": "person"})
    assert not (await evening.until("state", state="queued"))["staffed"]
    await evening.say("机房断电了，什么时候恢复？")
    await evening.until("ack")
    await evening.send({"type": "contact", "text": "微信 ops123"})
    await evening.message("system")
    await evening.close()

    def next_morning():
        conversation = Conversation.objects.get(pk=pk)
        assert Handoff.objects.get().contact == "微信 ops123"
        desk.claim(conversation, ana)
        desk.reply(conversation, ana, "已恢复供电")

    await database_sync_to_async(next_morning)()
    back = Socket(cookie)
    messages = (await back.open(conversation=pk))["messages"]
    texts = [one["text"] for one in messages]
    assert "机房断电了，什么时候恢复？" in texts
    assert texts[-1] == "已恢复供电"
    assert (await back.until("state"))["agent"] == "ana"
    await back.close()
