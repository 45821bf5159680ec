"""A channel layer over PostgreSQL's NOTIFY: groups in memory; each event loop has a connection
that listens and, once it says something itself, one that tells.

A message is a hint, delivered at most once and only to those who listen now. What must not
be lost is a row with a sequence number. A channel that may have missed something (the
connection was lost, its queue ran full) gets {"type": "realtime.reconnected"} and catches up.
"""

import asyncio
import json
import logging
import uuid
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from asgiref.sync import sync_to_async
from channels.layers import BaseChannelLayer
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections

from opsdesk.postgres import PostgresError

logger = logging.getLogger(__name__)

NOTIFY_CHANNEL = "opsdesk"
PAYLOAD_BYTES = 7999  # PostgreSQL refuses 8000
CAPACITY = 1000  # messages a channel may have waiting
BATCH = 200  # messages told at once
RECONNECT_SECONDS = 0.1, 5.0  # first and longest wait
RECONNECTED = {"type": "realtime.reconnected"}

Message = dict[str, Any]


class PayloadTooLarge(ValueError):
    """NOTIFY carries less than 8 kB: send ids, not contents."""


def notify(group: str, message: Message) -> None:
    """Send `message` to `group` on Django's own connection.

    Inside a transaction it leaves with the commit, and never after a rollback.
    Raises PayloadTooLarge.
    """
    notify_all(group, [message])


def carries(group: str, message: Message) -> bool:
    """Whether `message` is small enough to be told."""
    return len(_json({"group": group, "message": message}).encode()) <= PAYLOAD_BYTES


def notify_all(group: str, messages: Sequence[Message]) -> None:
    """As `notify`, of several in their order: each statement of its own would cost a commit."""
    _publish(*({"group": group, "message": message} for message in messages))


def notify_each(told: Sequence[tuple[str, Message]]) -> None:
    """As `notify`, to each of these groups its message."""
    if told:
        _publish(*({"group": group, "message": message} for group, message in told))


def _publish(*envelopes: dict[str, Any]) -> None:
    payloads = [_payload(envelope) for envelope in envelopes]
    calls = ", ".join(["pg_notify(%s, %s)"] * len(payloads))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {calls}",
            [part for payload in payloads for part in (NOTIFY_CHANNEL, payload)],
        )


def _payload(envelope: dict[str, Any]) -> str:
    payload = _json(envelope)
    if (size := len(payload.encode())) > PAYLOAD_BYTES:
        raise PayloadTooLarge(f"{size} bytes in a message of type {envelope['message']['type']!r}.")
    return payload


def _json(envelope: dict[str, Any]) -> str:
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))


def listen_parameters() -> dict[str, Any]:
    """What `psycopg.connect` needs for a LISTEN connection: direct, and quick to notice its death.

    Blocks when the embedded server must be started: call it in a thread.
    """
    database = connections[DEFAULT_DB_ALIAS]
    direct = {**database.settings_dict, **settings.DATABASE_DIRECT}
    parameters = type(database)(direct).get_connection_params()
    for django_only in ("cursor_factory", "context"):
        parameters.pop(django_only, None)
    return parameters | {
        "autocommit": True,
        "connect_timeout": 10,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }


@dataclass
class Listener:
    """The channels and groups of one event loop, and the task that fills them."""

    channels: dict[str, asyncio.Queue[Message]] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Listen for ever, connecting again with growing pauses."""
        pause = RECONNECT_SECONDS[0]
        while True:
            try:
                parameters = await sync_to_async(listen_parameters, thread_sensitive=False)()
                async with await psycopg.AsyncConnection.connect(**parameters) as listening:
                    await listening.execute(f"LISTEN {NOTIFY_CHANNEL}")
                    pause = RECONNECT_SECONDS[0]
                    self.connected.set()
                    for name in self.channels:  # they were there while nobody listened
                        self.put(name, RECONNECTED)
                    async for notice in listening.notifies():
                        self._deliver(notice.payload)
            except (psycopg.Error, PostgresError, OSError) as error:
                logger.warning("Realtime connection lost: %s", str(error).strip())
            self.connected.clear()
            await asyncio.sleep(pause)
            pause = min(pause * 2, RECONNECT_SECONDS[1])

    def _deliver(self, payload: str) -> None:
        try:
            self.deliver(json.loads(payload))
        except (ValueError, KeyError, TypeError):
            logger.warning("A notification that is not ours on channel %s", NOTIFY_CHANNEL)

    def deliver(self, envelope: dict[str, Any]) -> None:
        if "group" in envelope:
            for name in self.groups.get(envelope["group"], ()):
                self.put(name, envelope["message"])
        else:
            self.put(envelope["channel"], envelope["message"])

    def put(self, name: str, message: Message) -> None:
        if (queue := self.channels.get(name)) is None:
            return
        if queue.full():
            while not queue.empty():
                queue.get_nowait()
            message = RECONNECTED
        queue.put_nowait(dict(message))

    def forget(self, channel: str) -> None:
        self.channels.pop(channel, None)
        for group in [group for group, members in self.groups.items() if channel in members]:
            self.leave(group, channel)

    def leave(self, group: str, channel: str) -> None:
        self.groups[group].discard(channel)
        if not self.groups[group]:
            del self.groups[group]


@dataclass
class Teller:
    """What one event loop says: whatever gathered while the last batch was on its way goes at
    once. What nobody wrote down in a transaction needs neither a thread nor a pooled connection."""

    waiting: list[tuple[str, asyncio.Future[None]]] = field(default_factory=list)
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def tell(self, payload: str) -> None:
        """Returns when it is sent. Raises django.db.OperationalError."""
        sent = asyncio.get_running_loop().create_future()
        self.waiting.append((payload, sent))
        self.wanted.set()
        await sent

    async def run(self) -> None:
        """Tell for ever. What a new connection cannot send either fails."""
        try:
            while True:
                await self.wanted.wait()
                await self._connected()
        finally:  # nobody waits for a task that is no more
            self._fail("The realtime connection was closed.")

    async def _connected(self) -> None:
        try:
            parameters = await sync_to_async(listen_parameters, thread_sensitive=False)()
            async with await psycopg.AsyncConnection.connect(**parameters) as telling:
                await self._flush(telling)
                with suppress(psycopg.Error):  # grown old: what is left has a second try
                    while await self.wanted.wait():
                        await self._flush(telling)
        except (psycopg.Error, PostgresError, OSError) as error:
            self._fail(str(error))

    async def _flush(self, telling: psycopg.AsyncConnection[Any]) -> None:
        while batch := self.waiting[:BATCH]:
            payloads = [payload for payload, _ in batch]
            await telling.execute(
                "SELECT pg_notify(%s, unnest(%s::text[]))", [NOTIFY_CHANNEL, payloads]
            )
            del self.waiting[: len(batch)]
            for _, sent in batch:
                if not sent.done():  # who waited may be gone
                    sent.set_result(None)
        self.wanted.clear()

    def _fail(self, why: str) -> None:
        failed, self.waiting = self.waiting, []
        self.wanted.clear()
        for _, sent in failed:
            if not sent.done():
                sent.set_exception(OperationalError(why))


class PostgresLayer(BaseChannelLayer):
    """Channels made by `new_channel` and groups of them, across processes and event loops."""

    extensions = ["groups"]

    def __init__(self) -> None:
        super().__init__(capacity=CAPACITY)
        self._listeners: dict[asyncio.AbstractEventLoop, Listener] = {}
        self._tellers: dict[asyncio.AbstractEventLoop, Teller] = {}

    async def send(self, channel: str, message: Message) -> None:
        self.require_valid_channel_name(channel)
        await self._tell({"channel": channel, "message": message})

    async def group_send(self, group: str, message: Message) -> None:
        self.require_valid_group_name(group)
        await self._tell({"group": group, "message": message})

    async def new_channel(self, prefix: str = "specific") -> str:
        name = f"{prefix}.{uuid.uuid4().hex}"
        (await self._listener()).channels[name] = asyncio.Queue(CAPACITY)
        return name

    async def receive(self, channel: str) -> Message:
        """The next message. A reader that is cancelled was closing: its channel is forgotten."""
        listener = await self._listener()
        try:
            return await listener.channels[channel].get()
        except asyncio.CancelledError:
            listener.forget(channel)
            raise

    async def group_add(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        (await self._listener()).groups[group].add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        (await self._listener()).leave(group, channel)

    async def forget(self, channel: str) -> None:
        """Nobody will read `channel` any more: it leaves its groups and keeps nothing."""
        (await self._listener()).forget(channel)

    async def _tell(self, envelope: dict[str, Any]) -> None:
        payload, loop = _payload(envelope), asyncio.get_running_loop()
        teller = self._tellers.setdefault(loop, Teller())
        if teller.task is None:
            teller.task = loop.create_task(teller.run(), name="realtime-tell")
            teller.task.add_done_callback(lambda _: self._tellers.pop(loop, None))
        await teller.tell(payload)

    async def _listener(self) -> Listener:
        """This event loop's, listening; or still trying when the database is away for seconds."""
        loop = asyncio.get_running_loop()
        listener = self._listeners.setdefault(loop, Listener())
        if listener.task is None:
            listener.task = loop.create_task(listener.run(), name="realtime")
            listener.task.add_done_callback(lambda _: self._listeners.pop(loop, None))
        if not listener.connected.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await listener.connected.wait()
        return listener
