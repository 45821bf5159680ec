"""Who may work at the console, and on which conversations."""

from typing import Any

from django.db.models import Q

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
    if not may_serve(user):
        return False
    if user.is_superuser or conversation.owner_id == user.pk:
        return True
    handoffs = Handoff.objects.filter(conversation=conversation).select_related("team")
    last = handoffs.order_by("-pk").first()
    if last and last.offered_to_id == user.pk:
        return True
    team = last.team if last else teams.of(conversation)
    return teams.agents(team).filter(user=user).exists()


def handoffs(user: Any) -> HandoffQuerySet:
    """Those that an agent sees in the queues; the same rule for many."""
    if user.is_superuser:
        return Handoff.objects.all()
    theirs = Team.objects.filter(Q(memberships=None) | Q(memberships__agent__user=user))
    return Handoff.objects.filter(
        Q(team=None) | Q(team__in=theirs.values("pk"))
        | Q(conversation__owner=user) | Q(offered_to=user)
    )  # fmt: skip
