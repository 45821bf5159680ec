"""The only writer of messages."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from chat import presenting, visitors
from chat.models import Conversation, Message
from opsdesk.errors import Conflict
from opsdesk.realtime import carries, notify_all

# Begins the id of what a tool brought after its turn's reply: no client can send a space.
LATE = "tool "


def group(conversation_id: UUID) -> str:
    """The realtime group of those who watch a conversation."""
    return f"conversation.{conversation_id.hex}"


@transaction.atomic
def append(
    conversation_id: UUID,
    role: str,
    text: str,
    *,
    epoch: int | None = None,
    client_msg_id: str = "",
    **fields: Any,
) -> Message:
    """Write the next message of a conversation and tell those who watch it after the commit.

    The same `client_msg_id` again gives the message that is there. `fields` are those of
    `append_to`. Raises `opsdesk.errors.Conflict` when `epoch` is given and the conversation has
    moved on to another.
    """
    conversation = Conversation.objects.select_for_update().get(pk=conversation_id)
    if client_msg_id:
        written = conversation.messages.filter(client_msg_id=client_msg_id).first()
        if written:
            return written
    if epoch is not None and conversation.epoch != epoch:
        raise Conflict(f"epoch is {conversation.epoch}, not {epoch}")
    return append_to(conversation, role, text, client_msg_id=client_msg_id, **fields)


def append_to(
    conversation: Conversation,
    role: str,
    text: str,
    *,
    author: Any = None,
    client_msg_id: str = "",
    data: dict[str, Any] | None = None,
    public: bool = True,
    title: str = "",
    hints: Sequence[dict[str, Any]] = (),
    alone: bool = False,
) -> Message:
    """As `append`, of a conversation that the caller's transaction has locked and looked at.

    `title`: what the conversation is called from now on. `hints` are told before the message.
    `alone`: no picture and no citation will be written to it, so that its hint can carry it.
    """
    conversation.last_seq += 1
    conversation.title = title or conversation.title
    conversation.save(update_fields=["last_seq", "title", "updated_at"])
    message = Message.objects.create(
        conversation=conversation,
        seq=conversation.last_seq,
        epoch=conversation.epoch,
        role=role,
        text=text,
        author=author,
        client_msg_id=client_msg_id,
        data=data or {},
        public=public,
    )
    notify_all(group(conversation.pk), [*hints, _said(conversation, message, alone and public)])
    return message


def _said(conversation: Conversation, message: Message, whole: bool) -> dict[str, Any]:
    """The hint of a message: its number, and where it is `whole` and short what is shown of it to
    who knows this epoch and owner, so that most need no look into the database."""
    about = {"conversation": str(conversation.pk), "seq": message.seq}
    told = {"type": "conversation.message", **about}
    if not whole:
        return told
    shown = {
        "epoch": conversation.epoch,
        "whose": visitors.whose(conversation),
        "message": presenting.message_json(presenting.alone(message)),
    }
    return told | shown if carries(group(conversation.pk), told | shown) else told
