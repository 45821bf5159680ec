"""What customers think of answers."""

from django.db import transaction
from django.utils.translation import gettext as _

from chat import kept, transcript
from chat.models import Conversation, Message, Rating, Turn
from opsdesk.errors import Conflict
from opsdesk.realtime import notify

COMMENT_LENGTH = 500


@transaction.atomic
def rate(
    conversation: Conversation,
    seq: int,
    helpful: bool | None,
    reason: str = "",
    comment: str = "",
) -> None:
    """Keep what its customer thinks of the answer `seq`; None takes it back.

    Only what is not helpful has a reason, of `Rating.Reason`. Raises Conflict when that message
    is no answer of OpsDesk's.
    """
    message = conversation.messages.filter(
        seq=seq, role=Message.Role.ASSISTANT, replied_turn__outcome=Turn.Outcome.ANSWERED
    ).first()
    if message is None:
        raise Conflict(_("There is no answer to rate."))
    if helpful is None:
        Rating.objects.filter(message=message).delete()
    else:
        why = {"reason": "", "comment": ""} if helpful else {
            "reason": reason if reason in Rating.Reason.values else "",
            "comment": comment[:COMMENT_LENGTH],
        }  # fmt: skip
        Rating.objects.update_or_create(message=message, defaults={"helpful": helpful, **why})
        if not helpful:
            kept.forget(message)
    event = {"type": "conversation.rating", "conversation": str(conversation.pk), "seq": seq}
    notify(transcript.group(conversation.pk), event)
