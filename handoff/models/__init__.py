"""Who takes over, when they are there, who asked for a person, and every change of ownership."""

from handoff.models.agents import SEEN, Agent, AgentQuerySet, Membership, Team
from handoff.models.calendars import Calendar, Hours, SpecialDay
from handoff.models.handoffs import Handoff, HandoffQuerySet, OwnershipChange

__all__ = [
    "SEEN",
    "Agent",
    "AgentQuerySet",
    "Calendar",
    "Handoff",
    "HandoffQuerySet",
    "Hours",
    "Membership",
    "OwnershipChange",
    "SpecialDay",
    "Team",
]
