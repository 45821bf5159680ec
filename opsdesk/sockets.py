"""A socket that a page speaks JSON with: what comes in is led to a door, what fails is told."""

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, ClassVar

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.contrib import auth
from django.db import Error as DatabaseError
from django.db import close_old_connections
from django.http import HttpRequest
from django.utils import translation
from django.utils.translation import gettext as _

from opsdesk.errors import BoundaryError
from opsdesk.postgres import PostgresError

FRAME_BYTES = 512 * 1024  # a pasted log and its escapes
TRY_AGAIN = 1013  # closes a socket whose client is to come back
SIGNED_OUT = 4401  # closes a socket whose page must be loaded anew
LOOKED = 5.0  # s between two looks, while things are told, at whether who hears them still may
AWAY = (DatabaseError, PostgresError)


class Refused(Exception):
    """The client asked for what it cannot have: a code for programs, a sentence for people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class ShutOut(Exception):
    """Who is there may not be any more: what closes the socket."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def signed_in(scope: dict[str, Any]) -> Any:
    """Whom the session of the socket's cookie means by now: who was there when it was opened may
    have logged out, have another password, or be no user any more."""
    request = HttpRequest()
    sessions = import_module(settings.SESSION_ENGINE)
    request.session = sessions.SessionStore(scope["session"].session_key)
    return auth.get_user(request)


class Socket(AsyncJsonWebsocketConsumer):
    """Calls the method that `doors` names for the "type" of a frame, with the frame.

    A door raises Refused, which is told. Without a database the client is told to try again, and
    a hint that cannot be followed closes the socket: the client comes back with its numbers.
    Who is shut out hears and does nothing more: before each frame, and every LOOKED seconds.
    """

    doors: ClassVar[dict[str, str]]
    # Those of them that what is told need not wait for; in one conversation one after the other.
    # They admit by themselves.
    beside: ClassVar[frozenset[str]] = frozenset()
    lines: dict[str, asyncio.Task[None]]  # the last in each conversation
    # Not Channels' one shared thread: every socket's queries would wait in one line.
    pool: ClassVar[ThreadPoolExecutor]
    language: str
    looked = 0.0  # when it was seen last that who is there may be

    async def dispatch(self, message: dict[str, Any]) -> None:
        try:
            if not message["type"].startswith("websocket."):
                await self.admit(LOOKED)
            # Channels' own dispatch would first wait, each time, for the one thread in which all
            # sockets close connections that none of ours uses.
            await getattr(self, get_handler_name(message))(message)
        except AWAY:
            await self._end(TRY_AGAIN)
        except ShutOut as shut:
            await self._end(shut.code)

    async def _end(self, code: int) -> None:
        await self.disconnect(code)
        await self.close(code)
        raise StopConsumer

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        if text_data is None or len(text_data.encode()) > FRAME_BYTES:
            await self._error("bad_message", self._say(self.unfit))
            return
        try:
            content = await self.decode_json(text_data)
        except (ValueError, RecursionError):
            content = None
        await self.receive_json(content)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        kind = content.get("type") if isinstance(content, dict) else None
        if not isinstance(kind, str) or kind not in self.doors:
            await self._error("bad_message", self._say(not_understood))
            return
        if kind in self.beside:
            self._beside(kind, content)
            return
        await self._led(kind, content, self.admit())

    def _beside(self, kind: str, content: Any) -> None:
        about = str(content.get("conversation"))
        self.lines = {of: line for of, line in self.lines.items() if not line.done()}
        before = self.lines.get(about)

        async def follow() -> None:
            if before:
                await asyncio.wait([before])
            try:
                await self._led(kind, content)
            except ShutOut as shut:
                await self.close(shut.code)

        self.lines[about] = asyncio.create_task(follow())

    async def _led(self, kind: str, content: Any, first: Awaitable[None] | None = None) -> None:
        """To its door."""
        try:
            if first:
                await first
            await getattr(self, self.doors[kind])(content)
        except Refused as refused:
            await self._error(refused.code, str(refused), content)
        except BoundaryError as error:
            await self._error("failed", str(error), content)
        except AWAY:
            await self._error("unavailable", self._say(unavailable), content)

    async def admit(self, within: float = 0.0) -> None:
        """Raises ShutOut for who may not be here any more; looks no sooner than `within` seconds
        after the last time."""
        now = time.monotonic()
        if self.looked and now - self.looked < within:
            return
        if code := await self._db(self.shut_out):
            raise ShutOut(code)
        self.looked = now

    def shut_out(self) -> int | None:
        """The code that closes the socket of who may not be here (any more). In a thread."""
        return None

    def admitted(self, function: Callable[[], Any]) -> Any:
        """What `function` returns, in a thread. Raises ShutOut, as `admit` does."""
        if code := self.shut_out():
            raise ShutOut(code)
        return function()

    def unfit(self) -> str:
        """What is said to a frame that is too large or no text."""
        return not_understood()

    async def _error(self, code: str, text: str, about: Any = None) -> None:
        """Tell what went wrong with the frame `about`."""
        client_id = about.get("id") if isinstance(about, dict) else None
        await self.send_json({"type": "error", "code": code, "text": text, "id": client_id})

    async def _db(
        self, function: Callable[..., Any], *args: Any, pool: ThreadPoolExecutor | None = None
    ) -> Any:
        """What `function` returns, called in a thread, in the client's language."""

        def run() -> Any:
            close_old_connections()
            try:
                with translation.override(self.language):
                    return function(*args)
            finally:
                close_old_connections()

        within = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(pool or self.pool, within.run, run)

    def _say(self, sentence: Callable[[], str]) -> str:
        with translation.override(self.language):
            return sentence()


def not_understood() -> str:
    return _("This message cannot be read.")


def unavailable() -> str:
    return _("The database is not reachable right now. Please try again in a moment.")
