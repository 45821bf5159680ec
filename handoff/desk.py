"""What people do with conversations: call for somebody, offer, take, hand on, give back, resolve.

Each is one transaction; `handoff.ownership` says what a change of hands brings with it. Actions
raise Conflict, with a sentence for who tried, when somebody else was first or may not.
"""

import logging
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from chat import digest, transcript
from chat.models import Conversation, Message, Turn
from handoff import (
    access,
    clocks,
    customers,
    hours,
    marks,
    mentions,
    satisfaction,
    summaries,
    teams,
)
from handoff.marks import allowed, close, open_handoff, owned
from handoff.models import Agent, Handoff, Team
from handoff.ownership import (
    QUEUE_GROUP,
    WAITING,
    State,
    agent_group,
    change,
    look_for_somebody,
    speaking,
)
from knowledge.masking import masked
from opsdesk.errors import Conflict
from opsdesk.realtime import notify

logger = logging.getLogger(__name__)

WITH_PEOPLE = (State.HUMAN, *WAITING)
FOLLOW_UP = timedelta(hours=24)  # after a person's last word, who writes again gets a person
TRANSFER_SECONDS = 60.0  # for a colleague to take it, where nothing is offered otherwise
Status = Handoff.Status


# --- calling for somebody -------------------------------------------------------------
@transaction.atomic
def request(
    conversation: Conversation, reason: str, summary: str, turn: Turn | None = None
) -> Handoff:
    """Call a person: the conversation waits in the queue, and is told the truth about it."""
    team = teams.of(conversation)
    with speaking(conversation):
        conversation = change(
            conversation,
            (State.BOT, State.RESOLVED),
            State.QUEUED,
            action="request",
            says=_called(team),
        )
    handoff = _begin(conversation, reason, summary, team, turn)
    look_for_somebody()
    logger.info("Handoff %s requested: %s (%s)", handoff.pk, reason, conversation.pk)
    return handoff


def _called(team: Team | None) -> tuple[str, str]:
    """What the customer is told: that somebody comes, or that nobody is there and until when."""
    if teams.staffed(team):
        return "handoff_requested", _("A person has been called and will join shortly.")
    return nobody(team)


def nobody(team: Team | None) -> tuple[str, str]:
    """The event and the sentence that say so, and when people are back."""
    now = timezone.now()
    opening = hours.opening(team.calendar, now) if team else now
    text = _("Nobody is on duty right now. Please leave a way to reach you.")
    if opening and opening != now:
        local = timezone.localtime(opening)
        when = f"{date_format(local, 'DATE_FORMAT')} {local:%H:%M}"
        text = f"{text} {_('People are back on %(when)s.') % {'when': when}}"
    return "nobody_on_duty", text


def _begin(
    conversation: Conversation, reason: str, summary: str, team: Team | None, turn: Turn | None
) -> Handoff:
    now = timezone.now()
    promised = teams.promises(team, now)
    handoff = Handoff.objects.create(
        conversation=conversation,
        turn=turn,
        reason=reason,
        summary=masked(summary),
        last_seq=conversation.last_seq,
        team=team,
        skills=teams.skills(conversation, turn, team),
        **promised,
    )
    summaries.ask_for(handoff)
    return handoff


def _set(handoff: Handoff, **values: Any) -> None:
    """`values` on it; it is on offer to nobody any more unless they say so, and not put aside."""
    clocks.wake(handoff, timezone.now())
    values = {"offered_to": None, "offered_until": None} | values
    for name, value in values.items():
        setattr(handoff, name, value)
    handoff.save(update_fields=[*clocks.FIELDS, *values])


# --- offers ---------------------------------------------------------------------------
@transaction.atomic
def offer(conversation: Conversation, agent: Any, ttl: float, actor: Any = None) -> Handoff:
    """Hold a waiting conversation for `agent`, `ttl` seconds long."""
    _offer(conversation, [State.QUEUED], agent, ttl, actor, "offer")
    return open_handoff(conversation)


def _offer(
    conversation: Conversation,
    expected: Any,
    agent: Any,
    ttl: float,
    actor: Any,
    action: str,
    **values: Any,
) -> None:
    until = timezone.now() + timedelta(seconds=ttl)
    change(
        conversation,
        expected,
        State.OFFERED,
        action=action,
        actor=actor,
        offered_to=agent,
        says=("offered", _("Offered to %(agent)s.") % {"agent": access.name(agent)}),
        public=False,
    )
    _set(
        open_handoff(conversation),
        status=Status.OFFERED,
        offered_to=agent,
        offered_until=until,
        taken_by=None,
        **values,
    )
    Agent.objects.filter(user=agent).update(offered_at=timezone.now())
    offered = {"type": "handoff.offer", "conversation": str(conversation.pk)}
    notify(agent_group(agent.pk), offered)


def _offered_to(conversation: Conversation, agent: Any) -> Handoff:
    """The offer, with its conversation locked. Raises Conflict when it is not `agent`'s now."""
    Conversation.objects.select_for_update().get(pk=conversation.pk)
    handoff = open_handoff(conversation)
    if handoff.status != Status.OFFERED or handoff.offered_to_id != agent.pk:
        raise Conflict(_("This conversation is not on offer to you any more."))
    return handoff


@transaction.atomic
def accept(conversation: Conversation, agent: Any) -> Handoff:
    """Take what is on offer. Raises Conflict when the time for it is over."""
    handoff = _offered_to(conversation, agent)
    if handoff.offered_until is not None and handoff.offered_until <= timezone.now():
        raise Conflict(_("This conversation is not on offer to you any more."))
    return _take(conversation, [State.OFFERED], agent, "accept", actor=agent)


@transaction.atomic
def decline(conversation: Conversation, agent: Any) -> None:
    """Let others have what is on offer."""
    _pass(_offered_to(conversation, agent), conversation, "decline", agent)


@transaction.atomic
def expire(conversation: Conversation) -> None:
    """The time of an offer is over. Raises Conflict when it is not, or was answered."""
    Conversation.objects.select_for_update().get(pk=conversation.pk)
    handoff = open_handoff(conversation)
    if handoff.offered_until is None or handoff.offered_until > timezone.now():
        raise Conflict(_("Somebody else was first."))
    _pass(handoff, conversation, "expire", None)


def _pass(handoff: Handoff, conversation: Conversation, action: str, actor: Any) -> None:
    passed = [*handoff.passed, handoff.offered_to_id] if handoff.offered_to_id else handoff.passed
    _queue(conversation, [State.OFFERED], handoff, action, actor, ("offer_passed", _("Not taken.")))
    _set(handoff, status=Status.WAITING, passed=passed)


def _queue(
    conversation: Conversation,
    expected: Any,
    handoff: Handoff,
    action: str,
    actor: Any,
    says: tuple[str, str],
    public: bool = False,
    **values: Any,
) -> None:
    """Back to those who wait, at the place that its age gives it."""
    change(
        conversation, expected, State.QUEUED, action=action, actor=actor, says=says, public=public
    )
    _set(handoff, status=Status.WAITING, taken_by=None, **values)
    look_for_somebody()


# --- taking ---------------------------------------------------------------------------
@transaction.atomic
def claim(conversation: Conversation, agent: Any) -> Handoff:
    """Take a waiting conversation over. One of all who try wins, the others get Conflict."""
    return _take(conversation, WAITING, agent, "claim", actor=agent)


@transaction.atomic
def assign(conversation: Conversation, agent: Any, by: Any) -> Handoff:
    """Give a conversation to `agent`, whoever has it. Raises Conflict unless `by` supervises."""
    locked = Conversation.objects.select_for_update().get(pk=conversation.pk)
    if not teams.supervises(by, locked):
        raise Conflict(_("Only a supervisor can assign conversations."))
    if locked.state in (State.BOT, State.RESOLVED):
        return _step_in(conversation, agent, "assign", by)
    return _take(conversation, WITH_PEOPLE, agent, "assign", actor=by)


@transaction.atomic
def take_over(conversation: Conversation, agent: Any) -> Handoff:
    """Step in where OpsDesk answers. What it is about to say is not said any more."""
    return _step_in(conversation, agent, "take_over", agent)


def _step_in(conversation: Conversation, agent: Any, action: str, actor: Any) -> Handoff:
    _change_to(conversation, [State.BOT, State.RESOLVED], agent, action, actor)
    reason, team = Handoff.Reason.TAKEN_OVER, teams.of(conversation)
    handoff = _begin(conversation, reason, digest.summary(conversation, reason), team, turn=None)
    _set(handoff, status=Status.TAKEN, taken_by=agent, taken_at=timezone.now())
    return handoff


def _take(
    conversation: Conversation, expected: Any, agent: Any, action: str, actor: Any
) -> Handoff:
    _change_to(conversation, expected, agent, action, actor)
    handoff = open_handoff(conversation)
    first = handoff.taken_at or timezone.now()
    _set(handoff, status=Status.TAKEN, taken_by=agent, taken_at=first)
    with translation.override(settings.LANGUAGE_CODE):
        logger.info("%s (%s, %s)", _("A person has taken over!"), conversation.pk, agent)
    return handoff


def _change_to(
    conversation: Conversation, expected: Any, agent: Any, action: str, actor: Any
) -> None:
    with speaking(conversation):
        change(
            conversation,
            expected,
            State.HUMAN,
            action=action,
            actor=actor,
            owner=agent,
            says=("handoff_taken", _("A person has taken over!")),
        )


# --- while a person has it ------------------------------------------------------------
@transaction.atomic
def reply(
    conversation: Conversation, agent: Any, text: str, client_msg_id: str = "", alone: bool = True
) -> Message:
    """Say something to the customer; `alone`: without pictures and citations. Raises Conflict
    unless `agent` owns the conversation."""
    locked = owned(conversation, agent, _("Only who has taken the conversation can answer in it."))
    before = locked.messages.filter(client_msg_id=client_msg_id) if client_msg_id else None
    if before is not None and (said := before.first()):
        return said
    said = transcript.append_to(
        locked,
        Message.Role.AGENT,
        text,
        author=agent,
        client_msg_id=client_msg_id,
        alone=alone,
    )
    handoff, now = open_handoff(locked), timezone.now()
    clocks.pause(handoff, now)
    handoff.next_due, handoff.snoozed_until, handoff.with_customer = None, None, True
    handoff.replied_at = handoff.replied_at or now
    handoff.save(update_fields=[*clocks.FIELDS, "replied_at"])
    return said


@transaction.atomic
def note(conversation: Conversation, agent: Any, text: str, client_msg_id: str = "") -> Message:
    """Write something that staff alone read; anybody on the staff may. Whom it names is called."""
    written = transcript.append(
        conversation.pk,
        Message.Role.AGENT,
        text,
        author=agent,
        client_msg_id=client_msg_id,
        public=False,
    )
    mentions.note(written)
    return written


def heard(conversation: Conversation) -> None:
    """The customer wrote while people have the conversation: it sleeps no longer, and an answer
    is due from now on. Call it with the conversation's row locked."""
    unfinished = Handoff.objects.unfinished().select_related("team__calendar")
    handoff = unfinished.filter(conversation=conversation).first()
    if handoff is None:
        return
    now = timezone.now()
    clocks.resume(handoff, now)
    if handoff.replied_at and handoff.next_due is None:
        handoff.next_due = teams.promises(handoff.team, now)["next_due"]
    handoff.save(update_fields=clocks.FIELDS)
    # What called somebody was not written on.
    since = conversation.messages.filter(seq__gt=handoff.last_seq)
    if conversation.state in WAITING and since.filter(role=Message.Role.CUSTOMER).exists():
        noted(conversation)
    # Others see in their queues what was said when somebody's hands move next.
    owner = conversation.owner_id
    told = {"type": "queue.row", "conversation": str(conversation.pk)}
    notify(agent_group(owner) if owner else QUEUE_GROUP, told)


@transaction.atomic
def transfer(
    conversation: Conversation, by: Any, *, to: Any = None, team: Team | None = None, text: str = ""
) -> None:
    """Hand it on: to a colleague, who gets it on offer; to a team; or, without either, back to the
    queue of its team. `text` is a note for whoever comes."""
    allowed(conversation, by)
    if to is not None and to.pk == by.pk:
        raise Conflict(_("Choose somebody else."))
    if text.strip():
        note(conversation, by, text)
    ttl = settings.HANDOFF_OFFER_SECONDS or TRANSFER_SECONDS
    if to is not None:
        _offer(conversation, [State.HUMAN], to, ttl, by, "transfer", told_at=None)
        return
    handoff = open_handoff(conversation)
    moved: dict[str, Any] = {"told_at": None, "passed": [handoff.taken_by_id or by.pk]}
    if team:
        moved |= {"passed": []} | _of_team(handoff, team)
    with speaking(conversation):
        says = ("handoff_transferred", _("Your question is handed on to a colleague."))
        _queue(conversation, [State.HUMAN], handoff, "transfer", by, says, public=True, **moved)


def _of_team(handoff: Handoff, team: Team) -> dict[str, Any]:
    """What goes with the team: skills that it has, and what it promises from now on, as far as
    that is not answered yet."""
    if team.pk == handoff.team_id:
        return {}
    now = timezone.now()
    due: dict[str, Any] = teams.promises(team, now)
    if handoff.replied_at:
        del due["first_due"]
        if handoff.next_due is None:
            del due["next_due"]
    if handoff.with_customer:
        due["paused_at"] = now
    return due | {
        "team": team,
        "skills": teams.skills(handoff.conversation, handoff.turn, team),
    }


@transaction.atomic
def return_to_bot(conversation: Conversation, agent: Any) -> None:
    """Let OpsDesk answer again."""
    allowed(conversation, agent)
    with speaking(conversation):
        says = ("handoff_returned", _("OpsDesk answers again."))
        change(conversation, WITH_PEOPLE, State.BOT, action="return_to_bot", actor=agent, says=says)
    close(conversation, Status.RETURNED)


@transaction.atomic
def resolve(conversation: Conversation, agent: Any) -> None:
    """The matter is settled. What the customer writes next reopens it."""
    allowed(conversation, agent)
    with speaking(conversation):
        says = ("handoff_resolved", _("This conversation is marked as resolved."))
        change(
            conversation,
            (State.BOT, *WITH_PEOPLE),
            State.RESOLVED,
            action="resolve",
            actor=agent,
            says=says,
        )
    close(conversation, Status.RESOLVED)


@transaction.atomic
def left(conversation: Conversation) -> None:
    """Its agent is gone: somebody else shall come. Raises Conflict when it changed hands since
    `conversation` was read."""
    if Conversation.objects.select_for_update().get(pk=conversation.pk).epoch != conversation.epoch:
        raise Conflict(_("Somebody else was first."))
    handoff = open_handoff(conversation)
    passed = [handoff.taken_by_id] if handoff.taken_by_id else []
    with speaking(conversation):
        says = ("agent_gone", _("Your question is handed on to a colleague."))
        _queue(
            conversation,
            [State.HUMAN],
            handoff,
            "agent_gone",
            None,
            says,
            public=True,
            passed=passed,
            told_at=None,
        )


# What is set without a change of hands.
prioritise, snooze, tag, wake = marks.prioritise, marks.snooze, marks.tag, marks.wake


# --- what the chat asks ---------------------------------------------------------------
rate = satisfaction.rate
leave_contact, withdraw = customers.leave_contact, customers.withdraw
noted, standing = customers.noted, customers.standing


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
    with speaking(conversation):
        says = ("handoff_returned", _("OpsDesk answers again."))
        return change(conversation, [State.RESOLVED], State.BOT, action="reopen", says=says)


def _last_summary(conversation: Conversation) -> str:
    last = Handoff.objects.filter(conversation=conversation).order_by("-pk").first()
    return last.summary if last else ""
