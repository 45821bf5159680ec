"""How long a message takes to the other side, while many customers and agents write.

One process serves the product's sockets and `evaluation.echo`; this one is all the browsers.
Every customer writes to their agent, who answers; half a beat later the same two send each
other the same text by the echo, so that both are measured on the same machine in the same state.
"""

import asyncio
import itertools
import json
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import websockets
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone
from websockets.typing import Origin

from chat import visitors
from chat.models import Conversation
from handoff import desk
from handoff.models import Agent, Team

PING = 20.0  # s, as the pages do
THINKS = 1.0, 5.0  # s: how long an agent takes to answer
GREETED_WITHIN = 180.0  # s
TOGETHER = 50  # connections opened at once
TEXT = "磁盘使用率已经到 92%，/var/log 下面有 40 GB 的旧日志，可以直接删除吗？"


@dataclass
class Person:
    """A customer of one conversation, or an agent of several."""

    cookie: str
    name: str
    conversations: dict[str, int]  # ids with their epochs


@transaction.atomic
def people(customers: int, agents: int) -> tuple[list[Person], list[Person]]:
    """Agents in one team, and customers who are all with one of them. Writes to the database."""
    team = Team.objects.create(name=f"bench {uuid.uuid4().hex[:8]}", first_minutes=5)
    each = -(-customers // agents)
    staff, guests = [], []
    for n in range(agents):
        user = User.objects.create_user(f"bench-{uuid.uuid4().hex[:12]}", is_staff=True)
        agent = Agent.objects.create(user=user, on_duty=True, seen_at=timezone.now(), capacity=each)
        team.agents.add(agent)
        staff.append(Person(_signed_in(user), f"a{n}", {}))
        for m in range(n, customers, agents):
            visitor = uuid.uuid4().hex
            conversation = Conversation.objects.create(visitor=visitor, title=TEXT[:60])
            desk.take_over(conversation, user)
            conversation.refresh_from_db()
            owned = {str(conversation.pk): conversation.epoch}
            staff[n].conversations |= owned
            cookie = f"{visitors.COOKIE}={visitors._signer.sign(visitor)}"
            guests.append(Person(cookie, f"c{m}", owned))
    return guests, staff


def _signed_in(user: User) -> str:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"


@dataclass
class Measured:
    """Times in ms by way ("chat", "echo") and direction ("to agent", "to customer")."""

    times: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    sent: dict[str, float] = field(default_factory=dict)  # when, of what has not arrived
    counting: bool = False
    refused: int = 0
    greeted: int = 0  # customers who are welcome, and conversations that agents have open
    shares: tuple[float, float] = 0.0, 0.0  # of a core, while counting: the server, these browsers

    def begin(self, name: str) -> None:
        self.sent[name] = time.perf_counter()

    def arrived(self, way: str, direction: str, name: str) -> bool:
        """Whether it was waited for; a message comes to its sender as well."""
        began = self.sent.pop(name, None)
        if began is not None and self.counting:
            self.times[way, direction].append((time.perf_counter() - began) * 1000)
        return began is not None


class Load:
    """All browsers of one run."""

    def __init__(self, url: str, every: float) -> None:
        self.url, self.every = url, every
        self.measured = Measured()
        self.numbers = itertools.count()
        self.tasks: list[asyncio.Task[Any]] = []
        self.sockets: list[Any] = []
        self.opening = asyncio.Semaphore(TOGETHER)
        self.begun = asyncio.Event()

    async def run(
        self,
        guests: list[Person],
        staff: list[Person],
        warm: float,
        seconds: float,
        server: Callable[[], float],
    ) -> None:
        """All come and are greeted, agents first, then all write: `warm` s, and `seconds` that
        count. `server`: the processor seconds that it has used. Raises TimeoutError."""
        for one in staff:
            await self._agent(one)
        await self._greeted(len(guests))
        of = {pk: one for one in staff for pk in one.conversations}
        await asyncio.gather(*(self._customer(one, of) for one in guests))
        await self._greeted(2 * len(guests))
        self.begun.set()
        await asyncio.sleep(warm)
        self.measured.counting = True
        theirs, ours, began = server(), time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        self.measured.counting = False
        took = time.monotonic() - began
        self.measured.shares = (server() - theirs) / took, (time.process_time() - ours) / took
        for task in self.tasks:
            task.cancel()
        for opened in self.sockets:  # not one handshake after the other
            opened.transport.abort()

    async def _greeted(self, count: int) -> None:
        async with asyncio.timeout(GREETED_WITHIN):
            while self.measured.greeted < count:
                await asyncio.sleep(0.1)

    def _later(self, wanted: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(wanted)
        self.tasks.append(task)

    async def _open(self, path: str, cookie: str = "") -> Any:
        async with self.opening:
            opened = await websockets.connect(
                f"{self.url}{path}",
                # Each from an address of its own, as through a proxy: they are counted.
                additional_headers={"Cookie": cookie, "X-Forwarded-For": self._address()},
                origin=Origin(self.url.replace("ws", "http", 1)),
                compression=None,
                ping_interval=None,
                max_size=None,
            )
        self.sockets.append(opened)
        return opened

    async def _customer(self, one: Person, of: dict[str, Person]) -> None:
        [pk] = one.conversations
        chat = await self._open("/ws/chat/", one.cookie)
        echo = await self._open(f"/ws/echo/{one.name}/")
        await chat.send(json.dumps({"type": "hello", "conversation": pk, "after": 0}))
        self._later(self._hear(chat, "to customer", None))
        self._later(self._hear_echo(echo, "to customer", None))
        self._later(self._write(one, of[pk], chat, echo))
        self._later(self._ping(chat))

    async def _write(self, one: Person, agent: Person, chat: Any, echo: Any) -> None:
        """A message each beat, from a random moment on; the echo in between."""
        await self.begun.wait()
        await asyncio.sleep(random.uniform(0, self.every))  # noqa: S311
        while True:
            name = self._name()
            self.measured.begin(name)
            await chat.send(json.dumps({"type": "message", "id": name, "text": TEXT}))
            await asyncio.sleep(self.every / 2)
            name = self._name()
            self.measured.begin(name)
            await echo.send(
                json.dumps({"to": agent.name, "from": one.name, "id": name, "text": TEXT})
            )
            await asyncio.sleep(self.every / 2)

    async def _agent(self, one: Person) -> None:
        console = await self._open("/ws/console/", one.cookie)
        echo = await self._open(f"/ws/echo/{one.name}/")
        await console.send(
            json.dumps({"type": "hello", "open": dict.fromkeys(one.conversations, 0)})
        )
        self._later(self._hear(console, "to agent", one))
        self._later(self._hear_echo(echo, "to agent", one))
        self._later(self._ping(console))

    async def _ping(self, socket: Any) -> None:
        await asyncio.sleep(random.uniform(0, PING))  # noqa: S311
        while True:
            await asyncio.sleep(PING)
            await socket.send('{"type": "ping"}')

    async def _hear(self, socket: Any, direction: str, agent: Person | None) -> None:
        async for frame in socket:
            told = json.loads(frame)
            if told["type"] == "error":
                self.measured.refused += 1
            self.measured.greeted += told["type"] == ("opened" if agent else "welcome")
            if told["type"] != "message":
                continue
            said, theirs = told["message"], "customer" if agent else "agent"
            if said["role"] != theirs:
                continue
            if self.measured.arrived("chat", direction, said["id"]) and agent:
                pk = told["conversation"]
                self._later(self._answer(socket, pk, agent.conversations[pk]))

    async def _answer(self, socket: Any, conversation: str, epoch: int) -> None:
        await asyncio.sleep(random.uniform(*THINKS))  # noqa: S311
        name = self._name()
        self.measured.begin(name)
        wanted = {"type": "act", "action": "reply", "conversation": conversation, "epoch": epoch}
        await socket.send(json.dumps({**wanted, "id": name, "text": TEXT}))

    async def _hear_echo(self, socket: Any, direction: str, agent: Person | None) -> None:
        async for frame in socket:
            told = json.loads(frame)
            if self.measured.arrived("echo", direction, told["id"]) and agent:
                self._later(self._echo_back(socket, agent.name, told["from"]))

    async def _echo_back(self, socket: Any, mine: str, to: str) -> None:
        await asyncio.sleep(random.uniform(*THINKS))  # noqa: S311
        name = self._name()
        self.measured.begin(name)
        await socket.send(json.dumps({"to": to, "from": mine, "id": name, "text": TEXT}))

    def _address(self) -> str:
        n = next(self.numbers)
        return f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"

    def _name(self) -> str:
        return f"b{next(self.numbers)}"
