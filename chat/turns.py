"""Turns as rows: claimed under a lease, made into a TurnState, ended in one transaction."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone
from django_q.tasks import async_task

from chat import (
    configurations,
    degrading,
    followups,
    kept,
    offering,
    pasting,
    policy,
    remembering,
    rules,
    screenshots,
    slots,
    tracing,
    transcript,
    understanding,
    uploads,
)
from chat.asking import call_human, desk, wake_runner
from chat.models import Citation, Conversation, Figure, Message, Turn
from chat.state import Said, TurnState
from chat.topics import collecting
from knowledge import citing
from knowledge.masking import masked, masked_within
from knowledge.models import Attachment, KnowledgeBase
from knowledge.scope import Scope
from opsdesk.realtime import notify

LEASE = timedelta(seconds=30)
ATTEMPTS = 3
FIGURES = 6  # pictures and tables under an answer


# A claim that the server's death loses is made again: nobody waits for the disk.
_CLAIM = """
    WITH at_once AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
    waiting AS MATERIALIZED (
        SELECT id FROM chat_turn turn WHERE status = 'queued' AND NOT EXISTS (
            SELECT FROM chat_turn earlier WHERE earlier.conversation_id = turn.conversation_id
            AND earlier.id < turn.id AND earlier.status <> 'done')
        ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED
    )
    UPDATE chat_turn SET status = 'running', attempt = attempt + 1, started_at = %(now)s,
        lease_until = %(until)s
    FROM waiting, at_once WHERE chat_turn.id = waiting.id RETURNING chat_turn.id
"""


def claim() -> Turn | None:
    """Take the oldest turn that waits, unless an earlier one of its conversation is unfinished."""
    return next(iter(claim_some(1)), None)


def claim_some(most: int) -> list[Turn]:
    """As `claim`, of several: the oldest, with their messages and conversations."""
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"most": most, "now": now, "until": now + LEASE})
        claimed = [pk for (pk,) in cursor.fetchall()]
    if not claimed:
        return []
    turns = Turn.objects.select_related("message", "conversation__user", "conversation__summary")
    return list(turns.filter(pk__in=claimed).order_by("pk"))


def _held(turn: Turn) -> Any:
    """The row, while this attempt still holds it: after a lost lease another attempt does."""
    return Turn.objects.filter(pk=turn.pk, attempt=turn.attempt, status=Turn.Status.RUNNING)


def renew(turns: list[Turn]) -> None:
    for turn in turns:
        _held(turn).update(lease_until=timezone.now() + LEASE)


def give_back(turn: Turn) -> None:
    """Unfinished through no fault of its own: at once ready for another runner."""
    if _held(turn).update(status=Turn.Status.QUEUED, attempt=turn.attempt - 1, lease_until=None):
        wake_runner()


def retry_later(turn: Turn, error: str) -> None:
    """This attempt failed: the sweeper queues it again after a growing pause."""
    pause = timedelta(seconds=2 ** (turn.attempt - 1))
    errors = [*turn.trace.get("errors", []), error]
    _held(turn).update(lease_until=timezone.now() + pause, trace={**turn.trace, "errors": errors})


def sweep() -> int:
    """Queue again what a killed runner left or an attempt failed at; how many there were."""
    swept = Turn.objects.filter(status=Turn.Status.RUNNING, lease_until__lt=timezone.now()).update(
        status=Turn.Status.QUEUED, lease_until=None
    )
    if swept:
        wake_runner()
    return swept


def waiting() -> bool:
    """Whether a customer waits for an answer."""
    return Turn.objects.unfinished().exists()


def load(turn: Turn, deadline: float = 0.0) -> TurnState:
    """The turn with what it may know: its history and the bases its customer may read.

    `deadline`: on the monotonic clock; without one, that of a turn that begins now.
    """
    conversation = turn.conversation
    pasted = pasting.read(turn.message.text)
    attached, unread = uploads.said(turn.message)
    told = list(dict.fromkeys([*pasting.telling(pasted.log), *attached]))
    before = turn.message.seq > 1  # something was said: else nothing has to be looked up
    past = policy.past(turn) if before else []
    asked = _offered(turn.message) or _asked(past)
    state = TurnState(
        question=masked(pasted.question or next(iter(told), "")),
        attached=masked("\n".join(told)),
        unread=unread,
        bases=bases(conversation),
        history=history(turn.message) if before else [],
        asked=asked,
        scope=Scope.of(turn.message.data.get("scope", {})),
        deadline=deadline or time.monotonic() + settings.TURN_SECONDS,
        row=turn,
        past=past,
    )
    summary = remembering.recalled(conversation)
    state.summary = summary.text if summary else ""
    if remembering.due(conversation, turn.message.seq):
        state.after.append((remembering.TASK, turn.pk))
    state.collected = collecting.load(conversation) if before else []
    in_force = rules.of(state).configurations
    state.tuned, configuration = configurations.of(conversation, in_force)
    if configuration:
        state.trace["configuration"] = configuration
    if screenshots.without_model(turn.message):
        state.degrade(degrading.NO_VISION)
    state.trace["attempt"] = turn.attempt
    return state


def _asked(past: Sequence[policy.Past]) -> dict[str, Any]:
    """What the turn before asked back for; a choice still stands behind small talk."""
    before = past[0].asked if past else {}
    topical = next((one.asked for one in past if one.outcome != Turn.Outcome.CHAT), {})
    return topical if "choices" in topical else before


def _offered(message: Message) -> dict[str, Any]:
    """The choice that a pick was made of by its id."""
    seq = message.data.get("choice")
    if not seq:
        return {}
    made = Turn.objects.filter(conversation=message.conversation_id, reply__seq=seq).first()
    return made.pending if made else {}


def choice_before(message: Message) -> dict[str, Any]:
    """The choice that stands where `message` was said, whoever had the conversation then; {} where
    there is none, or something else was asked meanwhile that no turn answered."""
    earlier = Turn.objects.filter(
        conversation=message.conversation_id, message__seq__lt=message.seq
    )
    said = earlier.exclude(outcome=Turn.Outcome.DISCARDED)
    asked = _asked(policy.past_of(said))
    if "choices" not in asked:
        return {}
    since = said.aggregate(seq=Max("message__seq"))["seq"]
    between = remembering.said(message.conversation_id).filter(
        role=Message.Role.CUSTOMER, seq__gt=since, seq__lt=message.seq
    )
    return {} if any(_is_new(one.text, asked["question"]) for one in between) else asked


def _is_new(text: str, before: str) -> bool:
    """Whether it asks something that does not lean on what was asked before."""
    return not understanding.intent(text) and followups.query(text, before) == text


def bases(conversation: Conversation) -> list[KnowledgeBase]:
    readable = KnowledgeBase.objects.readable_by(conversation.user or AnonymousUser())
    if conversation.knowledge_base_id:
        readable = readable.filter(pk=conversation.knowledge_base_id)
    return list(readable)


def history(asked: Message) -> list[Said]:
    """What was said before `asked`, the oldest first."""
    before = (
        remembering.said(asked.conversation_id)
        .filter(seq__lt=asked.seq)
        .select_related("turn", "replied_turn")
        .order_by("-seq")[: remembering.WINDOW]
    )
    return [said(message) for message in reversed(before)]


def said(message: Message) -> Said:
    """Of a reply to a question back the text is the question that it completed."""
    turn = getattr(message, "turn", None)
    trace = turn.trace if turn is not None else {}
    text = trace.get("query", message.text) if trace.get("completed") else message.text
    gist = masked(pasting.read(text).gist)
    return Said(message.role, gist, _outcome(message), trace.get("scope", {}))


def _outcome(message: Message) -> str:
    for name in ("turn", "replied_turn"):
        turn = getattr(message, name, None)
        if turn is not None:
            return turn.outcome
    return ""


@transaction.atomic
def finish(turn: Turn, state: TurnState) -> str:
    """Say what the turn came to, and end it. Returns its outcome, "" when the lease was lost.

    Raises citing.Outdated, and nothing is said, when a passage it cites answers no more. When a
    person took the conversation over meanwhile the answer is kept in the trace and not said.
    """
    conversation = Conversation.objects.select_for_update().get(pk=turn.conversation_id)
    held: Turn | None = _held(turn).select_for_update().first()
    if held is None:
        return ""
    held.trace = {**turn.trace, **state.trace, "mode": state.mode}
    if state.degraded:
        held.trace["degraded"] = state.degraded
    late = conversation.epoch != held.epoch
    if late:
        held.trace["draft"] = state.text
    # What the steps and models said may repeat a secret.
    held.trace = masked_within(tracing.bounded(held.trace))
    held.confidence, held.pending = state.confidence, state.pending
    held.status, held.lease_until, held.finished_at = Turn.Status.DONE, None, timezone.now()
    if late:
        held.outcome = Turn.Outcome.DISCARDED
        held.save()
        desk("noted")(conversation)
    else:
        if state.sources and not citing.hold(state.sources):
            raise citing.Outdated
        held.outcome = Turn.Outcome(state.outcome)
        held.reply = _reply(conversation, state)
        held.save()  # the summary of a handoff tells this turn too
        slots.keep(held, state)
        kept.keep(held, state)
        if state.reason:
            call_human(conversation, state.reason, held)
    for task, pk in state.after:
        async_task(task, pk, cluster="short")
    _tell(held)
    return held.outcome


def _tell(turn: Turn) -> None:
    """That it ended; the runners, if the conversation's next turn waited for that. One that is
    written meanwhile waits for the conversation, and wakes them itself."""
    notify(transcript.group(turn.conversation_id), {"type": "conversation.turn", "turn": turn.pk})
    if Turn.objects.unfinished().filter(conversation=turn.conversation_id).exists():
        wake_runner()


def _reply(conversation: Conversation, state: TurnState) -> Message | None:
    if not state.text:
        return None
    data = {
        "outcome": state.outcome,
        "confidence": state.confidence,
        "mode": state.mode,
        "options": state.options,
        "degraded": state.degraded,
        **({"choices": offering.shown(state)} if state.pending.get("choices") else {}),
        "kept": state.trace.get("kept", {}).get("turn"),
    }
    message = transcript.append_to(
        conversation,
        Message.Role.ASSISTANT,
        uploads.noted(state.text, state.unread),
        data=data,
        hints=state.hints,
    )
    citations = Citation.objects.bulk_create(
        Citation(
            message=message,
            n=n,
            chunk_id=passage.chunk_id,
            document_id=passage.document_id,
            revision_id=passage.revision_id,
            title=passage.title,
            external_id=passage.external_id,
            page=passage.page,
            locator=passage.locator,
            quote=passage.text,
            regions=passage.regions,
        )
        for n, passage in enumerate(state.sources, 1)
    )
    if state.outcome != Turn.Outcome.CLARIFYING:  # nothing is shown before it is picked
        _attach(message, citations)
    return message


def _attach(message: Message, citations: list[Citation]) -> None:
    """The cited passages' pictures and tables, in reading order, each once."""
    places = {citation.chunk_id: place for place, citation in enumerate(citations)}
    found = Attachment.objects.filter(chunks__in=places).order_by("position")
    cited: dict[int, Citation] = {}
    for chunk, pk in sorted(found.values_list("chunks", "pk"), key=lambda one: places[one[0]]):
        cited.setdefault(pk, citations[places[chunk]])
    Figure.objects.bulk_create(
        Figure(message=message, attachment_id=pk, citation=citation, position=position)
        for position, (pk, citation) in enumerate(list(cited.items())[:FIGURES], 1)
    )
