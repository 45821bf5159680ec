"""What waits and who has it, as the console shows it; longest waits and broken promises first."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery

from chat.models import Conversation, Message
from handoff import access, mentions
from handoff.access import name
from handoff.clocks import Clocks, Timer
from handoff.models import Agent, Handoff, HandoffQuerySet, Membership, Team

AT_ONCE = 300  # rows of all queues together
FOUND = 30
AT_RISK = timedelta(minutes=10)  # of business hours, before a promise is broken
PREVIEW = 80  # characters


def rows(user: Any) -> list[dict[str, Any]]:
    """All that is unfinished and `user` may open, in the order in which to work on it."""
    called = mentions.of(user)
    told = _rows(access.handoffs(user).unfinished())
    for row in told:
        row["called"] = called.pop(UUID(row["conversation"]), None)
    return told + _called(user, called)


def row(user: Any, conversation: UUID) -> dict[str, Any] | None:
    """One of them, None when it is not there (any more)."""
    told = _rows(access.handoffs(user).unfinished().filter(conversation=conversation))
    return told[0] if told else None


def _rows(unfinished: HandoffQuerySet) -> list[dict[str, Any]]:
    unfinished = unfinished.select_related("team__calendar", "offered_to__agent")
    last = Message.objects.filter(conversation=OuterRef("conversation"), public=True).exclude(
        role=Message.Role.SYSTEM
    )
    found: Any = (  # with what is annotated
        unfinished.select_related("conversation__owner__agent")
        .annotate(
            said=Subquery(last.order_by("-seq").values("text")[:1]),
            said_by=Subquery(last.order_by("-seq").values("role")[:1]),
        )
        .longest_first()
    )
    clocks = Clocks()
    timed = [(handoff, clocks.of(handoff)) for handoff in found[:AT_ONCE]]
    return [
        standing(handoff.conversation, handoff, timers)
        | {"preview": (handoff.said or "")[:PREVIEW], "said_by": handoff.said_by}
        for handoff, timers in sorted(timed, key=_rank)
    ]


def _rank(one: tuple[Handoff, list[Timer]]) -> tuple[Any, ...]:
    """Promises about to be broken first, the earliest on top; then priority; then who waits."""
    handoff, timers = one
    running = [timer.left for timer in timers if not handoff.paused_at]
    if running and running[0] < AT_RISK:
        return (0, running[0])
    return (1, -handoff.priority, handoff.requested_at)


def _called(user: Any, called: dict[UUID, bool]) -> list[dict[str, Any]]:
    """Conversations that no person has (any more), into which `user` was called by a note."""
    there = Conversation.objects.select_related("owner").filter(pk__in=called)
    told = standings(access.openable(user, there))
    return [
        told[pk] | {"preview": "", "said_by": None, "called": new}
        for pk, new in called.items()
        if pk in told
    ]


def standing(
    conversation: Conversation, handoff: Handoff | None, timers: list[Timer] | None = None
) -> dict[str, Any]:
    """Whose a conversation is now and what is due; `handoff` is its unfinished one, if any.
    `timers`: its promises, where somebody has looked at them already."""
    told: dict[str, Any] = {
        "conversation": str(conversation.pk),
        "title": conversation.title,
        "state": conversation.state,
        "epoch": conversation.epoch,
        "last_seq": conversation.last_seq,
        "owner": _person(conversation.owner),
        "updated_at": conversation.updated_at.isoformat(),
    }
    if handoff is None:
        return told
    return told | {
        "reason": handoff.get_reason_display(),
        "priority": handoff.priority,
        "team": handoff.team.name if handoff.team else "",
        "requested_at": handoff.requested_at.isoformat(),
        "offered_to": _person(handoff.offered_to),
        "offered_until": _iso(handoff.offered_until),
        "snoozed_until": _iso(handoff.snoozed_until),
        "tags": handoff.tags,
        "timers": [_timer(one) for one in (Clocks().of(handoff) if timers is None else timers)],
    }


def _timer(timer: Timer) -> dict[str, Any]:
    """{"promise", "left": seconds of business hours, "stands": why or "", "until": when that ends
    or begins}: what a page needs to count on by itself."""
    return {
        "promise": timer.promise,
        "left": round(timer.left.total_seconds()),
        "stands": timer.stands,
        "until": _iso(timer.until),
    }


def now_of(conversation: Conversation) -> dict[str, Any]:
    """`standing` with its handoff looked up."""
    return standings([conversation])[conversation.pk]


def standings(conversations: Collection[Conversation]) -> dict[UUID, dict[str, Any]]:
    """`now_of` each of them, in as few queries."""
    unfinished = Handoff.objects.unfinished().filter(conversation__in=conversations)
    rows = unfinished.select_related("team__calendar", "offered_to__agent")
    of, clocks = {row.conversation_id: row for row in rows}, Clocks()
    return {
        one.pk: standing(one, row := of.get(one.pk), clocks.of(row) if row else None)
        for one in conversations
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _person(user: Any) -> dict[str, Any] | None:
    return {"id": user.pk, "name": name(user)} if user else None


def search(user: Any, query: str) -> list[dict[str, Any]]:
    """Conversations with `query` in their title, in what was said, or in how to reach the
    customer; the newest first, whoever has them. Without a query the latest."""
    found: QuerySet[Conversation] = Conversation.objects.exclude(last_seq=0)
    if query:
        found = found.filter(
            Q(title__icontains=query)
            | Q(pk__in=Message.objects.filter(text__icontains=query).values("conversation"))
            | Q(pk__in=Handoff.objects.filter(contact__icontains=query).values("conversation"))
        )
    newest = found.select_related("owner__agent").order_by("-updated_at")[: FOUND * 2]
    return list(standings(access.openable(user, newest)[:FOUND]).values())


def people(user: Any) -> dict[str, Any]:
    """To whom a conversation can be handed: agents with their load and presence, and teams."""
    available = set(Agent.objects.available().values_list("pk", flat=True))
    agents = Agent.objects.filter(user__is_active=True).select_related("user")
    return {
        "agents": [
            {
                "id": agent.user_id,
                "name": str(agent),
                "there": agent.pk in available,
                "load": agent.load,
                "capacity": agent.capacity,
            }
            for agent in agents.order_by("-on_duty", "load", "pk")
        ],
        "teams": [{"id": team.pk, "name": team.name} for team in Team.objects.all()],
        "supervisor": user.is_superuser
        or Membership.objects.filter(agent__user=user, leads=True).exists(),
    }


def me(user: Any) -> dict[str, Any]:
    agent = Agent.objects.filter(user=user).first()
    return {"id": user.pk, "name": name(user), "on_duty": bool(agent and agent.on_duty)}
