import asyncio
import json
import uuid

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from django.db import OperationalError, transaction
from django.test import Client

from chat import asking, consumers, following, runner, transcript, visitors
from chat.models import Conversation, Message, Turn, WidgetSite
from handoff import desk
from opsdesk import sockets
from opsdesk.realtime import notify
from tests.browser import wait_for
from tests.chat.conftest import QUESTION
from tests.chat.sockets import Socket, visitor_cookie

pytestmark = pytest.mark.django_db(transaction=True)


def db(function):
    return database_sync_to_async(function, thread_sensitive=False)


@transaction.atomic
def burst(conversation, count):
    for n in range(count):
        transcript.append(conversation.pk, "agent", f"消息 {n}")


@pytest.fixture
async def socket():
    made = Socket(visitor_cookie())
    yield made
    await made.close()


async def test_a_question_is_acknowledged_then_answered_over_the_socket(base, socket, running):
    welcome = await socket.open()
    assert welcome["state"] == "bot"
    assert welcome["bases"] == [{"slug": "ops", "name": "运维手册"}]
    await socket.say("磁盘使用率超过 90% 怎么找出大的日志？", "m1")
    got, kinds = {}, []
    while "answer" not in got:
        event = await socket.receive()
        kinds.append(event["type"])
        if event["type"] == "message" and event["message"]["role"] == "assistant":
            got["answer"] = event["message"]
        if event["type"] == "ack":
            assert event == {"type": "ack", "id": "m1", "seq": 1}
            assert await db(Turn.objects.count)() == 1
    assert kinds.count("step") == 3
    assert "delta" in kinds
    answer = got["answer"]
    assert answer["outcome"] == "answered"
    assert '<a class="cite" data-n="1"' in answer["html"]
    assert "<code>du -sh /var/log/*</code>" in answer["html"]
    assert answer["citations"][0]["title"] == "磁盘空间"


async def test_nothing_is_acknowledged_before_it_is_stored(socket, monkeypatch):
    await socket.open()
    stored = []

    def ask(conversation, text, client_id, **more):
        made = asking_ask(conversation, text, client_id, **more)
        stored.append(Message.objects.filter(client_msg_id=client_id).exists())
        return made

    asking_ask = asking.ask
    monkeypatch.setattr(asking, "ask", ask)
    await socket.say("磁盘满了")
    await socket.until("ack")
    assert stored == [True]


async def test_sending_again_gets_the_same_acknowledgement(socket):
    await socket.open()
    for _again in range(2):
        await socket.say("磁盘满了", "same")
        assert (await socket.until("ack"))["seq"] == 1
    assert await db(Message.objects.count)() == 1


async def test_a_reconnecting_client_gets_what_it_missed():
    cookie = visitor_cookie()
    first = Socket(cookie)
    welcome = await first.open()
    await first.say("一")
    await first.until("ack")
    await first.close()
    conversation = await db(Conversation.objects.get)(pk=welcome["conversation"])
    await db(burst)(conversation, 150)
    again = Socket(cookie)
    welcome = await again.open(conversation=str(conversation.pk), after=1)
    assert [message["seq"] for message in welcome["messages"]] == list(range(2, 152))
    await again.close()


async def test_a_burst_arrives_whole_and_in_order():
    cookie = visitor_cookie()
    one = Socket(cookie)
    welcome = await one.open()
    await one.say("开始")
    await one.until("ack")
    conversation = await db(Conversation.objects.get)(pk=welcome["conversation"])

    sending = asyncio.create_task(db(burst)(conversation, 150))
    seqs = []
    while len(seqs) < 151:
        seqs.append((await one.until("message"))["message"]["seq"])
    await sending
    assert seqs == list(range(1, 152))
    await one.close()


async def test_a_step_that_its_reply_overtook_is_not_shown(socket):
    welcome = await socket.open()
    await socket.say("你好")
    await socket.until("message")
    conversation = await db(Conversation.objects.get)(pk=welcome["conversation"])

    @transaction.atomic
    def late():
        question = transcript.append(conversation.pk, "customer", "问")
        transcript.append(conversation.pk, "assistant", "答")
        hint = {"turn": 1, "seq": question.seq}
        notify(
            transcript.group(conversation.pk),
            {"type": "conversation.step", "step": "answer", **hint},
        )
        notify(
            transcript.group(conversation.pk), {"type": "conversation.delta", "text": "答", **hint}
        )
        transcript.append(conversation.pk, "agent", "后来的")

    await db(late)()
    kinds = []
    while True:
        event = await socket.receive()
        kinds.append(event["type"])
        if event["type"] == "message" and event["message"]["text"] == "后来的":
            break
    await socket.send({"type": "ping"})
    kinds += [event["type"] for event in [await socket.receive()]]
    assert not {"step", "delta"} & set(kinds)
    assert kinds[-1] == "pong"


async def test_what_a_tool_brings_late_ends_no_stream(socket):
    welcome = await socket.open()
    await socket.say("你好")
    await socket.until("message")
    pk = uuid.UUID(welcome["conversation"])

    @transaction.atomic
    def late():
        question = transcript.append(pk, "customer", "问")
        transcript.append(pk, "assistant", "运输中", client_msg_id=f"{transcript.LATE}7")
        hint = {"turn": 1, "seq": question.seq}
        notify(transcript.group(pk), {"type": "conversation.delta", "text": "答", **hint})

    await db(late)()
    assert (await socket.message("assistant"))["text"] == "运输中"
    assert (await socket.until("delta"))["text"] == "答"


async def test_more_than_one_batch_is_caught_up_without_a_gap(monkeypatch):
    monkeypatch.setattr(following, "HISTORY", 20)
    cookie = visitor_cookie()
    first = Socket(cookie)
    welcome = await first.open()
    await first.say("一")
    await first.until("ack")
    await first.close()
    conversation = await db(Conversation.objects.get)(pk=welcome["conversation"])
    await db(burst)(conversation, 50)
    again = Socket(cookie)
    welcome = await again.open(conversation=str(conversation.pk), after=1)
    seqs = [message["seq"] for message in welcome["messages"]]
    while len(seqs) < 50:
        seqs.append((await again.until("message"))["message"]["seq"])
    assert seqs == list(range(2, 52))
    await again.close()
    newest = Socket(cookie)
    welcome = await newest.open(conversation=str(conversation.pk))
    assert [message["seq"] for message in welcome["messages"]] == list(range(32, 52))
    await newest.close()


@pytest.mark.parametrize("cookie", ["", "opsdesk_visitor=forged:abc"])
async def test_who_is_nobody_is_not_let_in(cookie):
    socket = Socket(cookie)
    await socket.connect()
    assert await socket.closed() == 4401


async def test_another_origin_is_not_let_in():
    connected, _code = await Socket(visitor_cookie(), origin="https://evil.example").connect()
    assert not connected


async def test_anothers_conversation_is_not_there(socket):
    other = await db(Conversation.objects.create)(visitor="o" * 32)
    await socket.connect()
    await socket.send({"type": "hello", "conversation": str(other.pk), "after": 0})
    assert (await socket.until("error"))["code"] == "not_found"
    await socket.say("我能看吗")
    assert (await socket.until("error"))["code"] == "no_conversation"
    assert not await db(other.messages.exists)()


async def test_a_signed_in_users_conversation_is_not_the_next_visitors(django_user_model):
    user = await db(django_user_model.objects.create_user)("ann")
    cookie = visitor_cookie()
    pair = await db(Conversation.objects.create)(
        visitor=visitors.visitor({visitors.COOKIE: cookie.split("=", 1)[1]}), user=user
    )
    visitor = Socket(cookie)
    await visitor.connect()
    await visitor.send({"type": "hello", "conversation": str(pair.pk), "after": 0})
    assert (await visitor.until("error"))["code"] == "not_found"
    await visitor.close()
    client = Client()
    await db(client.force_login)(user)
    signed_in = Socket(f"{cookie}; sessionid={client.cookies['sessionid'].value}")
    welcome = await signed_in.open(conversation=str(pair.pk))
    assert (welcome["conversation"], welcome["user"]) == (str(pair.pk), "ann")
    await signed_in.close()


async def test_who_logs_out_elsewhere_says_and_hears_nothing_more(django_user_model, monkeypatch):
    monkeypatch.setattr(sockets, "LOOKED", 0)
    client = Client()
    await db(client.force_login)(await db(django_user_model.objects.create_user)("ann"))
    cookie = f"{visitor_cookie()}; sessionid={client.cookies['sessionid'].value}"
    tells, hears = Socket(cookie), Socket(cookie)
    pk = (await tells.open())["conversation"]
    await tells.say("磁盘满了", "m1")
    await tells.until("ack")
    await hears.open(conversation=pk)
    await db(client.logout)()
    await tells.say("再问一次", "m2")
    assert await tells.closed() == 4403
    await db(transcript.append)(uuid.UUID(pk), "agent", "机密")
    told = []
    while (output := await hears.app.receive_output(timeout=10))["type"] != "websocket.close":
        told.append(json.loads(output["text"]))
    assert output["code"] == 4403
    assert "机密" not in str(told)
    assert not await db(Message.objects.filter(client_msg_id="m2").exists)()


async def test_who_waited_at_an_id_hears_nothing_of_what_another_makes_there(socket):
    lurking = uuid.uuid4()
    await socket.open(conversation=str(lurking))
    other = await db(Conversation.objects.create)(pk=lurking, visitor="o" * 32)
    await db(transcript.append)(other.pk, "customer", "密码是多少")
    assert (await socket.until("error"))["code"] == "not_found"
    await socket.say("我也说")
    assert (await socket.until("error"))["code"] == "no_conversation"
    assert await db(other.messages.count)() == 1


async def test_who_signs_in_goes_on_with_the_bases_of_the_account(django_user_model):
    cookie = visitor_cookie()
    visitor = Socket(cookie)
    pk = (await visitor.open())["conversation"]
    await visitor.say("磁盘满了", "m1")
    await visitor.until("ack")
    user = await db(django_user_model.objects.create_user)("ann")
    client = Client()
    await db(client.force_login)(user)
    signed_in = Socket(f"{cookie}; sessionid={client.cookies['sessionid'].value}")
    await signed_in.open(conversation=pk)
    await signed_in.say("再问一次", "m2")
    await signed_in.until("ack")
    conversation = await db(Conversation.objects.get)(pk=pk)
    assert conversation.user_id == user.pk
    await visitor.say("我还在这里", "m3")
    assert (await visitor.until("error"))["code"] == "not_found"
    await visitor.close()
    await signed_in.close()


async def test_what_could_not_be_read_is_asked_for_again_by_coming_back(socket, monkeypatch):
    def away(*args):
        raise OperationalError("no connection is free")

    pk = (await socket.open())["conversation"]
    await socket.say("磁盘满了")
    await socket.until("message")
    monkeypatch.setattr(following, "message", away)
    monkeypatch.setattr(following, "messages", away)
    await db(transcript.append)(uuid.UUID(pk), "assistant", "清理日志")
    assert await socket.closed() == 1013


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("not json", "bad_message"),
        ('"text"', "bad_message"),
        ('{"type": "unknown"}', "bad_message"),
        ('{"type": ["hello"]}', "bad_message"),
        ('{"type": "message", "id": "1", "text": 5}', "bad_message"),
        ('{"type": "message", "id": "1", "text": "  "}', "bad_message"),
        ('{"type": "message", "text": "没有编号"}', "bad_message"),
        ('{"type": "message", "id": "1", "text": "a\\u0000b"}', "bad_message"),
        ('{"type": "message", "id": "1", "text": "%s"}' % ("长" * 64_001), "too_long"),
        ('{"type": "contact", "text": "%s"}' % ("长" * 2001), "too_long"),
        ('{"type": "message", "id": "1", "text": "a\\ud83d"}', "bad_message"),
        ('{"type": "message", "id": "a\\u0000", "text": "a"}', "bad_message"),
        ('{"type": "message", "id": "a\\ud83d", "text": "a"}', "bad_message"),
        ("x" * 70_000, "bad_message"),
        ("[" * 60_000, "bad_message"),
        ('{"type": "contact", "text": "无人"}', "conflict"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_gets_a_sentence_and_the_socket_lives(socket, frame, code):
    await socket.open()
    await socket.send_text(frame)
    error = await socket.until("error")
    assert error["code"] == code
    assert error["text"]
    await socket.send({"type": "ping"})
    await socket.until("pong")


async def test_too_many_messages_are_refused(socket, monkeypatch):
    monkeypatch.setattr(consumers, "MESSAGES_A_MINUTE", 2)
    await socket.open()
    for _n in range(3):
        await socket.say("你好")
    assert (await socket.until("error"))["code"] == "too_many"
    assert await db(Message.objects.count)() == 2


async def told_of(socket, state):
    """The system message about `state` and the state itself, whichever comes first."""
    got = {}
    while {"message", "state"} - got.keys():
        event = await socket.receive()
        if event["type"] == "message" and event["message"]["role"] == "system":
            got["message"] = event["message"]
        elif event["type"] == "state" and event["state"] == state:
            got["state"] = event
    return got["message"], got["state"]


async def test_a_person_is_called_takes_over_and_answers(socket):
    welcome = await socket.open()
    await socket.send({"type": "person"})
    called, _state = await told_of(socket, "queued")
    assert (called["event"], called["text"]) == (
        "nobody_on_duty", "当前没有客服在岗，请留下联系方式",
    )  # fmt: skip
    await socket.send({"type": "contact", "text": "分机 8021"})
    assert (await socket.message("system"))["event"] == "contact_saved"
    agent = await db(get_user_model().objects.create_user)("ana")
    conversation = await db(Conversation.objects.get)(pk=welcome["conversation"])
    await db(desk.claim)(conversation, agent)
    taken, state = await told_of(socket, "human")
    assert (taken["text"], state["agent"]) == ("人工客服已经接手！", "ana")
    await db(desk.reply)(conversation, agent, "**请重启** <script>alert(1)</script>")
    reply = await socket.message("agent")
    assert reply["author"] == "ana"
    assert "<strong>请重启</strong>" in reply["html"]
    assert "<script" not in reply["html"]
    await socket.say("好的")
    await socket.until("ack")
    assert not await db(Turn.objects.exists)()


async def test_a_staff_note_is_not_sent(socket):
    welcome = await socket.open()
    await socket.say("你好")
    await socket.until("ack")
    pk = uuid.UUID(welcome["conversation"])
    await db(transcript.append)(pk, "agent", "内部备注", public=False)
    await db(transcript.append)(pk, "agent", "公开")
    assert (await socket.message("agent"))["text"] == "公开"


async def test_a_new_conversation_is_empty_and_makes_no_row_until_something_is_said(socket):
    first = await socket.open()
    await socket.send({"type": "new"})
    second = await socket.until("welcome")
    assert second["conversation"] != first["conversation"]
    assert not await db(Conversation.objects.exists)()
    await socket.say("你好")
    await socket.until("ack")
    assert str((await db(Conversation.objects.get)()).pk) == second["conversation"]


async def test_the_socket_speaks_the_pages_language():
    english = Socket(visitor_cookie() + "; django_language=en")
    await english.open()
    await english.send({"type": "person"})
    assert (await english.message("system"))["text"].startswith("Nobody is on duty")
    await english.close()


async def test_who_asks_while_no_runner_is_there_is_told_so_at_once(socket, monkeypatch):
    monkeypatch.setattr(following, "LOOKED_FOR", 0)
    monkeypatch.setattr(following.runner, "alive", lambda: False)
    conversation = (await socket.open())["conversation"]
    await socket.say("怎么备份")
    assert (await socket.until("notice"))["text"].startswith("消息已收到。")
    again = Socket(socket.cookie)  # after a reload
    await again.open(conversation=conversation)
    assert (await again.until("notice"))["text"].startswith("消息已收到。")
    await again.close()
    await socket.send({"type": "person"})  # who comes without a runner, too
    await socket.until("state", state="queued")
    await socket.send({"type": "ping"})  # from now on that person is waited for
    assert (await socket.until("pong")) == {"type": "pong"}
    assert (await socket.receive())["type"] == "state"


async def test_with_a_runner_nobody_is_told_that_there_is_none(socket, monkeypatch):
    monkeypatch.setattr(following, "LOOKED_FOR", 0)
    monkeypatch.setattr(following.runner, "alive", lambda: True)
    await socket.open()
    await socket.say("怎么备份")
    await socket.until("ack")
    await socket.send({"type": "ping"})
    seen = []
    while not seen or seen[-1] != "pong":
        seen.append((await socket.receive())["type"])
    assert "notice" not in seen


@pytest.mark.parametrize("embedded", [False, True])
async def test_a_second_window_sees_a_choice_and_what_was_picked(embedded, places, running):
    query = ""
    if embedded:  # on a site's page
        make = db(WidgetSite.objects.create)
        query = f"site={(await make(name='门户', origins='https://portal.example')).key}"
    socket = Socket(visitor_cookie(), query=query)
    conversation = (await socket.open())["conversation"]
    second = Socket(socket.cookie, query=query)
    await second.open(conversation=conversation)
    await socket.say(QUESTION)
    offered = [await one.message("assistant") for one in (socket, second)]
    assert offered[0] == offered[1]
    choices = offered[1]["choices"]
    await second.say(choices[1]["label"])
    for one in (socket, second):
        assert (await one.message("customer"))["text"] == choices[1]["label"]
        answer = await one.message("assistant")
        assert [choice["n"] for choice in answer["choices"] if choice["picked"]] == [2]
    await socket.say("3")  # a late one is of the same choice
    answer = await second.message("assistant")
    assert [choice["n"] for choice in answer["choices"] if choice["picked"]] == [3]
    await second.close()
    await socket.close()


def test_a_runner_shows_that_it_lives(running):
    wait_for(runner.alive, "a sign of life")


async def test_what_was_said_in_the_conversation_just_left_is_not_shown_in_this_one(socket):
    """A hint may lie in the queue while its reader goes on to another conversation."""
    left = (await socket.open())["conversation"]
    await socket.say("在旧的里", "m1")
    late = (await socket.until("message"))["message"]
    await socket.send({"type": "new"})
    here = (await socket.until("welcome"))["conversation"]
    row = await db(Conversation.objects.get)(pk=left)
    told = {"type": "conversation.message", "conversation": left, "seq": 1, "epoch": 0}
    told |= {"whose": visitors.whose(row), "message": late}
    await db(notify)(transcript.group(uuid.UUID(here)), told)
    await socket.say("在新的里", "m2")
    assert (await socket.until("message"))["message"]["text"] == "在新的里"
