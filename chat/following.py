"""What a socket that follows a conversation is told: its messages, and how it stands."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.core.cache import caches

from chat import asking, presenting, runner
from chat.models import Conversation, Message, Turn

HISTORY = 200  # messages sent at once
LOOKED_FOR = 3  # seconds that a process believes what it saw of the runners


@dataclass
class Draft:
    """What was streamed of an answer in the making."""

    turn: int
    text: str = ""
    citations: list[dict[str, Any]] = field(default_factory=list)


def messages(conversation_id: uuid.UUID | None, after: int) -> list[dict[str, Any]]:
    """The public messages that follow `after`; of a whole history the newest."""
    found = Message.objects.filter(conversation=conversation_id, seq__gt=after, public=True)
    if after:
        batch = presenting.shown(found.order_by("seq")[:HISTORY])
    else:
        batch = presenting.shown(found.order_by("-seq")[:HISTORY])[::-1]
    return [presenting.message_json(one) for one in batch]


def message(conversation_id: uuid.UUID | None, seq: int) -> list[dict[str, Any]]:
    found = Message.objects.filter(conversation=conversation_id, seq=seq, public=True)
    return [presenting.message_json(one) for one in presenting.shown(found)]


def unheard(conversation_id: uuid.UUID | None) -> bool:
    """Whether something was asked of OpsDesk and no runner is there to answer it."""
    if caches["local"].get_or_set("runner", runner.alive, LOOKED_FOR):
        return False
    waiting = Turn.objects.filter(conversation=conversation_id, status=Turn.Status.QUEUED)
    return waiting.filter(conversation__state=Conversation.State.BOT).exists()


def state(conversation_id: uuid.UUID | None) -> dict[str, Any]:
    conversation = Conversation.objects.filter(pk=conversation_id or uuid.UUID(int=0)).first()
    if conversation is None:
        return {"state": Conversation.State.BOT, "agent": None, "waiting": 0, "staffed": False}
    return {"state": conversation.state, **asking.desk("standing")(conversation)}
