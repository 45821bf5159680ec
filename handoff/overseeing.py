"""The supervisors' socket: the whole picture whenever it changes, and what they do about it."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from django.utils.translation import gettext as _

from handoff import acting, overview, routing
from handoff.drawing import Picture
from handoff.models import Agent
from opsdesk.sockets import Refused, not_understood

ACTIONS = {"assign", "transfer"}


class OverviewConsumer(Picture):
    doors = {"hello": "hello", "act": "act", "duty": "duty", "ping": "ping"}
    pool = ThreadPoolExecutor(2, thread_name_prefix="overview")
    stale = 15.0  # presence and promises move

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

    # --- From the realtime layer ---------------------------------------------------

    queue_row = realtime_reconnected = Picture.queue_changed

    # --- In the pool's threads ------------------------------------------------------

    def picture(self) -> dict[str, Any]:
        return {"type": "overview", **overview.picture(self.user)}

    def may(self, user: Any) -> bool:
        return overview.may_see(user)


def _duty(user: Any, pk: Any, on: bool) -> None:
    agent = Agent.objects.filter(user=pk).first() if type(pk) is int else None
    if agent is None or not overview.supervises(user, agent):
        raise Refused("forbidden", _("This agent is in no team of yours."))
    routing.duty(agent.user, on, seen=False)
