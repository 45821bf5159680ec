"""What a model reads in a message: one structured call a turn at most, where the rules leave
something open. It only ever sees the conversation, never a passage, and what it says is checked:
a rewritten question may hold nothing that was not said.
"""

import json
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from chat import degrading, followups, llms, understanding
from chat.llms import Usage
from chat.prompting import digest, prompt
from chat.state import TurnState
from knowledge.masking import masked_within
from opsdesk.errors import ModelError
from opsdesk.tuning import tuned

logger = logging.getLogger(__name__)

QUESTION = "question"
INTENTS = [
    QUESTION,
    understanding.CHAT,
    understanding.THANKS,
    understanding.UNHAPPY,
    understanding.PERSON,
    understanding.ABUSE,
]
SMALL = (understanding.CHAT, understanding.THANKS)
CALM = "calm"
MOODS = [CALM, understanding.URGENT, understanding.UPSET]
PROMPT = "understand.system"
LONGEST = 300  # characters of a rewritten question


@dataclass(frozen=True)
class Reading:
    intent: str  # of chat.understanding, "" for a question
    mood: str  # of chat.understanding, "" for a calm one
    question: str  # complete by itself; "" when it could not be trusted
    values: dict[str, Any] = field(default_factory=dict)  # of the fields that were asked for


def read(turn: TurnState, fields: dict[str, Any]) -> Reading | None:
    """What the model makes of the question, and the values of `fields` (JSON Schema properties)
    that it finds in the conversation. None when it was not asked or failed: the rules stand."""
    model, seconds = llms.model(), tuned("UNDERSTAND_SECONDS")
    if model is None or not seconds or not (fields or _open(turn)):
        return None
    begun = time.monotonic()
    try:
        said = model.structured(
            _messages(turn, fields),
            _schema(fields),
            name="understand",
            deadline=min(turn.deadline, begun + seconds),
            cancelled=turn.cancelled,
            report=partial(_note, turn),
        )
    except ModelError as error:
        if turn.cancelled():
            raise
        logger.warning("The model did not read the message: %s", error)
        turn.trace["reading"] = {"error": str(error)}
        turn.degrade(degrading.NO_UNDERSTANDING)
        return None
    turn.trace["reading"] = {"said": said, "seconds": round(time.monotonic() - begun, 2)}
    return _checked(turn, said)


def _note(turn: TurnState, used: Usage) -> None:
    tokens = used.tokens_in, used.tokens_out
    turn.used(PROMPT, digest(PROMPT), used.model, *tokens, used.ms, used.way)


def _open(turn: TurnState) -> bool:
    """Whether the rules alone may not see what is meant: something was asked before, or the
    message neither asks nor names anything."""
    return bool(turn.previous_question()) or not understanding.asks(turn.question)


def _messages(turn: TurnState, fields: dict[str, Any]) -> list[dict[str, str]]:
    """The prompt. What was said is data: a JSON string that closes nothing."""
    shown = {
        "summary": turn.summary,
        "known": {name: value for one in turn.collected for name, value in one.values.items()},
        "messages": [{"role": one.role, "text": one.text} for one in turn.history],
        "message": turn.question,
        "attached": turn.attached,
        "fields": fields,
    }
    return [
        {"role": "system", "content": prompt(PROMPT).template},
        {"role": "user", "content": json.dumps(masked_within(shown), ensure_ascii=False)},
    ]


def _schema(fields: dict[str, Any]) -> dict[str, Any]:
    """Every property is required, as strict servers want it; what is not said is null."""
    values = {name: {"anyOf": [schema, {"type": "null"}]} for name, schema in fields.items()}
    return _object(
        {
            "intent": {"type": "string", "enum": INTENTS},
            "mood": {"type": "string", "enum": MOODS},
            "question": {"type": "string"},
            "values": _object(values),
        }
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _checked(turn: TurnState, said: dict[str, Any]) -> Reading:
    intent = "" if said["intent"] == QUESTION else said["intent"]
    mood = "" if said["mood"] == CALM else said["mood"]
    if intent not in ("", understanding.PERSON) and understanding.asks(turn.question):
        # What asks for something is looked for, in whatever tone.
        mood = mood if intent in SMALL else understanding.UPSET
        intent = ""
    question = said["question"].strip()
    spoken = [turn.summary, turn.attached, *(one.text for one in turn.history)]
    if len(question) > LONGEST or not followups.faithful(question, turn.question, spoken):
        question = ""
    values = {name: value for name, value in said["values"].items() if value not in (None, "")}
    return Reading(intent, mood, question, values)
