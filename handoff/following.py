"""The messages of a conversation as an agent's console gets them, notes too."""

from typing import Any
from uuid import UUID

from chat import presenting
from chat.models import Message
from handoff import access

HISTORY = 200  # messages sent at once


def messages(pk: UUID, seq: int) -> list[dict[str, Any]]:
    """Those after message `seq`; of a whole history (0) the newest."""
    return after(pk, seq) if seq else before(pk, 2**31 - 1)


def after(pk: UUID, seq: int) -> list[dict[str, Any]]:
    found = Message.objects.filter(conversation=pk, seq__gt=seq)
    return [_as_json(one) for one in presenting.shown(found.order_by("seq")[:HISTORY])]


def before(pk: UUID, seq: int) -> list[dict[str, Any]]:
    found = Message.objects.filter(conversation=pk, seq__lt=seq)
    newest = presenting.shown(found.order_by("-seq")[:HISTORY])
    return [_as_json(one) for one in newest][::-1]


def one(user: Any, pk: UUID, seq: int) -> list[dict[str, Any]]:
    """Message `seq`, if there is one and `user` may read it."""
    found = presenting.shown(Message.objects.filter(conversation=pk, seq=seq))
    return [_as_json(row) for row in found if access.opens(user, row.conversation)]


def _as_json(message: Message) -> dict[str, Any]:
    """As customers get it, and whether they do."""
    return {**presenting.message_json(message), "public": message.public}
