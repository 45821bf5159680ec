"""What a customer who waits for a person does and is told.

Part of `handoff.desk`, where callers find it.
"""

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from chat import transcript
from chat.models import Conversation
from handoff import access, satisfaction, teams
from handoff.marks import close, open_handoff
from handoff.models import Handoff
from handoff.ownership import QUEUE_GROUP, WAITING, State, change, say, speaking
from opsdesk.errors import Conflict
from opsdesk.realtime import notify

CONTACT_LENGTH = 300


@transaction.atomic
def leave_contact(conversation: Conversation, text: str) -> None:
    """Keep how the waiting customer can be reached. Raises Conflict when nobody was called."""
    locked = Conversation.objects.select_for_update().get(pk=conversation.pk)
    handoff = open_handoff(locked)
    handoff.contact = text[:CONTACT_LENGTH]
    handoff.save(update_fields=["contact"])
    with speaking(locked):
        say(locked, "contact_saved", _("Noted: %(contact)s") % {"contact": handoff.contact})
    told = {"type": "conversation.state", "about": "contact", "conversation": str(locked.pk)}
    notify(transcript.group(locked.pk), told)
    notify(QUEUE_GROUP, {"type": "queue.changed"})


@transaction.atomic
def withdraw(conversation: Conversation) -> Conversation:
    """Wait no longer: OpsDesk answers again. Raises Conflict when nobody is waited for (any more),
    or a way to be reached was left, which promises an answer. Call it with the conversation's row
    locked."""
    handoff = Handoff.objects.waiting().filter(conversation=conversation).first()
    if handoff and handoff.contact:
        raise Conflict(_("Your question stays with us: you will be reached. Begin a new "
                         "conversation to ask something else."))  # fmt: skip
    with speaking(conversation):
        says = ("handoff_returned", _("OpsDesk answers again."))
        conversation = change(conversation, WAITING, State.BOT, action="withdraw", says=says)
    close(conversation, Handoff.Status.RETURNED)
    return conversation


def noted(conversation: Conversation) -> None:
    """Whoever writes on while waiting is told, once, who answers that. Call it with the
    conversation's row locked."""
    handoff = Handoff.objects.waiting().filter(conversation=conversation).first()
    if handoff is None:
        return
    since = conversation.messages.filter(seq__gt=handoff.last_seq)
    event = "noted_later" if handoff.contact else "noted"
    if since.filter(data__event=event).exists():
        return
    with speaking(conversation):
        say(conversation, event, _("What you write now is for the person, who answers it here. "
                                   "OpsDesk does not answer meanwhile."))  # fmt: skip


def standing(conversation: Conversation) -> dict[str, Any]:
    """What the customer is told about it: {"agent": name or None, "waiting": handoffs ahead,
    "staffed": whether somebody is on duty, "satisfaction": what `satisfaction.standing` says}."""
    handoff = Handoff.objects.unfinished().filter(conversation=conversation).first()
    team = handoff.team if handoff else None
    told = {
        "agent": None,
        "waiting": 0,
        "staffed": teams.staffed(team),
        "satisfaction": satisfaction.standing(conversation),
    }
    if handoff is None:
        return told
    if handoff.taken_by:
        return told | {"agent": access.name(handoff.taken_by)}
    return told | {"waiting": teams.ahead(handoff)}
