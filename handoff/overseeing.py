"""The supervisors' socket: the whole picture whenever it changes, and what they do about it."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from django.utils.translation import gettext as _

from handoff import acting, overview, routing
from handoff.models import Agent
from handoff.ownership import QUEUE_GROUP
from opsdesk.languages import language_of
from opsdesk.sockets import (
    AWAY,
    SIGNED_OUT,
    TRY_AGAIN,
    Refused,
    Socket,
    not_understood,
    signed_in,
)

QUIET = 1.0  # s between two pictures …
STALE = 15.0  # … and after which a new one is sent in any case: presence and promises move
NO_SUPERVISOR = 4403
ACTIONS = {"assign", "transfer"}


class OverviewConsumer(Socket):
    doors = {"hello": "hello", "act": "act", "duty": "duty", "ping": "ping"}
    pool = ThreadPoolExecutor(2, thread_name_prefix="overview")

    async def connect(self) -> None:
        self.user: Any = self.scope["user"]
        self.language = language_of(self.scope)
        self.drawn = 0.0
        self.redraw: asyncio.Task[None] | None = None
        await self.accept()  # else the browser is not told the code
        await self.admit()
        await self.channel_layer.group_add(QUEUE_GROUP, self.channel_name)

    async def disconnect(self, code: int) -> None:
        if self.redraw:
            self.redraw.cancel()
        await self.channel_layer.forget(self.channel_name)

    # --- From the client ---------------------------------------------------------

    async def hello(self, content: dict[str, Any]) -> None:
        await self._draw()

    async def act(self, content: dict[str, Any]) -> None:
        """One of ACTIONS, as at the console."""
        action = content.get("action")
        if not isinstance(action, str) or action not in ACTIONS:
            raise Refused("bad_message", self._say(not_understood))
        await self._db(partial(acting.act, self.user, action, content))
        await self._draw()

    async def duty(self, content: dict[str, Any]) -> None:
        """Call an agent to duty, or let them go: somebody forgot to say so."""
        await self._db(partial(_duty, self.user, content.get("agent"), content.get("on") is True))
        await self._draw()

    async def ping(self, content: dict[str, Any]) -> None:
        await self.send_json({"type": "pong"})
        if time.monotonic() - self.drawn > STALE:
            await self._draw()

    # --- From the realtime layer ---------------------------------------------------

    async def queue_changed(self, event: dict[str, Any]) -> None:
        """At most one picture a second; the last change is always in one."""
        if self.redraw is None:
            wait = max(0.0, self.drawn + QUIET - time.monotonic())
            self.redraw = asyncio.create_task(self._draw_after(wait))

    queue_row = realtime_reconnected = queue_changed

    async def _draw_after(self, wait: float) -> None:
        await asyncio.sleep(wait)
        self.redraw = None
        try:
            await self._draw()
        except AWAY:
            await self.close(TRY_AGAIN)

    async def _draw(self) -> None:
        self.drawn = time.monotonic()
        told = await self._db(partial(overview.picture, self.user))
        await self.send_json({"type": "overview", **told})

    # --- In the pool's threads ------------------------------------------------------

    def shut_out(self) -> int | None:
        user = signed_in(self.scope)
        if not overview.may_see(user):
            return NO_SUPERVISOR if user.is_authenticated else SIGNED_OUT
        self.user = user
        return None


def _duty(user: Any, pk: Any, on: bool) -> None:
    agent = Agent.objects.filter(user=pk).first() if type(pk) is int else None
    if agent is None or not overview.supervises(user, agent):
        raise Refused("forbidden", _("This agent is in no team of yours."))
    routing.duty(agent.user, on, seen=False)
