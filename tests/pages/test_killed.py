"""Customers and an agent write over real sockets while web process, PostgreSQL and runner are
killed: what was acknowledged is there once, in order, and both sides have it.
"""

import asyncio
import json
import os
import signal
import threading
import uuid
from contextlib import suppress

import websockets
from django.conf import settings
from django.db import DatabaseError, connection
from django.test import Client
from django.utils import timezone

from chat import asking, visitors
from chat.models import Conversation, Message, Turn
from handoff import desk
from opsdesk import postgres
from tests.browser import kill, wait_for

CUSTOMERS, EACH = 3, 12  # messages of one, and of the agent to one
PAUSE = 0.1  # s between two messages of one writer
AWAY = 0.1  # s before a connection is tried again
SILENT = 1.0  # s without an acknowledgement, then it is sent again


class Writer:
    """Sends numbered messages in order, each until it is acknowledged; keeps what it is told."""

    path = ""

    def __init__(self, port, cookie):
        self.url, self.cookie = f"ws://127.0.0.1:{port}{self.path}", cookie
        self.waiting = {}  # id → frame, until it is acknowledged
        self.acknowledged, self.told = [], {}

    def say(self, conversation, text):
        name = uuid.uuid4().hex
        self.waiting[name] = self.frame(conversation, name, text)

    async def run(self):
        while True:
            try:
                async with websockets.connect(
                    self.url, additional_headers={"Cookie": self.cookie},
                    origin=self.url.replace("ws", "http").removesuffix(self.path),
                ) as socket:  # fmt: skip
                    await socket.send(json.dumps(self.hello()))
                    await asyncio.gather(self.speak(socket), self.hear(socket))
            except (OSError, websockets.WebSocketException):
                await asyncio.sleep(AWAY)

    async def speak(self, socket):
        sent = {}
        loop = asyncio.get_running_loop()
        while True:
            # As pages do: one after the other, so that the order is the writer's.
            for name, frame in list(self.waiting.items())[:1]:
                if loop.time() - sent.get(name, -SILENT) >= SILENT:
                    sent[name] = loop.time()
                    await socket.send(json.dumps(frame))
            await asyncio.sleep(PAUSE / 10)

    async def hear(self, socket):
        async for frame in socket:
            told = json.loads(frame)
            if told["type"] == "error":  # the database is away: come back, as pages do
                break
            if told["type"] in ("ack", "done") and told["id"] in self.waiting:
                self.acknowledged.append((told["id"], self.waiting.pop(told["id"])["text"]))
            for pk, message in self.messages(told):
                assert message["seq"] not in self.told.get(pk, {}), "told twice on one connection"
                self.told.setdefault(pk, {})[message["seq"]] = message["text"]
        raise ConnectionError


class Customer(Writer):
    path = "/ws/chat/"

    def __init__(self, port, cookie, conversation):
        super().__init__(port, cookie)
        self.pk = str(conversation.pk)

    def hello(self):
        after = max(self.told.get(self.pk, {0: ""}))
        return {"type": "hello", "conversation": self.pk, "after": after}

    def frame(self, conversation, name, text):
        return {"type": "message", "id": name, "text": text}

    def messages(self, told):
        found = told["messages"] if told["type"] == "welcome" else []
        return [(self.pk, one) for one in [*found, *filter(None, [told.get("message")])]]


class Agent(Writer):
    path = "/ws/console/"

    def __init__(self, port, cookie, conversations):
        super().__init__(port, cookie)
        self.epochs = {str(one.pk): one.epoch for one in conversations}

    def hello(self):
        open_ = {pk: max(self.told.get(pk, {0: ""})) for pk in self.epochs}
        return {"type": "hello", "open": open_}

    def frame(self, conversation, name, text):
        act = {"type": "act", "action": "reply", "conversation": str(conversation.pk)}
        return {**act, "epoch": self.epochs[str(conversation.pk)], "id": name, "text": text}

    def messages(self, told):
        found = told["messages"] if told["type"] == "opened" else []
        found = [*found, *filter(None, [told.get("message")])]
        return [(told["conversation"], one) for one in found]


def signed_in(user):
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"


def held_by(agent):
    """A conversation of a visitor that `agent` has, and the visitor's cookie."""
    visitor = uuid.uuid4().hex
    conversation = Conversation.objects.create(visitor=visitor, language="zh-hans")
    desk.take_over(conversation, agent)
    conversation.refresh_from_db()
    return conversation, f"{visitors.COOKIE}={visitors._signer.sign(visitor)}"


def in_background(*writers):
    """Run them beside this thread; returns what ends them."""
    ends = threading.Event()

    async def talk():
        tasks = [asyncio.create_task(writer.run()) for writer in writers]
        while not ends.is_set() and not any(task.done() for task in tasks):
            await asyncio.sleep(0.05)
        broken = [task.exception() for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return broken

    result = []
    thread = threading.Thread(target=lambda: result.extend(asyncio.run(talk())))
    thread.start()

    def end():
        ends.set()
        thread.join(60)
        assert result == []

    return end


def kill_postgres():
    """It comes back as soon as somebody asks for it."""
    os.kill(postgres.server().postmaster(), signal.SIGKILL)

    def back():
        connection.close()
        with suppress(DatabaseError, postgres.PostgresError):
            connection.ensure_connection()
            return True

    wait_for(back, "PostgreSQL to come back")


def test_nothing_acknowledged_is_lost(site, agent):
    pairs = [held_by(agent) for _ in range(CUSTOMERS)]
    conversations = [conversation for conversation, _cookie in pairs]
    customers = [Customer(site.port, cookie, one) for one, cookie in pairs]
    writers = [*customers, Agent(site.port, signed_in(agent), conversations)]
    asked = Conversation.objects.create(visitor=uuid.uuid4().hex)
    end = in_background(*writers)
    try:
        for part, killed in enumerate((lambda: kill(site.web), kill_postgres, site.stop_runner)):
            for n in range(part * EACH // 3, (part + 1) * EACH // 3):
                for customer, conversation in zip(customers, conversations, strict=True):
                    customer.say(conversation, f"客户 {n}")
                    writers[-1].say(conversation, f"客服 {n}")
            wait_for(lambda: any(writer.acknowledged for writer in writers), "the first word")
            asking.ask(asked, f"磁盘满了怎么办？{part}", f"q{part}")
            killed()
            if part == 0:
                site.start_web()
        Turn.objects.filter(status="running").update(lease_until=timezone.now())  # time goes by
        site.start_runner()
        wait_for(lambda: not any(writer.waiting for writer in writers), "all acknowledgements")
        wait_for(lambda: Turn.objects.filter(conversation=asked, status="done").count() == 3,
                 "the answers")  # fmt: skip
        rows = {}
        for conversation in conversations:
            found = Message.objects.filter(conversation=conversation).order_by("seq")
            rows[str(conversation.pk)] = {one.seq: one.text for one in found}
        for writer in writers:
            theirs = {pk: rows[pk] for pk in writer.told}
            wait_for(lambda w=writer, r=theirs: w.told == r, "the whole transcript")
    finally:
        end()
    for pk, found in rows.items():
        assert list(found) == list(range(1, len(found) + 1))
        for who in ("客户", "客服"):
            said = [text for text in found.values() if text.startswith(who)]
            assert said == [f"{who} {n}" for n in range(EACH)], pk
    acknowledged = [name for writer in writers for name, _text in writer.acknowledged]
    stored = Message.objects.filter(client_msg_id__in=acknowledged)
    assert stored.count() == len(acknowledged) == 2 * CUSTOMERS * EACH
    replies = Message.objects.filter(conversation=asked, role="assistant")
    assert replies.count() == len(set(replies.values_list("replied_turn", flat=True))) == 3
