"""The console's socket: translates what comes in, tells what changed. No rules here.

What a client has is numbers: of each conversation that it has open the last message's. A hint
that carries the next one, under the epoch that the client knows, is sent on; all others, a gap, or
a new connection lead to the same question to the database.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connections
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import runner, transcript
from chat.models import Conversation
from handoff import (
    access,
    acting,
    assisting,
    background,
    following,
    macros,
    mentions,
    queues,
    routing,
)
from handoff.drawing import QUIET, Picture
from handoff.models import Agent, Draft
from handoff.ownership import agent_group
from knowledge.citing import Outdated
from opsdesk import realtime
from opsdesk.errors import BoundaryError
from opsdesk.sockets import AWAY, Refused, not_understood, unavailable

OPEN = 50  # conversations that one console follows
TYPING_EVERY = 1.0  # s between two hints of one console

_drafting = ThreadPoolExecutor(2, thread_name_prefix="draft")


@cache  # once a process
def _warm() -> None:
    """Pay before the first draft or search what it would wait for."""

    def run() -> None:
        try:
            runner.warm()
        finally:
            connections.close_all()

    _drafting.submit(run)


def watchers(conversation: UUID) -> str:
    """The realtime group of the agents who look at a conversation."""
    return f"handoff.watchers.{conversation.hex}"


class ConsoleConsumer(Picture):
    doors = {
        "hello": "hello",
        "open": "open_one",
        "close": "close_one",
        "earlier": "earlier",
        "act": "act",
        "typing": "typing",
        "duty": "duty",
        "people": "people",
        "search": "search",
        "knowledge": "knowledge",
        "draft": "draft",
        "inserted": "inserted",
        "dismiss": "dismiss",
        "seen": "seen",
        "canned": "canned",
        "run": "run",
        "ping": "ping",
    }
    pool = ThreadPoolExecutor(8, thread_name_prefix="console")
    beside = frozenset({"act"})
    stale = 60.0  # promises come nearer
    typed = 0.0  # when a hint that they type went on

    async def connect(self) -> None:
        self.open: dict[UUID, int] = {}  # the last seq that was sent of each
        self.known: dict[UUID, int] = {}  # the epoch that was sent of each
        self.moved: set[UUID] = set()  # how these stand was not told since their last message
        self.telling: asyncio.Task[None] | None = None
        # What happened in conversations while something is done in them.
        self.held: dict[str, list[dict[str, Any]]] = {}
        self.drafting: asyncio.Task[None] | None = None
        await super().connect()
        await self.channel_layer.group_add(agent_group(self.user.pk), self.channel_name)
        if settings.ROLE == "web":
            _warm()

    async def disconnect(self, code: int) -> None:
        for task in filter(None, (self.telling, self.drafting)):
            task.cancel()
        await super().disconnect(code)
        for pk in self.open:
            await self._hint(watchers(pk), {"type": "desk.gone", **self._self(pk)})

    async def dispatch(self, message: dict[str, Any]) -> None:
        """What an action does is told after that it is done."""
        if message["type"].startswith("conversation.") and self.held:
            about = message.get("conversation") or next(iter(self.held))
            if about in self.held:
                self.held[about].append(message)
                return
        await super().dispatch(message)

    # --- From the client ---------------------------------------------------------

    async def hello(self, content: dict[str, Any]) -> None:
        """Who this is, the queues, and what was missed of everything that is open."""
        await self._db(partial(_seen, self.user))
        told = await self._db(lambda: {"me": queues.me(self.user), **queues.people(self.user)})
        await self.send_json({"type": "welcome", **told})
        await self._draw()
        held = content.get("open")
        for pk, after in list((held if isinstance(held, dict) else {}).items())[:OPEN]:
            try:
                await self._follow(pk, after)
            except Refused as refused:
                await self._error(refused.code, str(refused), {"conversation": pk})

    async def open_one(self, content: dict[str, Any]) -> None:
        await self._follow(content.get("conversation"), content.get("after", 0))

    async def close_one(self, content: dict[str, Any]) -> None:
        found = await self._db(partial(acting.opened, self.user, content.get("conversation")))
        if self.open.pop(found.pk, None) is not None:
            await self._leave(found.pk)

    async def earlier(self, content: dict[str, Any]) -> None:
        before = content.get("before")
        if not isinstance(before, int):
            raise Refused("bad_message", self._say(not_understood))
        found = await self._db(partial(acting.opened, self.user, content.get("conversation")))
        messages = await self._db(partial(following.before, found.pk, before))
        told = {"conversation": str(found.pk), "messages": messages}
        await self.send_json({"type": "earlier", **told})

    async def act(self, content: dict[str, Any]) -> None:
        action = content.get("action")
        if not isinstance(action, str) or action not in acting.ACTIONS:
            raise Refused("bad_message", self._say(not_understood))
        about = str(content.get("conversation"))
        self.held[about] = []
        try:
            acted = partial(acting.act, self.user, action, content)
            said = await self._db(partial(self.admitted, acted))
            done = {"id": content.get("id"), "conversation": about, "action": action}
            await self.send_json({"type": "done", **done, "seq": said.seq if said else None})
        finally:
            with suppress(*AWAY):  # `realtime_reconnected` comes
                for event in self.held.pop(about):
                    await self.channel_layer.send(self.channel_name, event)

    async def typing(self, content: dict[str, Any]) -> None:
        """To the agents who look at the conversation; to its customer when its owner replies."""
        if time.monotonic() - self.typed < TYPING_EVERY:
            return
        self.typed = time.monotonic()
        found = await self._db(partial(acting.opened, self.user, content.get("conversation")))
        note = content.get("note") is True
        seen = {"type": "desk.here", **self._self(found.pk), "typing": True}
        await self._hint(watchers(found.pk), seen)
        if found.owner_id == self.user.pk and not note:
            typing = {"type": "conversation.typing", "agent": access.name(self.user)}
            await self._hint(transcript.group(found.pk), typing)

    async def duty(self, content: dict[str, Any]) -> None:
        await self._db(partial(routing.duty, self.user, content.get("on") is True))
        told = await self._db(lambda: {"me": queues.me(self.user), **queues.people(self.user)})
        await self.send_json({"type": "people", **told})

    async def people(self, content: dict[str, Any]) -> None:
        told = await self._db(lambda: {"me": queues.me(self.user), **queues.people(self.user)})
        await self.send_json({"type": "people", **told})

    async def search(self, content: dict[str, Any]) -> None:
        query = content.get("query", "")
        if not isinstance(query, str) or acting.UNSTORABLE.search(query):
            raise Refused("bad_message", self._say(not_understood))
        rows = await self._db(partial(queues.search, self.user, query.strip()[:100]))
        await self.send_json({"type": "found", "query": query, "rows": rows})

    async def knowledge(self, content: dict[str, Any]) -> None:
        query = content.get("query")
        if not isinstance(query, str) or not query.strip() or acting.UNSTORABLE.search(query):
            raise Refused("bad_message", self._say(not_understood))
        found = await self._db(partial(acting.opened, self.user, content.get("conversation")))
        passages = await self._db(partial(assisting.passages, found, query.strip()[:200]))
        told = {"conversation": str(found.pk), "passages": passages}
        await self.send_json({"type": "passages", **told})

    async def draft(self, content: dict[str, Any]) -> None:
        """Made beside: a model may take long, and the conversation goes on."""
        found = await self._db(partial(acting.opened, self.user, content.get("conversation")))
        if self.drafting is None or self.drafting.done():
            self.drafting = asyncio.create_task(self._draft(found))

    async def _draft(self, found: Conversation) -> None:
        told = {"type": "draft", "conversation": str(found.pk)}
        try:
            made = await self._db(partial(assisting.draft, found, self.user), pool=_drafting)
        except AWAY:
            await self._error("unavailable", self._say(unavailable), told)
            return
        except (BoundaryError, Outdated):  # a model, a store of vectors; documents that move
            await self._error("no_draft", self._say(_no_draft), told)
            return
        await self.send_json({**told, **(made or {"draft": None})})

    async def inserted(self, content: dict[str, Any]) -> None:
        became = partial(assisting.became, self.user, content.get("draft"))
        await self._db(became, Draft.Outcome.INSERTED)

    async def dismiss(self, content: dict[str, Any]) -> None:
        became = partial(assisting.became, self.user, content.get("draft"))
        await self._db(became, Draft.Outcome.DISMISSED)

    async def canned(self, content: dict[str, Any]) -> None:
        """What can be called up here: replies and macros by "/", colleagues by "@"."""
        found = await self._db(partial(acting.opened, self.user, content.get("conversation")))
        told = await self._db(partial(_at_hand, found, self.user))
        await self.send_json({"type": "canned", "conversation": str(found.pk), **told})

    async def seen(self, content: dict[str, Any]) -> None:
        """What this agent was called into is looked at."""
        found = await self._db(partial(acting.opened, self.user, content.get("conversation")))
        if await self._db(partial(mentions.seen, self.user, found)):
            await self.queue_changed(content)

    async def run(self, content: dict[str, Any]) -> None:
        """One of `handoff.actions`."""
        found = await self._db(partial(acting.opened, self.user, content.get("conversation")))
        done = await self._db(partial(acting.run, self.user, found, content.get("name")))
        told = {"conversation": str(found.pk), "text": done.text, "url": done.url}
        await self.send_json({"type": "ran", **told})

    async def ping(self, content: dict[str, Any]) -> None:
        """The console is open: its agent is there, and looks at what it has open."""
        await self._db(partial(_seen, self.user))
        here = [(watchers(pk), {"type": "desk.here", **self._self(pk)}) for pk in self.open]
        with suppress(*AWAY):
            await self._db(partial(realtime.notify_each, here))
        # Another team's by now, without a change of hands.
        if lost := await self._db(partial(access.shut, self.user, set(self.open))):
            self.moved |= lost
            await self._catch_up(*lost)
        await super().ping(content)

    # --- From the realtime layer ---------------------------------------------------

    async def conversation_message(self, event: dict[str, Any]) -> None:
        pk, seq = UUID(event["conversation"]), event["seq"]
        had = self.open.get(pk, seq)
        if seq <= had:
            return
        if seq > had + 1 or event.get("epoch") != self.known.get(pk):
            await self._catch_up(pk)
            return
        self.open[pk] = seq
        told = {"conversation": str(pk), "message": {**event["message"], "public": True}}
        await self.send_json({"type": "message", **told})
        self._stands_soon(pk)

    def _stands_soon(self, pk: UUID) -> None:
        """How it stands can wait for that of others."""
        self.moved.add(pk)
        if self.telling is None:
            self.telling = asyncio.create_task(self._stands_after(QUIET))

    async def _stands_after(self, wait: float) -> None:
        await asyncio.sleep(wait)
        self.telling = None
        moved, self.moved = self.moved, set()
        standings: dict[UUID, dict[str, Any]] = {}
        with suppress(*AWAY):  # `realtime_reconnected` comes
            standings = await self._db(partial(self._standings, moved))
        for pk in moved & self.open.keys():
            standing = standings.get(pk)
            if standing and standing["epoch"] == self.known.get(pk):
                await self.send_json({"type": "standing", **standing})
            else:  # it changed hands, or is another team's by now
                self.moved.add(pk)
        if self.moved:
            with suppress(*AWAY):
                await self.channel_layer.send(self.channel_name, {"type": "desk.moved"})

    def _standings(self, pks: set[UUID]) -> dict[UUID, dict[str, Any]]:
        rows = Conversation.objects.filter(pk__in=pks).select_related("owner__agent")
        return queues.standings(access.openable(self.user, rows))

    async def desk_moved(self, event: dict[str, Any]) -> None:
        await self._catch_up(*self.moved)

    async def conversation_state(self, event: dict[str, Any]) -> None:
        await self._catch_up()
        if event.get("about"):  # no change of hands: a summary, a rating, a way to be reached
            await self._tell_background(UUID(event["conversation"]))

    async def realtime_reconnected(self, event: dict[str, Any]) -> None:
        await self._catch_up()
        await self._draw()

    async def conversation_rating(self, event: dict[str, Any]) -> None:
        """The customer judged an answer."""
        if (pk := UUID(event["conversation"])) in self.open:
            for message in await self._db(partial(following.one, self.user, pk, event["seq"])):
                told = {"conversation": str(pk), "message": message}
                await self.send_json({"type": "rated", **told})

    async def conversation_step(self, event: dict[str, Any]) -> None:
        """Of an answer in the making, which is no message yet."""

    conversation_citations = conversation_delta = conversation_step
    conversation_afresh = conversation_notice = conversation_turn = conversation_step
    conversation_typing = conversation_who = conversation_step

    async def conversation_customer(self, event: dict[str, Any]) -> None:
        """The customer is there, types, or left."""
        await self.send_json({**event, "type": "customer"})

    async def queue_row(self, event: dict[str, Any]) -> None:
        """Something was said in it; who has it open hears so anyway."""
        if (pk := UUID(event["conversation"])) not in self.open:
            row = await self._db(partial(queues.row, self.user, pk))
            if row:
                await self.send_json({"type": "row", "row": row})

    async def handoff_offer(self, event: dict[str, Any]) -> None:
        await self.send_json({"type": "offer", "conversation": event["conversation"]})
        await self.queue_changed(event)

    async def handoff_mention(self, event: dict[str, Any]) -> None:
        await self.send_json({**event, "type": "mentioned"})
        await self.queue_changed(event)

    async def desk_here(self, event: dict[str, Any]) -> None:
        if event["window"] != self.channel_name:
            await self.send_json({**event, "type": "here"})

    async def desk_gone(self, event: dict[str, Any]) -> None:
        if event["window"] != self.channel_name:
            await self.send_json({**event, "type": "gone"})

    async def desk_who(self, event: dict[str, Any]) -> None:
        """Somebody else opened it: say that this one is there, too."""
        pk = UUID(event["conversation"])
        if event["window"] != self.channel_name and pk in self.open:
            await self._hint(watchers(pk), {"type": "desk.here", **self._self(pk)})

    # --- Sending -----------------------------------------------------------------

    async def _follow(self, wanted: Any, after: Any) -> None:
        """From now on what happens in it is sent, first what came after message `after`."""
        found = await self._db(partial(acting.opened, self.user, wanted))
        pk, after = found.pk, after if isinstance(after, int) and after > 0 else 0
        if pk not in self.open and len(self.open) >= OPEN:
            raise Refused("too_many", self._say(_too_many))
        await self.channel_layer.group_add(transcript.group(pk), self.channel_name)
        await self.channel_layer.group_add(watchers(pk), self.channel_name)
        first = await self._db(partial(following.messages, pk, after))
        self.open[pk] = first[-1]["seq"] if first else after
        told = await self._db(lambda: (queues.now_of(found), background.of(found, self.user)))
        self.known[pk] = told[0]["epoch"]
        opened = {"standing": told[0], "background": told[1], "after": after, "messages": first}
        await self.send_json({"type": "opened", "conversation": str(pk), **opened})
        await self._catch_up(pk)
        await self._hint(watchers(pk), {"type": "desk.here", **self._self(pk)})
        await self._hint(watchers(pk), {"type": "desk.who", **self._self(pk)})
        await self._hint(transcript.group(pk), {"type": "conversation.who"})

    async def _tell_background(self, pk: UUID) -> None:
        """What is known beside it, to who has it open and still may."""
        try:
            found = await self._db(partial(acting.opened, self.user, pk))
        except Refused:  # another team's by now; `_catch_up` says so
            return
        told = await self._db(partial(background.of, found, self.user))
        await self.send_json({"type": "background", "conversation": str(pk), "background": told})

    async def _leave(self, pk: UUID) -> None:
        self.moved.discard(pk)
        await self.channel_layer.group_discard(transcript.group(pk), self.channel_name)
        await self.channel_layer.group_discard(watchers(pk), self.channel_name)
        await self._hint(watchers(pk), {"type": "desk.gone", **self._self(pk)})

    async def _catch_up(self, *pks: UUID) -> None:
        """Whatever of the open conversations, or of `pks`, the client does not have yet."""
        news = await self._db(partial(self._news, pks or tuple(self.open)))
        self.moved.difference_update(news)
        for pk, (messages, standing) in news.items():
            if standing is None:
                self.open.pop(pk, None)
                await self._leave(pk)
                gone = {"conversation": str(pk), "code": "forbidden"}
                await self._error("forbidden", self._say(_not_yours), gone)
                continue
            for message in messages:
                self.open[pk] = message["seq"]
                told = {"conversation": str(pk), "message": message}
                await self.send_json({"type": "message", **told})
            self.known[pk] = standing["epoch"]
            await self.send_json({"type": "standing", **standing})
            if len(messages) == following.HISTORY:
                await self._catch_up(pk)

    def _news(self, pks: tuple[UUID, ...]) -> dict[UUID, tuple[list[Any], dict[str, Any] | None]]:
        """Of what has moved: messages, and how it stands; None of what is another team's now."""
        rows = Conversation.objects.filter(pk__in=pks).select_related("owner__agent")
        moved = [
            row
            for row in rows
            if row.last_seq > self.open[row.pk]
            or row.epoch != self.known.get(row.pk)
            or row.pk in self.moved
        ]
        standings = queues.standings(access.openable(self.user, moved))
        told: dict[UUID, tuple[list[Any], dict[str, Any] | None]] = {}
        for row in moved:
            standing, had = standings.get(row.pk), self.open[row.pk]
            unread = standing and row.last_seq > had
            told[row.pk] = (following.after(row.pk, had) if unread else [], standing)
        return told

    def _self(self, pk: UUID) -> dict[str, Any]:
        return {
            "conversation": str(pk),
            "window": self.channel_name,
            "agent": self.user.pk,
            "name": access.name(self.user),
        }

    async def _hint(self, group: str, message: dict[str, Any]) -> None:
        with suppress(*AWAY):
            await self.channel_layer.group_send(group, message)

    async def _error(self, code: str, text: str, about: Any = None) -> None:
        about = about if isinstance(about, dict) else {}
        told = {"id": about.get("id"), "conversation": about.get("conversation")}
        await self.send_json({"type": "error", "code": code, "text": text, **told})

    # --- In the pool's threads ------------------------------------------------------

    def picture(self) -> dict[str, Any]:
        return {"type": "queues", "rows": queues.rows(self.user)}

    def may(self, user: Any) -> bool:
        return access.may_serve(user)


def _at_hand(found: Conversation, user: Any) -> dict[str, Any]:
    colleagues = mentions.colleagues(found).exclude(pk=user.pk)
    return {
        "replies": assisting.canned(found, user),
        "macros": macros.offered(found, user),
        "colleagues": [{"id": one.pk, "name": access.name(one)} for one in colleagues],
    }


def _seen(user: Any) -> None:
    Agent.objects.filter(user=user).update(seen_at=timezone.now())


def _no_draft() -> str:
    return _("No draft could be made just now. Please try again.")


def _not_yours() -> str:
    return _("This conversation is with another team.")


def _too_many() -> str:
    return _("Close some conversations first.")
