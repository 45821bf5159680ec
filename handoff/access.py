"""Who may work at the console, and on which conversations."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from chat.models import Conversation
from handoff import teams
from handoff.models import Agent, Handoff, HandoffQuerySet, Team


def may_serve(user: Any) -> bool:
    """Whether `user` may take conversations over: an agent, or a superuser."""
    if not (user.is_active and user.is_staff):
        return False
    return user.is_superuser or Agent.objects.filter(user=user).exists()


def name(user: Any) -> str:
    return str(user.get_full_name() or user.get_username())


def opens(user: Any, conversation: Conversation) -> bool:
    """Whether it is theirs, on offer to them, or with a team that they are in."""
    return bool(openable(user, [conversation]))


def openable(user: Any, conversations: Iterable[Conversation]) -> list[Conversation]:
    """Those of them that `user` opens, in as few queries as of one."""
    if not may_serve(user):
        return []
    if user.is_superuser:
        return list(conversations)
    asked = list(conversations)
    others = [one for one in asked if one.owner_id != user.pk]
    if not others:
        return asked
    newest = Handoff.objects.filter(conversation__in=others).order_by("conversation_id", "-pk")
    last = {one.conversation_id: one for one in newest.distinct("conversation_id")}
    called = teams.of_each([one for one in others if one.pk not in last])
    theirs = {None, *_teams(user).values_list("pk", flat=True)}

    def opens(one: Conversation) -> bool:
        if one.owner_id == user.pk:
            return True
        if handoff := last.get(one.pk):
            return handoff.offered_to_id == user.pk or handoff.team_id in theirs
        team = called[one.pk]
        return (team.pk if team else None) in theirs

    return [one for one in asked if opens(one)]


def shut(user: Any, conversations: Collection[UUID]) -> set[UUID]:
    """Those of them that `user` does not open (any more)."""
    rows = list(Conversation.objects.filter(pk__in=conversations))
    return {row.pk for row in rows} - {row.pk for row in openable(user, rows)}


def handoffs(user: Any) -> HandoffQuerySet:
    """Those that an agent sees in the queues; the same rule for many."""
    if user.is_superuser:
        return Handoff.objects.all()
    return Handoff.objects.filter(
        Q(team=None) | Q(team__in=_teams(user).values("pk"))
        | Q(conversation__owner=user) | Q(offered_to=user)
    )  # fmt: skip


def _teams(user: Any) -> QuerySet[Team]:
    """Those that an agent works in: also those that have nobody."""
    return Team.objects.filter(Q(memberships=None) | Q(memberships__agent__user=user))
