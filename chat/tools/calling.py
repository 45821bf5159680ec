"""One call of a tool: who may, what is confirmed first, the record, and what becomes of it when
the tool is slow or fails."""

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

import pybreaker
from django.conf import settings
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from chat.models import Conversation, ToolCall, Turn
from chat.state import TurnState
from chat.tools import http
from chat.tools.base import Context, Result, Tool, ToolError
from chat.topics.schema import fields
from knowledge.masking import mask
from knowledge.models import KnowledgeBase
from opsdesk.breakers import breaker
from opsdesk.sealing import seal

logger = logging.getLogger(__name__)

Status = ToolCall.Status
OPEN = (Status.RUNNING, Status.QUEUED)
CONFIRM = timedelta(minutes=10)  # a confirmation that is asked for holds so long
RESULT = 4000  # characters of a result that are kept
FINISH = "chat.tools.tasks.finish"
_breaker = cache(breaker)


@dataclass
class Outcome:
    """What a call came to, for the turn that made it."""

    status: str  # a value of ToolCall.Status
    text: str = ""  # to be said
    result: Result | None = None
    options: list[str] = field(default_factory=list)
    pending: dict[str, Any] = field(default_factory=dict)


class Slow(Exception):
    """It takes longer than a turn waits."""


def asker_of(conversation: Conversation, bases: Iterable[KnowledgeBase]) -> Context:
    user = conversation.user
    identity = user.get_username() if user else conversation.identity
    return Context(user, identity, conversation, list(bases))


def call(tool: Tool, arguments: dict[str, Any], turn: TurnState) -> Outcome:
    """Use `tool` in `turn`, or ask for what must come first. A turn made twice calls once."""
    assert turn.row is not None  # noqa: S101
    asker = asker_of(turn.row.conversation, turn.bases)
    record = _record(tool, arguments, turn.row, asker)
    if (tool.sensitive or tool.identified) and not tool.knows(asker):
        close(record, Status.REFUSED, error="identity unknown")
        return Outcome(Status.REFUSED, unknown_person(), options=[_("Talk to a person")])
    if tool.sensitive:  # made by a yes alone: `acting._confirmed`
        asked = record.status == Status.ASKED
        return ask(tool, record, arguments) if asked else _stands(tool, record)
    return make(tool, record, arguments, turn, asker)


def ask(tool: Tool, record: ToolCall, arguments: dict[str, Any]) -> Outcome:
    """Say what would be done. What a yes is bound to is the row, not these words."""
    options, pending = [_("Confirm"), _("Cancel")], {"call": record.pk}
    return Outcome(Status.ASKED, question(tool, arguments), options=options, pending=pending)


def confirm(record: ToolCall, turn: Turn) -> bool:
    """Take up what `turn` says yes to: once, in time, and while nobody else took over."""
    waiting = ToolCall.objects.filter(
        pk=record.pk,
        status=Status.ASKED,
        epoch=turn.epoch,
        created_at__gt=timezone.now() - CONFIRM,
    )
    waiting.update(status=Status.RUNNING, confirmed=turn)
    record.refresh_from_db()
    return record.confirmed_id == turn.pk  # also when the turn is made again


def cancel(pk: int) -> None:
    """Nothing comes of a call that waits for a yes."""
    waiting = ToolCall.objects.filter(pk=pk, status=Status.ASKED)
    waiting.update(status=Status.CANCELLED, sealed="", finished_at=timezone.now())


def make(
    tool: Tool, record: ToolCall, arguments: dict[str, Any], turn: TurnState, asker: Context
) -> Outcome:
    """Have it done: now where that is quick and may be done again, else by a task."""
    wordless = record.status == Status.DONE and not record.result
    if not wordless and record.status not in OPEN:
        return _stands(tool, record)
    if not tool.repeatable or record.status == Status.QUEUED:
        return _later(tool, record, turn)
    wait = min(settings.TOOL_WAIT, turn.deadline - time.monotonic())
    try:
        result = run(tool, record, arguments, asker, wait, patient=wait >= tool.timeout)
    except Slow:
        return _later(tool, record, turn)
    except ToolError:
        return failed(tool, record)
    return Outcome(Status.DONE, result.text, result)


def _stands(tool: Tool, record: ToolCall) -> Outcome:
    """What became of a call, for a turn that finds it."""
    if record.status == Status.DONE:
        return Outcome(Status.DONE, record.result, Result(record.result))
    if record.status in (Status.FAILED, Status.UNKNOWN):
        return failed(tool, record)
    if record.status in OPEN:
        return Outcome(record.status, wait_please(tool))
    return Outcome(record.status, _("This can no longer be confirmed. Please ask again."))


def run(
    tool: Tool,
    record: ToolCall,
    arguments: dict[str, Any],
    asker: Context,
    seconds: float,
    *,
    patient: bool,
) -> Result:
    """What `tool` brings, on record. Raises ToolError, and Slow unless `patient`."""
    begun = time.monotonic()
    limited = replace(asker, deadline=begun + min(seconds, tool.timeout))
    try:
        result = _guarded(tool, arguments, limited, patient)
    except ToolError as error:
        logger.warning("Tool %s failed: %s", tool.name, error)
        close(record, Status.FAILED, error=str(error), seconds=time.monotonic() - begun)
        raise
    close(record, Status.DONE, result=result.text, seconds=time.monotonic() - begun)
    return result


def _guarded(tool: Tool, arguments: dict[str, Any], limited: Context, patient: bool) -> Result:
    """Run it unless its breaker is open. That it is slow for a turn is no failure of it."""
    guard = _breaker(f"tool:{tool.name}")
    try:
        if patient:
            with guard.calling():
                return tool.run(arguments, limited)
        if guard.current_state != pybreaker.STATE_CLOSED:
            with guard.calling():  # refused at once while it is left alone
                raise Slow  # whether it works again is for the task to try, which has the time
        try:
            result = tool.run(arguments, limited)
        except ToolError as error:
            if time.monotonic() >= limited.deadline:
                raise Slow from error
            with guard.calling():
                raise
        with guard.calling():  # it counts
            return result
    except pybreaker.CircuitBreakerError as error:
        sentence = _("It failed repeatedly and is left alone for a moment.")
        raise ToolError(sentence, permanent=False) from error


def _later(tool: Tool, record: ToolCall, turn: TurnState) -> Outcome:
    """The task is queued with the reply that says so."""
    if record.status != Status.QUEUED:
        record.status = Status.QUEUED
        record.save(update_fields=["status"])
    turn.after.append((FINISH, record.pk))
    return Outcome(Status.QUEUED, wait_please(tool))


# --- the record ---------------------------------------------------------------------------


def digest(tool: Tool, arguments: dict[str, Any], asker: Context) -> str:
    """Same tool as it stands, same arguments; of what is not for everybody also the same person."""
    owner = asker.who if tool.sensitive or tool.identified else ""
    same = [tool.name, tool.version, tool.bound(arguments, asker), owner]
    return salted_hmac(
        "chat.tools", json.dumps(same, sort_keys=True), algorithm="sha256"
    ).hexdigest()


def same(tool: Tool, record: ToolCall, arguments: dict[str, Any], asker: Context) -> bool:
    """Whether `record` is of this call as the tool stands now; a closed one is not asked."""
    return not record.sealed or record.digest == digest(tool, arguments, asker)


def _record(tool: Tool, arguments: dict[str, Any], turn: Turn, asker: Context) -> ToolCall:
    record, _made = ToolCall.objects.get_or_create(
        turn=turn,
        tool=tool.name,
        digest=digest(tool, arguments, asker),
        defaults={
            "conversation": turn.conversation,
            "epoch": turn.epoch,
            "user": asker.user,
            "visitor": turn.conversation.visitor,
            "identity": asker.identity,
            "arguments": masked(arguments),
            "sealed": seal(arguments),
            "status": Status.ASKED if tool.sensitive else Status.RUNNING,
        },
    )
    return record


def masked(arguments: dict[str, Any]) -> dict[str, str]:
    """As they are kept: without the numbers of people and without secrets."""
    return {name: mask(str(value)).text for name, value in arguments.items()}


def close(
    record: ToolCall,
    status: str,
    *,
    result: str = "",
    error: str = "",
    seconds: float | None = None,
) -> None:
    """Write down what became of a call. What it was called with is kept no longer."""
    record.status, record.result, record.error = status, result[:RESULT], error[:500]
    record.seconds, record.sealed, record.finished_at = seconds, "", timezone.now()
    record.save()


def last_good(record: ToolCall) -> ToolCall | None:
    """The latest result of the same call, that whoever made `record` may see."""
    done = ToolCall.objects.filter(
        tool=record.tool, digest=record.digest, status=Status.DONE, trial=False
    )
    return done.exclude(pk=record.pk).exclude(result="").order_by("-finished_at").first()


# --- what is said -------------------------------------------------------------------------


def failed(tool: Tool, record: ToolCall) -> Outcome:
    """The last good result with its age, or that there is none; and a person in any case."""
    person = [_("Talk to a person")]
    if record.status == Status.UNKNOWN:
        sentence = _(
            "“%(tool)s” was broken off, and it is not known whether it was done. "
            "Please have a person look at it before you try again."
        )
        return Outcome(Status.UNKNOWN, sentence % {"tool": tool.title}, options=person)
    if tool.repeatable and (good := last_good(record)):
        said = _("“%(tool)s” cannot be looked up right now. The result of %(age)s ago:")
        head = said % {"tool": tool.title, "age": age(good)}
        return Outcome(Status.FAILED, f"{head}\n\n{good.result}", options=person)
    sentence = _("“%(tool)s” did not work just now. Please try again later, or talk to a person.")
    return Outcome(Status.FAILED, sentence % {"tool": tool.title}, options=person)


def age(call: ToolCall) -> str:
    """How long ago a result came: "10 minutes"."""
    assert call.finished_at is not None  # noqa: S101
    past = timezone.now() - call.finished_at
    if past < timedelta(minutes=1):
        return _("%(n)d seconds") % {"n": max(1, past.seconds)}
    return timesince(call.finished_at, depth=1).replace("\xa0", " ")


def question(tool: Tool, arguments: dict[str, Any]) -> str:
    """What would be done, in full: each argument as it would be sent."""
    labels = {one.name: one.label for one in fields(tool.schema)}
    lines = [
        f"- {http.shown(labels.get(name, name))}: {http.shown(value)}"
        for name, value in arguments.items()
    ]
    head = _("**%(tool)s** — is this right? Nothing has been done yet.") % {
        "tool": http.shown(tool.title)
    }
    return "\n".join([head, "", *lines]).strip()


def wait_please(tool: Tool) -> str:
    if tool.repeatable:
        return _("I am looking it up for you, one moment please.")
    return _("I am having it done for you, one moment please.")


def unknown_person() -> str:
    return _("For this I have to know who you are. Please sign in and ask again.")
