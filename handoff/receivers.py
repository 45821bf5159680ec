"""The desk answers whoever calls for a person."""

from typing import Any

from django.dispatch import receiver

from chat.models import Conversation, Turn
from chat.signals import handoff_requested
from handoff import desk


@receiver(handoff_requested, dispatch_uid="handoff.desk")
def bring_a_person(
    sender: Any,
    *,
    conversation: Conversation,
    turn: Turn | None,
    reason: str,
    summary: str,
    **kwargs: Any,
) -> None:
    desk.request(conversation, reason, summary, turn)
