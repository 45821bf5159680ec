"""What is set on an open handoff without a change of hands: put aside, priority, tags.

Part of `handoff.desk`, where callers find it.
"""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.models import Conversation
from handoff import clocks, teams
from handoff.models import Handoff
from handoff.ownership import QUEUE_GROUP
from opsdesk.errors import Conflict
from opsdesk.realtime import notify

TAGS = 10  # of one handoff


def open_handoff(conversation: Conversation) -> Handoff:
    """Raises Conflict when no handoff of it is waiting or taken."""
    handoff = Handoff.objects.unfinished().filter(conversation=conversation).first()
    if handoff is None:
        raise Conflict(_("This conversation is not with a person."))
    return handoff


def owned(conversation: Conversation, agent: Any, sentence: str) -> Conversation:
    """The conversation, locked. Raises Conflict with `sentence` unless it is `agent`'s."""
    locked = Conversation.objects.select_for_update().get(pk=conversation.pk)
    if locked.owner_id != agent.pk:
        raise Conflict(sentence)
    return locked


def allowed(conversation: Conversation, agent: Any) -> None:
    """A conversation that a person has is that person's to give away; or a supervisor's, when that
    person is gone. Locks it, so that it stays so."""
    locked = Conversation.objects.select_for_update().get(pk=conversation.pk)
    if locked.owner_id not in (None, agent.pk) and not teams.supervises(agent, locked):
        raise Conflict(_("Only who has taken the conversation can do this."))


def close(conversation: Conversation, status: str) -> None:
    """Its handoff is over, and nothing of it is due."""
    Handoff.objects.unfinished().filter(conversation=conversation).update(
        status=status,
        closed_at=timezone.now(),
        offered_to=None,
        offered_until=None,
        snoozed_until=None,
        paused_at=None,
        with_customer=False,
        next_due=None,
    )


@transaction.atomic
def snooze(conversation: Conversation, agent: Any, until: datetime | None) -> None:
    """Put it aside until then, or until its customer writes; None takes it up again."""
    locked = owned(conversation, agent, _("Only who has taken the conversation can do this."))
    now = timezone.now()
    if until is not None and until <= now:
        raise Conflict(_("Give a time that is still to come."))
    handoff = open_handoff(locked)
    if until is not None:
        clocks.pause(handoff, now)
        handoff.snoozed_until = until
    else:
        clocks.wake(handoff, now)
    handoff.save(update_fields=clocks.FIELDS)
    notify(QUEUE_GROUP, {"type": "queue.changed"})


@transaction.atomic
def wake(conversation: Conversation) -> None:
    """The time is over for which it was put aside. Raises Conflict when it is not."""
    Conversation.objects.select_for_update().get(pk=conversation.pk)
    handoff = open_handoff(conversation)
    until = handoff.snoozed_until
    if until is None or until > timezone.now():
        raise Conflict(_("Somebody else was first."))
    clocks.wake(handoff, until)
    handoff.save(update_fields=clocks.FIELDS)
    notify(QUEUE_GROUP, {"type": "queue.changed"})


@transaction.atomic
def prioritise(conversation: Conversation, priority: int, agent: Any = None) -> None:
    """Let it wait in front of those with a lower priority. Raises Conflict unless `agent` (None:
    the system) may say so."""
    handoff = _theirs(conversation, agent)
    handoff.priority = Handoff.Priority(priority)
    handoff.save(update_fields=["priority"])
    notify(QUEUE_GROUP, {"type": "queue.changed"})


@transaction.atomic
def tag(conversation: Conversation, agent: Any, tags: list[str], *, add: bool = False) -> None:
    """Let it have `tags`, or with `add` these, too. Raises Conflict unless `agent` may say so."""
    handoff = _theirs(conversation, agent)
    wanted = [*handoff.tags, *tags] if add else tags
    handoff.tags = list(dict.fromkeys(wanted))[:TAGS]
    handoff.save(update_fields=["tags"])
    notify(QUEUE_GROUP, {"type": "queue.changed"})


def _theirs(conversation: Conversation, agent: Any) -> Handoff:
    """The open handoff, its conversation locked: anybody's while nobody has taken it."""
    if agent is not None:
        allowed(conversation, agent)
    else:
        Conversation.objects.select_for_update().get(pk=conversation.pk)
    return open_handoff(conversation)
