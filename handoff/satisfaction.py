"""The customer's word at the end: how well a person helped, 1 to 5, and why."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import transcript
from chat.models import Conversation
from handoff.models import Handoff, Satisfaction
from handoff.models.satisfaction import COMMENT_LENGTH
from opsdesk.errors import Conflict
from opsdesk.realtime import notify

ASKED_FOR = timedelta(days=7)  # after the end
CHANGED_FOR = timedelta(days=1)  # after it was given


def standing(conversation: Conversation) -> dict[str, Any] | None:
    """{"score": 1–5 or None, "comment", "open": whether it can be given or changed now} of what a
    person resolved last; None where nothing is to be asked."""
    handoff = _resolved(conversation)
    if handoff is None:
        return None
    given = Satisfaction.objects.filter(handoff=handoff).first()
    if given is None and not _open(handoff, None):
        return None
    return {
        "score": given.score if given else None,
        "comment": given.comment if given else "",
        "open": _open(handoff, given),
    }


@transaction.atomic
def rate(conversation: Conversation, score: int, comment: str = "") -> None:
    """Keep what the customer thinks. Raises Conflict when nothing was resolved by a person, or it
    is too late to say or change it."""
    locked = Conversation.objects.select_for_update().get(pk=conversation.pk)
    handoff = _resolved(locked)
    if handoff is None or score not in range(1, 6):
        raise Conflict(_("There is nothing to rate."))
    given = Satisfaction.objects.filter(handoff=handoff).first()
    if not _open(handoff, given):
        raise Conflict(_("It is too late to change the rating."))
    Satisfaction.objects.update_or_create(
        handoff=handoff, defaults={"score": score, "comment": comment[:COMMENT_LENGTH]}
    )
    told = {"type": "conversation.state", "about": "satisfaction", "conversation": str(locked.pk)}
    notify(transcript.group(locked.pk), told)


def _resolved(conversation: Conversation) -> Handoff | None:
    """What a person had and resolved, while nothing new has begun."""
    if conversation.state != Conversation.State.RESOLVED:
        return None
    last = Handoff.objects.filter(conversation=conversation).order_by("-pk").first()
    helped = last and last.status == Handoff.Status.RESOLVED and last.taken_by_id
    return last if helped else None


def _open(handoff: Handoff, given: Satisfaction | None) -> bool:
    since = given.rated_at if given else handoff.closed_at
    lasts = CHANGED_FOR if given else ASKED_FOR
    return since is not None and timezone.now() - since < lasts
