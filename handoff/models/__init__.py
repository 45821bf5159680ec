"""Who takes over, when they are there, who asked for a person, and every change of ownership."""

from handoff.models.agents import SEEN, Agent, AgentQuerySet, Membership, Team
from handoff.models.calendars import Calendar, Hours, SpecialDay
from handoff.models.handoffs import TAG_LENGTH, Handoff, HandoffQuerySet, OwnershipChange
from handoff.models.macros import Macro
from handoff.models.mentions import Mention
from handoff.models.replies import CannedReply, Draft
from handoff.models.satisfaction import Satisfaction

__all__ = [
    "SEEN",
    "TAG_LENGTH",
    "Agent",
    "AgentQuerySet",
    "Calendar",
    "CannedReply",
    "Draft",
    "Handoff",
    "HandoffQuerySet",
    "Hours",
    "Macro",
    "Membership",
    "Mention",
    "OwnershipChange",
    "Satisfaction",
    "SpecialDay",
    "Team",
]
