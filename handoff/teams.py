"""Which team answers for a conversation, who of it may, and what it promises."""

from collections.abc import Collection
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from chat.models import Citation, Conversation, Turn
from handoff import hours
from handoff.models import Agent, AgentQuerySet, Handoff, Membership, Team


def of(conversation: Conversation) -> Team | None:
    """The team of the base it asks, or that its last answer cites; else one that is for all."""
    return of_each([conversation])[conversation.pk]


def of_each(conversations: Collection[Conversation]) -> dict[UUID, Team | None]:
    """As `of`, in as few queries."""
    if not conversations:
        return {}
    asked = [one.pk for one in conversations if not one.knowledge_base_id]
    cited = cited_bases(Citation.objects.filter(message__conversation__in=asked))
    bases = {one.pk: one.knowledge_base_id or cited.get(one.pk) for one in conversations}
    rows = list(Team.objects.select_related("calendar").annotate(base=F("bases")).order_by("name"))
    named = {team.base: team for team in reversed(rows)}  # of several the first; None: for all
    return {pk: named.get(base) or named.get(None) for pk, base in bases.items()}


def cited_bases(citations: QuerySet[Citation]) -> dict[UUID, int]:
    """What the last answer of each conversation cites first; a choice tells only where all of it
    is of one base."""
    cited = citations.filter(document__isnull=False).order_by(
        "message__conversation", "-message__seq", "n"
    )
    of = ("message__conversation", "message", "message__replied_turn__outcome")
    found: dict[UUID, int] = {}
    for (conversation, _message, outcome), rows in groupby(
        cited.values_list(*of, "document__knowledge_base"), key=itemgetter(0, 1, 2)
    ):
        bases = [base for *_of, base in rows]
        if outcome != Turn.Outcome.CLARIFYING or len(set(bases)) == 1:
            found.setdefault(conversation, bases[0])
    return found


def agents(team: Team | None) -> AgentQuerySet:
    """Those of `team`; everybody where no team is set, or where it has nobody."""
    if team is None or not team.memberships.exists():
        return Agent.objects.all()
    return Agent.objects.filter(memberships__team=team)


def staffed(team: Team | None) -> bool:
    """Whether it is open and somebody of it is on duty."""
    there = hours.is_open(team.calendar if team else None, timezone.now())
    return there and agents(team).available().exists()


def skills(conversation: Conversation, turn: Turn | None, team: Team | None) -> list[str]:
    """The product that was asked about and the language, as far as somebody of `team` has them as
    skills: what nobody has cannot be waited for."""
    scope = turn.trace.get("scope") or {} if turn else {}
    wanted = {value for value in (scope.get("product"), conversation.language) if value}
    had = {skill for row in agents(team).values_list("skills", flat=True) for skill in row}
    return sorted(wanted & had)


def promises(team: Team | None, at: datetime) -> dict[str, datetime | None]:
    """When answers and a resolution are due that `team` promises at that time."""
    if team is None:
        return {"first_due": None, "next_due": None, "resolve_due": None}
    return {
        "first_due": hours.due(team.calendar, at, team.first_minutes),
        "next_due": hours.due(team.calendar, at, team.next_minutes),
        "resolve_due": hours.due(team.calendar, at, team.resolve_minutes),
    }


def supervises(user: Any, conversation: Conversation) -> bool:
    """Whether `user` leads the team that the conversation is with, or administers everything."""
    if user.is_superuser:
        return True
    handoff = Handoff.objects.unfinished().filter(conversation=conversation).first()
    team = handoff.team_id if handoff else getattr(of(conversation), "pk", None)
    return Membership.objects.filter(
        team=team, agent__user=user, agent__user__is_active=True, leads=True
    ).exists()


def ahead(handoff: Handoff) -> int:
    """How many of the same team wait in front of it."""
    before = Q(priority__gt=handoff.priority) | Q(priority=handoff.priority) & (
        Q(requested_at__lt=handoff.requested_at)
        | Q(requested_at=handoff.requested_at, pk__lt=handoff.pk)
    )
    return Handoff.objects.waiting().filter(before, team=handoff.team_id).count()
