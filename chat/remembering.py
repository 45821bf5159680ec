"""The running summary of a long conversation: what was said before the messages that are read.

Kept up in the background, so that no turn waits for it: a question may be answered with one that
is a few messages old. By a model, every line of which must stand in what was said, or else by the
rules: what was asked, and what was answered to it.
"""

import json
import logging
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import translation

from chat import digest, followups, pasting
from chat.models import Conversation, Message, Summary, Turn
from chat.prompting import prompt
from chat.tools.acting import MODE
from knowledge.masking import masked
from opsdesk.backends import backend
from opsdesk.errors import ModelError

logger = logging.getLogger(__name__)

WINDOW = 12  # messages that are read as they are
STEP = 4  # older ones that are left out before the summary is made anew
TASK = "chat.remembering.refresh"
SECONDS = 30.0  # for the model
LONGEST = 1200  # characters of a summary
LINES = 12
PROMPT = "summary.system"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"lines": {"type": "array", "items": {"type": "string"}, "maxItems": LINES}},
    "required": ["lines"],
    "additionalProperties": False,
}


def said(conversation_id: UUID) -> QuerySet[Message]:
    """What customer, OpsDesk and people said to each other, without what tools told: no model is
    to read that."""
    messages = Message.objects.filter(conversation=conversation_id, public=True)
    told = Q(data__mode__isnull=True) | ~Q(data__mode=MODE)
    return messages.filter(told).exclude(role=Message.Role.SYSTEM)


def recalled(conversation: Conversation) -> Summary | None:
    return getattr(conversation, "summary", None)


def due(conversation: Conversation, seq: int) -> bool:
    """Whether enough has fallen out of the window by message `seq` to be summed up."""
    summary = recalled(conversation)
    return seq - WINDOW - (summary.upto if summary else 0) >= STEP


def refresh(turn_id: int) -> None:
    """Sum up what the conversation of that turn has said before the window. A task; doing it
    again changes nothing."""
    turn = Turn.objects.select_related("conversation__summary").filter(pk=turn_id).first()
    if turn is None:  # deleted
        return
    conversation = turn.conversation
    before = recalled(conversation)
    upto = before.upto if before else 0
    fallen = said(conversation.pk).filter(seq__gt=upto).order_by("-seq")[WINDOW:]
    messages = list(reversed(fallen))
    if not messages:
        return
    earlier = before.text.splitlines() if before else []
    with translation.override(conversation.language):
        lines, by = _summed_up(earlier, messages)
    _keep(conversation, upto, Summary(text="\n".join(lines), upto=messages[-1].seq, by=by))


@transaction.atomic
def _keep(conversation: Conversation, upto: int, made: Summary) -> None:
    """Unless another task was quicker."""
    Conversation.objects.select_for_update().get(pk=conversation.pk)
    there = Summary.objects.filter(conversation=conversation).first()
    if (there.upto if there else 0) == upto:
        Summary.objects.update_or_create(
            conversation=conversation,
            defaults={"text": made.text, "upto": made.upto, "by": made.by},
        )


def _summed_up(earlier: list[str], messages: Sequence[Message]) -> tuple[list[str], str]:
    model = backend("llm")
    if model is not None:
        try:
            lines = _by_model(model, earlier, messages)
        except ModelError as error:
            logger.warning("The model did not sum up: %s", error)
        else:
            if lines:
                return lines, Summary.By.MODEL
    return _by_rules(earlier, messages), Summary.By.RULES


def _by_model(model: Any, earlier: list[str], messages: Sequence[Message]) -> list[str]:
    """Lines that say nothing but what was said; none when most of them did."""
    shown = [{"role": one.role, "text": masked(pasting.read(one.text).gist)} for one in messages]
    material = json.dumps({"summary": earlier, "messages": shown}, ensure_ascii=False)
    asking = [
        {"role": "system", "content": prompt(PROMPT).template},
        {"role": "user", "content": material},
    ]
    answer = model.structured(asking, _SCHEMA, name="summary", deadline=time.monotonic() + SECONDS)
    written = [" ".join(line.split()) for line in answer["lines"] if line.strip()]
    sources = [*earlier, *(one["text"] for one in shown)]
    kept = [line for line in written if not followups.unsaid(line, sources, told=True)]
    return _short(kept) if len(kept) * 2 > len(written) else []


def _by_rules(earlier: list[str], messages: Sequence[Message]) -> list[str]:
    turns = Turn.objects.filter(message__in=messages).select_related("message", "reply")
    told: list[str] = []
    for turn in turns.order_by("pk"):
        if turn.reply and turn.reply.data.get("mode") == MODE:
            turn.reply = None  # what a tool told: the summary is read by a model
        told += map(masked, digest.told(turn))
    return _short([*earlier, *told])


def _short(lines: list[str]) -> list[str]:
    """The first line, what it began with, and as many of the last as there is room for."""
    kept, room = lines[:1], LONGEST - sum(map(len, lines[:1]))
    for line in reversed(lines[1:]):
        room -= len(line) + 1
        if room < 0:
            break
        kept.insert(1, line)
    return kept
