"""A page of agents that is sent a whole picture of the queues when something in them changes."""

import asyncio
import time
from typing import Any, ClassVar

from handoff.ownership import QUEUE_GROUP
from opsdesk.languages import language_of
from opsdesk.sockets import AWAY, SIGNED_OUT, TRY_AGAIN, Socket, signed_in

QUIET = 1.0  # s between two pictures
NO_RIGHT = 4403  # closes a socket whose page must change first


class Picture(Socket):
    """`_draw` sends it; who may not see it (`may`) is shut out."""

    stale: ClassVar[float]  # s after which a new one is sent in any case

    async def connect(self) -> None:
        self.user: Any = self.scope["user"]
        self.language = language_of(self.scope)
        self.drawn = 0.0
        self.redraw: asyncio.Task[None] | None = None
        self.lines: dict[str, asyncio.Task[None]] = {}
        await self.accept()  # else the browser is not told the code
        await self.admit()
        await self.channel_layer.group_add(QUEUE_GROUP, self.channel_name)

    async def disconnect(self, code: int) -> None:
        for task in filter(None, (self.redraw, *self.lines.values())):
            task.cancel()
        await self.channel_layer.forget(self.channel_name)

    async def ping(self, content: dict[str, Any]) -> None:
        await self.send_json({"type": "pong"})
        if time.monotonic() - self.drawn > self.stale:
            await self.queue_changed(content)

    async def queue_changed(self, event: dict[str, Any]) -> None:
        """At most one picture in QUIET; the last change is always in one."""
        if self.redraw is None:
            wait = max(0.0, self.drawn + QUIET - time.monotonic())
            self.redraw = asyncio.create_task(self._draw_after(wait))

    async def _draw_after(self, wait: float) -> None:
        await asyncio.sleep(wait)
        self.redraw = None
        try:
            await self._draw()
        except AWAY:
            await self.close(TRY_AGAIN)

    async def _draw(self) -> None:
        self.drawn = time.monotonic()
        await self.send_json(await self._db(self.picture))

    # --- In the pool's threads ------------------------------------------------------

    def picture(self) -> dict[str, Any]:
        raise NotImplementedError

    def may(self, user: Any) -> bool:
        raise NotImplementedError

    def shut_out(self) -> int | None:
        user = signed_in(self.scope)
        if not self.may(user):
            return NO_RIGHT if user.is_authenticated else SIGNED_OUT
        self.user = user
        return None
