"""Who waits is offered to who is there: the longest wait first, to the least loaded who can.

`route` runs in the short cluster after whatever queues a conversation, `sweep` every few
seconds beside the turn runner. Any number of processes may: a conversation that one of them
looks at is skipped by the others.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Func, Q, Value
from django.utils import timezone, translation

from chat.models import Conversation
from handoff import desk, hours, teams
from handoff.models import Agent, Handoff
from handoff.ownership import QUEUE_GROUP, look_for_somebody
from opsdesk.errors import Conflict
from opsdesk.realtime import notify

AT_ONCE = 50  # of each kind in a sweep, which holds up the turns of its process


def route() -> int:
    """Offer what waits, as far as somebody can take it; how many offers were made."""
    if not settings.HANDOFF_OFFER_SECONDS:  # people take from the queue themselves
        return 0
    looked_at: set[int] = set()
    offered = 0
    if not Agent.objects.available().free().exists():
        return 0
    while handoff := _offer_next(looked_at):
        offered += handoff.status == Handoff.Status.OFFERED
        looked_at.add(handoff.pk)
    return offered


@transaction.atomic
def _offer_next(looked_at: set[int]) -> Handoff | None:
    """Offer the first that waits to whom it fits best, if to anybody; None when none is left."""
    waiting = Handoff.objects.filter(status=Handoff.Status.WAITING).exclude(pk__in=looked_at)
    handoff = (
        waiting.longest_first()
        .select_related("conversation", "team__calendar")
        .select_for_update(of=("conversation",), skip_locked=True)
        .first()
    )
    if handoff is None or handoff.conversation.state != Conversation.State.QUEUED:
        return handoff
    while agent := _best(handoff):
        try:
            with transaction.atomic(), translation.override(settings.LANGUAGE_CODE):
                desk.offer(handoff.conversation, agent.user, settings.HANDOFF_OFFER_SECONDS)
        except Conflict:  # somebody gave this agent another one meanwhile
            continue
        handoff.refresh_from_db()
        break
    return handoff


def _best(handoff: Handoff) -> Agent | None:
    """Who can, has least to do, and among these who was not offered anything for longest."""
    if handoff.team and not hours.is_open(handoff.team.calendar, timezone.now()):
        return None
    fit = teams.agents(handoff.team).available().free().exclude(user__in=handoff.passed)
    if handoff.skills:
        fit = fit.filter(skills__contains=handoff.skills)
    return fit.order_by("load", F("offered_at").asc(nulls_first=True), "pk").first()


@transaction.atomic
def duty(user: Any, on: bool, *, seen: bool = True) -> None:
    """Go on duty, or off it. Who comes on may be offered again what they let pass. Not `seen`:
    somebody else says so."""
    now = {"seen_at": timezone.now()} if seen else {}
    Agent.objects.update_or_create(user=user, defaults={"on_duty": on, **now})
    notify(QUEUE_GROUP, {"type": "queue.changed"})
    if on:
        waiting = Handoff.objects.filter(status=Handoff.Status.WAITING, passed__contains=[user.pk])
        without = Func(F("passed"), Value(user.pk), function="array_remove")
        waiting.update(passed=without)
        look_for_somebody()


def sweep() -> int:
    """End offers whose time is over, free what agents who are gone left, wake what sleeps; then
    offer again. How many conversations changed hands."""
    swept = _expire() + _gone()
    return swept + route()


def _expire() -> int:
    over = Handoff.objects.filter(
        status=Handoff.Status.OFFERED, offered_until__lte=timezone.now()
    ).select_related("conversation")
    first = over.order_by("offered_until")[:AT_ONCE]
    return sum(_tried(desk.expire, handoff.conversation) for handoff in first)


def _gone() -> int:
    """Conversations of agents who have not been seen for HANDOFF_GONE_MINUTES; those put aside,
    or whose customer is to write, when that is over."""
    if not settings.HANDOFF_GONE_MINUTES:
        return 0
    now = timezone.now()
    since = now - timedelta(minutes=settings.HANDOFF_GONE_MINUTES)
    stand = Q(snoozed_until__gt=now) | Q(with_customer=True)
    taken = Handoff.objects.filter(status=Handoff.Status.TAKEN).exclude(stand)
    abandoned = Conversation.objects.filter(
        pk__in=taken.values("conversation"),
        state=Conversation.State.HUMAN,
        owner__agent__seen_at__lt=since,
        updated_at__lt=since,  # nobody has written either
    )
    first = abandoned.order_by("updated_at")[:AT_ONCE]
    return sum(_tried(desk.left, conversation) for conversation in first)


def _tried(action: Callable[[Conversation], object], conversation: Conversation) -> int:
    try:
        action(conversation)
    # It was answered at the last moment, another process swept it, or it was deleted.
    except (Conflict, Conversation.DoesNotExist):
        return 0
    return 1
