"""How a conversation changes hands: the one change that all of `handoff.desk` goes through.

In one transaction its row is locked, its state checked and changed, the epoch rises by one, the
chat says what happened, an audit row tells who did it, and the load of who gives up or takes the
conversation is counted.
"""

from collections.abc import Container
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from chat import transcript
from chat.models import Conversation, Message
from handoff.models import Agent, Handoff, OwnershipChange
from opsdesk.errors import Conflict
from opsdesk.realtime import notify

QUEUE_GROUP = "handoff.queue"  # realtime: those who watch the queue
State = Conversation.State
WAITING = (State.QUEUED, State.OFFERED)
SHOWN = 20  # of those who wait hear at once that they have moved up


def agent_group(user_id: int) -> str:
    """The realtime group of an agent's own pages."""
    return f"handoff.agent.{user_id}"


def change(
    conversation: Conversation,
    expected: Container[str],
    to: str,
    *,
    action: str,
    says: tuple[str, str],
    public: bool = True,
    actor: Any = None,
    owner: Any = None,
    offered_to: Any = None,
) -> Conversation:
    """Move a conversation on, one epoch up, and say `says` (event, sentence) in it.

    Raises Conflict when its state is not as expected, or when who shall hold it has no room.
    Of several that try at once the row's lock lets exactly one win; who takes what is just being
    offered waits, and takes it. Call it within a transaction, before anything else of it is locked.
    """
    rows = Conversation.objects.filter(pk=conversation.pk)
    before = rows.select_for_update().values("state", "owner").get()
    if before["state"] not in expected:
        raise Conflict(_("Somebody else was first."))
    rows.update(state=to, owner=owner, epoch=F("epoch") + 1, updated_at=timezone.now())
    conversation.refresh_from_db()
    holder = owner or offered_to
    _count(_held_by(conversation, before["owner"]), holder.pk if holder else None)
    event, sentence = says
    OwnershipChange.objects.create(
        conversation=conversation,
        epoch=conversation.epoch,
        from_state=before["state"],
        to_state=to,
        actor=actor,
        holder=holder,
        action=action,
        message=say(conversation, event, sentence, public=public),
    )
    notify(transcript.group(conversation.pk), {"type": "conversation.state"})
    if before["state"] in WAITING and to not in WAITING:
        _move_up(conversation)
    notify(QUEUE_GROUP, {"type": "queue.changed"})
    return conversation


def _move_up(conversation: Conversation) -> None:
    """Let those who wait behind it see that they are one nearer."""
    waiting = Handoff.objects.waiting().exclude(conversation=conversation).longest_first()
    left = Handoff.objects.waiting().filter(conversation=conversation).first()
    for pk in waiting.filter(team=left.team_id if left else None).values_list(
        "conversation", flat=True
    )[:SHOWN]:
        notify(transcript.group(pk), {"type": "conversation.state"})


def _held_by(conversation: Conversation, owner: int | None) -> int | None:
    """Who the conversation counted for until now: its owner, or to whom it was on offer."""
    if owner is not None:
        return owner
    offered = Handoff.objects.filter(conversation=conversation, status=Handoff.Status.OFFERED)
    return offered.values_list("offered_to", flat=True).first()


def _count(before: int | None, after: int | None) -> None:
    """Count the conversation for `after` instead of `before`, users of whom some are no agents.
    Raises Conflict when there is no room."""
    if before == after:
        return
    for user in sorted(user for user in (before, after) if user is not None):  # never crosswise
        agent = Agent.objects.filter(user=user)
        if user == before:
            agent.filter(load__gt=0).update(load=F("load") - 1)
        elif not agent.free().update(load=F("load") + 1) and agent.exists():
            raise Conflict(_("%(agent)s has as many conversations as they can take.")
                           % {"agent": agent.get()})  # fmt: skip


def say(conversation: Conversation, event: str, text: str, public: bool = True) -> Message:
    return transcript.append(
        conversation.pk,
        Message.Role.SYSTEM,
        text,
        epoch=conversation.epoch,
        data={"event": event},
        public=public,
    )


def speaking(conversation: Conversation) -> Any:
    """Speak the customer's language."""
    return translation.override(conversation.language)


def look_for_somebody() -> None:
    """Routing runs beside: queued with this transaction, so that it starts when that is over."""
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("routing is asked for in the transaction that queues")
    async_task("handoff.routing.route", cluster="short")
