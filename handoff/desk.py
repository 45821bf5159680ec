"""The ownership machine: who answers a conversation, OpsDesk or a person, and how that changes.

Every change raises the conversation's epoch by one and writes a system message and an
OwnershipChange in the same transaction, so an answer made under an older epoch cannot be sent.
"""

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from chat import transcript
from chat.models import Conversation, Message, Turn
from handoff.models import Agent, Handoff, OwnershipChange
from opsdesk.errors import Conflict
from opsdesk.realtime import notify

logger = logging.getLogger(__name__)

State = Conversation.State
WAITING = (State.QUEUED, State.OFFERED)
FOLLOW_UP = timedelta(hours=24)  # after a person's last word, who writes again gets a person
CONTACT_LENGTH = 300
QUEUE_GROUP = "handoff.queue"  # realtime: those who watch the queue


def _change(
    conversation: Conversation,
    expected: Iterable[str],
    to: str,
    *,
    action: str,
    actor: Any = None,
    owner: Any = None,
) -> Conversation:
    """Move a conversation on, one epoch up. Raises Conflict when its state is not as expected.

    The conditional UPDATE lets exactly one of several that try at once win.
    """
    before = Conversation.objects.filter(pk=conversation.pk).values("state", "epoch").get()
    moved = Conversation.objects.filter(
        pk=conversation.pk, state__in=list(expected), epoch=before["epoch"]
    ).update(state=to, owner=owner, epoch=F("epoch") + 1, updated_at=timezone.now())
    if not moved:
        raise Conflict(_("Somebody else was first."))
    conversation.refresh_from_db()
    OwnershipChange.objects.create(
        conversation=conversation,
        epoch=conversation.epoch,
        from_state=before["state"],
        to_state=to,
        actor=actor,
        action=action,
    )
    notify(transcript.group(conversation.pk), {"type": "conversation.state"})
    notify(QUEUE_GROUP, {"type": "queue.changed"})
    return conversation


def _say(conversation: Conversation, event: str, text: str) -> Message:
    return transcript.append(
        conversation.pk, Message.Role.SYSTEM, text, epoch=conversation.epoch, data={"event": event}
    )


def _open_handoff(conversation: Conversation) -> Handoff:
    """Raises Conflict when no handoff of it is waiting or taken."""
    handoff = Handoff.objects.unfinished().filter(conversation=conversation).first()
    if handoff is None:
        raise Conflict(_("This conversation is not with a person."))
    return handoff


@transaction.atomic
def request(
    conversation: Conversation, reason: str, summary: str, turn: Turn | None = None
) -> Handoff:
    """Call a person: the conversation waits in the queue, and is told the truth about it."""
    conversation = _change(
        conversation, (State.BOT, State.RESOLVED), State.QUEUED, action="request"
    )
    handoff = Handoff.objects.create(
        conversation=conversation,
        turn=turn,
        reason=reason,
        summary=summary,
        last_seq=conversation.last_seq,
    )
    with translation.override(conversation.language):
        if Agent.objects.available().exists():
            text, event = _("A person has been called and will join shortly."), "handoff_requested"
        else:
            text = _("Nobody is on duty right now. Please leave a way to reach you.")
            event = "nobody_on_duty"
        _say(conversation, event, text)
    logger.info("Handoff %s requested: %s (%s)", handoff.pk, reason, conversation.pk)
    return handoff


@transaction.atomic
def claim(conversation: Conversation, agent: Any) -> Handoff:
    """Take a waiting conversation over. One of all who try wins, the others get Conflict."""
    conversation = _change(
        conversation, WAITING, State.HUMAN, action="claim", actor=agent, owner=agent
    )
    handoff = _open_handoff(conversation)
    handoff.status, handoff.taken_by = Handoff.Status.TAKEN, agent
    handoff.taken_at = timezone.now()
    handoff.save(update_fields=["status", "taken_by", "taken_at"])
    with translation.override(conversation.language):
        _say(conversation, "handoff_taken", _("A person has taken over!"))
    with translation.override(settings.LANGUAGE_CODE):
        logger.info("%s (%s, %s)", _("A person has taken over!"), conversation.pk, agent)
    return handoff


def reply(conversation: Conversation, agent: Any, text: str, client_msg_id: str = "") -> Message:
    """Say something to the customer. Raises Conflict unless `agent` owns the conversation."""
    with transaction.atomic():
        locked = Conversation.objects.select_for_update().get(pk=conversation.pk)
        if locked.owner_id != agent.pk:
            raise Conflict(_("Only who has taken the conversation can answer in it."))
        return transcript.append(
            locked.pk,
            Message.Role.AGENT,
            text,
            epoch=locked.epoch,
            author=agent,
            client_msg_id=client_msg_id,
        )


@transaction.atomic
def return_to_bot(conversation: Conversation, agent: Any) -> None:
    """Let OpsDesk answer again."""
    _allowed(conversation, agent)
    conversation = _change(
        conversation, (State.HUMAN, *WAITING), State.BOT, action="return_to_bot", actor=agent
    )
    _close(conversation, Handoff.Status.RETURNED)
    with translation.override(conversation.language):
        _say(conversation, "handoff_returned", _("OpsDesk answers again."))


@transaction.atomic
def resolve(conversation: Conversation, agent: Any) -> None:
    """The matter is settled. What the customer writes next reopens it."""
    _allowed(conversation, agent)
    conversation = _change(
        conversation, (State.HUMAN, *WAITING), State.RESOLVED, action="resolve", actor=agent
    )
    _close(conversation, Handoff.Status.RESOLVED)
    with translation.override(conversation.language):
        _say(conversation, "handoff_resolved", _("This conversation is marked as resolved."))


def _allowed(conversation: Conversation, agent: Any) -> None:
    """A conversation that a person has is that person's to give away; or an administrator's,
    when that person is gone."""
    owner = Conversation.objects.values_list("owner", flat=True).get(pk=conversation.pk)
    if owner not in (None, agent.pk) and not agent.is_superuser:
        raise Conflict(_("Only who has taken the conversation can do this."))


def _close(conversation: Conversation, status: str) -> None:
    Handoff.objects.unfinished().filter(conversation=conversation).update(
        status=status, closed_at=timezone.now()
    )


@transaction.atomic
def reopen(conversation: Conversation) -> Conversation:
    """Whose a resolved conversation is when its customer writes again.

    The queue's within a day of a person's last word, else the bot's. Call it with the
    conversation's row locked.
    """
    spoken = conversation.messages.filter(
        role=Message.Role.AGENT, public=True, created_at__gte=timezone.now() - FOLLOW_UP
    )
    if spoken.exists():
        request(conversation, Handoff.Reason.FOLLOW_UP, _last_summary(conversation))
        conversation.refresh_from_db()
        return conversation
    conversation = _change(conversation, [State.RESOLVED], State.BOT, action="reopen")
    with translation.override(conversation.language):
        _say(conversation, "handoff_returned", _("OpsDesk answers again."))
    return conversation


def _last_summary(conversation: Conversation) -> str:
    last = Handoff.objects.filter(conversation=conversation).order_by("-pk").first()
    return last.summary if last else ""


@transaction.atomic
def leave_contact(conversation: Conversation, text: str) -> None:
    """Keep how the waiting customer can be reached. Raises Conflict when nobody was called."""
    locked = Conversation.objects.select_for_update().get(pk=conversation.pk)
    handoff = _open_handoff(locked)
    handoff.contact = text[:CONTACT_LENGTH]
    handoff.save(update_fields=["contact"])
    with translation.override(locked.language):
        _say(locked, "contact_saved", _("Noted: %(contact)s") % {"contact": handoff.contact})
    notify(QUEUE_GROUP, {"type": "queue.changed"})


def standing(conversation: Conversation) -> dict[str, Any]:
    """What the customer is told about it: {"agent": name or None, "waiting": handoffs ahead,
    "staffed": whether somebody is on duty}."""
    told = {"agent": None, "waiting": 0, "staffed": Agent.objects.available().exists()}
    handoff = Handoff.objects.unfinished().filter(conversation=conversation).first()
    if handoff is None:
        return told
    if handoff.taken_by:
        return told | {"agent": str(getattr(handoff.taken_by, "agent", handoff.taken_by))}
    return told | {"waiting": Handoff.objects.waiting().filter(pk__lt=handoff.pk).count()}
