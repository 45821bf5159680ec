"""A channel layer over PostgreSQL's NOTIFY: groups in memory, one LISTEN for each event loop.

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
from channels.db import database_sync_to_async
from channels.layers import BaseChannelLayer
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections

from opsdesk.postgres import PostgresError

logger = logging.getLogger(__name__)

NOTIFY_CHANNEL = "opsdesk"
PAYLOAD_BYTES = 7999  # PostgreSQL refuses 8000
CAPACITY = 1000  # messages a channel may have waiting
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
    payload = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
    if (size := len(payload.encode())) > PAYLOAD_BYTES:
        raise PayloadTooLarge(f"{size} bytes in a message of type {envelope['message']['type']!r}.")
    return payload


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


class PostgresLayer(BaseChannelLayer):
    """Channels made by `new_channel` and groups of them, across processes and event loops."""

    extensions = ["groups"]

    def __init__(self) -> None:
        super().__init__(capacity=CAPACITY)
        self._listeners: dict[asyncio.AbstractEventLoop, Listener] = {}

    async def send(self, channel: str, message: Message) -> None:
        self.require_valid_channel_name(channel)
        await database_sync_to_async(_publish)({"channel": channel, "message": message})

    async def group_send(self, group: str, message: Message) -> None:
        self.require_valid_group_name(group)
        await database_sync_to_async(notify)(group, message)

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
