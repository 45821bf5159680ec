"""What a customer can do: ask, call a person, leave a way to be reached."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from chat import digest, pasting, transcript, uploads
from chat.models import Conversation, Message, Turn
from chat.signals import handoff_requested
from knowledge.scope import EVERYTHING, Scope

MESSAGE_LENGTH = 2000  # characters; what is longer is kept as a text beside the message
LONGEST = uploads.TEXT_LENGTH
TITLE_LENGTH = 60
WAKE_CHANNEL = "opsdesk_turns"


def desk(action: str) -> Any:
    """What the desk of `settings.CHAT_DESK` does: reopen, heard, noted, withdraw,
    leave_contact, standing, rate."""
    return import_string(f"{settings.CHAT_DESK}.{action}")


@transaction.atomic
def ask(
    conversation: Conversation,
    text: str,
    client_msg_id: str = "",
    scope: Scope = EVERYTHING,
    uploaded: Sequence[UUID | str] = (),
    choice: int | None = None,
) -> tuple[Message, Turn | None]:
    """Write down what the customer says, and the turn that will answer it within `scope`.

    There is no turn while a person owns the conversation or is awaited. Saying the same
    `client_msg_id` again returns what the first time made. `uploaded` are ids of what was sent
    before to go with it; then `text` may be empty. `choice` is the `seq` of the message that
    offered what `text` picks. Raises `uploads.Refused`.
    """
    locked = Conversation.objects.select_for_update().get(pk=conversation.pk)
    if client_msg_id:
        said = locked.messages.filter(client_msg_id=client_msg_id).first()
        if said:
            return said, Turn.objects.filter(message=said).first()
    message = transcript.append_to(
        locked,
        Message.Role.CUSTOMER,
        text if len(text) <= MESSAGE_LENGTH else pasting.shortened(text, MESSAGE_LENGTH),
        client_msg_id=client_msg_id,
        data=(data := _data(text, scope, uploaded, choice)),
        title=locked.title or (text.strip() or _("(picture)"))[:TITLE_LENGTH],
        alone="uploads" not in data,
    )
    if len(text) > MESSAGE_LENGTH:
        uploads.paste(message, text)
    uploads.attach(message, uploaded)
    if locked.state == Conversation.State.RESOLVED:
        locked = desk("reopen")(locked)
    if locked.state != Conversation.State.BOT:
        desk("heard")(locked)
        return message, None
    turn = Turn.objects.create(conversation=locked, message=message, epoch=locked.epoch)
    wake_runner()
    return message, turn


def _data(
    text: str, scope: Scope, uploaded: Sequence[UUID | str], choice: int | None
) -> dict[str, Any]:
    data: dict[str, Any] = {"scope": asdict(scope)} if scope else {}
    if choice:
        data["choice"] = choice
    if uploaded or len(text) > MESSAGE_LENGTH:
        data["uploads"] = True  # most messages have none, and nobody looks for any
    return data


def wake_runner() -> None:
    """Tell the runners, with the commit, that a turn waits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [WAKE_CHANNEL])


@transaction.atomic
def call_human(conversation: Conversation, reason: str, turn: Turn | None = None) -> None:
    """Ask for a person, with what was said so far as a summary. Nothing when one is on the way."""
    locked = Conversation.objects.select_for_update().get(pk=conversation.pk)
    waiting = (
        Conversation.State.QUEUED,
        Conversation.State.OFFERED,
        Conversation.State.HUMAN,
    )
    if locked.state in waiting:
        return
    handoff_requested.send(
        Conversation,
        conversation=locked,
        turn=turn,
        reason=reason,
        summary=digest.summary(locked, reason),
    )


@transaction.atomic
def withdraw(conversation: Conversation) -> None:
    """Wait for a person no longer; what was written last meanwhile is answered, unless a person
    did. Raises Conflict when nobody is waited for (any more)."""
    locked = desk("withdraw")(Conversation.objects.select_for_update().get(pk=conversation.pk))
    last = locked.messages.filter(role=Message.Role.CUSTOMER).order_by("-seq").first()
    if last is None:
        return
    since = locked.messages.filter(seq__gt=last.seq)
    if since.filter(role=Message.Role.AGENT, public=True).exists():
        return
    turn = Turn.objects.filter(message=last).first()
    if turn is None:
        Turn.objects.create(conversation=locked, message=last, epoch=locked.epoch)
    elif turn.outcome == Turn.Outcome.DISCARDED:
        turn.status, turn.outcome, turn.attempt = Turn.Status.QUEUED, "", 0
        turn.epoch, turn.trace = locked.epoch, {}
        turn.save()
    elif turn.status != Turn.Status.DONE:
        # An attempt under way began under the old epoch: it has lost, another is made.
        again = {"status": Turn.Status.QUEUED, "epoch": locked.epoch, "lease_until": None}
        Turn.objects.filter(pk=turn.pk).update(**again)
    wake_runner()
