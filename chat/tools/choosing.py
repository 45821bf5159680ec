"""Which tool a message asks for: by the words that staff gave, else by a model.

Both read what the customer said, and nothing else: no passage, no answer (which quotes passages)
and no result of a tool. A model only chooses; what it says an argument is must have been said.
"""

import json
import logging
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any

import regex
from jsonschema import Draft202012Validator

from chat import llms
from chat.content import Pattern, words
from chat.llms import Usage
from chat.prompting import digest, prompt
from chat.state import TurnState
from chat.tools.base import Tool
from chat.tools.http import PLACE, HttpBackend
from chat.topics import finding, replies
from chat.topics.schema import CHOICE, NUMBER, PATTERN_SECONDS, TEXT, Field, compiled, fields
from opsdesk.errors import ModelError
from opsdesk.tuning import tuned

logger = logging.getLogger(__name__)

PROMPT = "tool.system"
NONE = "none"
NEAR = 8  # characters between the words of an example and a value; without the value …
CLOSE = 2  # … so many where it is missing
LONG = 250  # characters: a longer message asks for no file
_BARE = r"[A-Za-z0-9][A-Za-z0-9_.-]{1,40}"  # a value that has no pattern of its own


@dataclass(frozen=True)
class Choice:
    tool: Tool
    arguments: dict[str, Any]  # valid ones; some may be missing
    by: str  # "words" or "model"

    def missing(self) -> Field | None:
        """The next argument to ask for."""
        needed = (one for one in fields(self.tool.schema) if one.required)
        return next((one for one in needed if one.name not in self.arguments), None)


# --- by words -----------------------------------------------------------------------------


@cache
def _pattern(name: str, *, whole: bool = True) -> Pattern:
    patterns = words("tools")[name]
    if not whole:
        return Pattern(patterns)
    around = words("tools")["around"]
    return Pattern([rf"{around}(?:{'|'.join(patterns)}){around}\Z"])


def confirms(text: str) -> bool:
    return bool(_pattern("confirm").match(replies.plain(text)))


def cancels(text: str) -> bool:
    return bool(_pattern("cancel").match(replies.plain(text)))


def by_words(text: str, offered: Iterable[Tool]) -> list[Choice]:
    """What `text` asks for by the rules; nothing when it asks how to."""
    plain = replies.plain(text)
    for tool in offered:
        if isinstance(tool, HttpBackend):
            values = _triggered(tool, plain)
            if values is not None:
                return [Choice(tool, values, "words")]
        elif tool.name in words("tools") and (said := _pattern(tool.name).match(plain[:LONG])):
            groups = {name: text.strip() for name, text in said.groupdict().items() if text}
            return [Choice(tool, valid(tool, groups), "words")]
    return []


def _triggered(tool: HttpBackend, plain: str) -> dict[str, Any] | None:
    """The arguments in a message that one of the tool's examples fits; None when none does."""
    wanted = fields(tool.schema)
    found = finding.find(wanted, plain)
    marked = plain
    for one in sorted(found.values(), key=lambda one: -one.start):
        marked = f"{marked[: one.start]}\0{marked[one.end :]}"
    marked = re.sub(r"\s+", "", marked).lower()
    asks_how = bool(_pattern("how", whole=False).search(plain))
    for line in tool.row.triggers.splitlines():
        if asks_how and not _pattern("how", whole=False).search(line):
            continue
        if (match := _example(line.strip(), frozenset(found)).search(marked)) is not None:
            texts = {k: v for k, v in match.groupdict().items() if v and k not in found}
            values = {name: one.value for name, one in found.items()} | texts
            return valid(tool, values)
    return None


@lru_cache(1024)
def _example(line: str, found: frozenset[str]) -> re.Pattern[str]:
    """Fits messages like `line`, in which what was `found` stands as \\0."""
    near, close, seen = [], [], set()
    for n, part in enumerate(PLACE.split(replies.plain(line))):
        if n % 2 == 0:
            literal = re.escape(re.sub(r"\s+", "", part).lower())
            near.append(literal)
            close.append(literal)
        elif part in found or part in seen:
            near.append("\0")
        else:
            seen.add(part)
            near.append(f"(?P<{part}>{_BARE})")
    gap, small = f"[^\0]{{0,{NEAR}}}?", f".{{0,{CLOSE}}}?"
    ways = [gap.join(filter(None, near)), small.join(filter(None, close))]
    return re.compile("|".join(filter(None, ways)) or r"(?!)")


# --- by a model ---------------------------------------------------------------------------


def by_model(
    turn: TurnState, offered: Sequence[Tool], done: Sequence[dict[str, Any]]
) -> Choice | None:
    """What a model says the customer wants done; None when nothing, or when it was not asked."""
    model, seconds = llms.model(), tuned("UNDERSTAND_SECONDS")
    if model is None or not seconds:
        return None
    try:
        said = model.structured(
            _messages(turn, offered, done),
            _schema(offered),
            name="tool",
            deadline=min(turn.deadline, time.monotonic() + seconds),
            cancelled=turn.cancelled,
            report=partial(_note, turn),
        )
    except ModelError as error:
        if turn.cancelled():
            raise
        logger.warning("The model chose no tool: %s", error)
        return None
    tool = next((one for one in offered if one.name == said["tool"]), None)
    if tool is None:
        return None
    given = {k: v for k, v in said["arguments"].items() if v not in (None, "")}
    if not tool.told:
        return Choice(tool, valid(tool, given), "model")
    found = finding.find(fields(tool.schema), replies.plain(_own_words(turn)[-1]))
    told = {name: one.value for name, one in found.items()}
    return Choice(tool, valid(tool, _told(tool, given, turn) | told), "model")


def _note(turn: TurnState, used: Usage) -> None:
    tokens = used.tokens_in, used.tokens_out
    turn.used(PROMPT, digest(PROMPT), used.model, *tokens, used.ms, used.way)


def _messages(
    turn: TurnState, offered: Sequence[Tool], done: Sequence[dict[str, Any]]
) -> list[dict[str, str]]:
    """The prompt: what can be done, and what the customer said, as JSON that closes nothing."""
    shown = {
        "tools": [
            {
                "name": tool.name,
                "for": f"{tool.title}：{tool.description}",
                "arguments": {one.name: one.label for one in fields(tool.schema)},
            }
            for tool in offered
        ],
        "said": [one.text for one in turn.history if one.role == "customer"] + [turn.question],
        "known": _known(turn),
        "done": list(done),
    }
    return [
        {"role": "system", "content": prompt(PROMPT).template},
        {"role": "user", "content": json.dumps(shown, ensure_ascii=False)},
    ]


def _schema(offered: Sequence[Tool]) -> dict[str, Any]:
    """Every property is required, as strict servers want it; what is not said is null."""
    arguments: dict[str, list[dict[str, Any]]] = {}
    for tool in offered:
        for name, made in tool.schema.get("properties", {}).items():
            shape = {key: made[key] for key in ("type", "enum") if key in made}
            shapes = arguments.setdefault(name, [{"type": "null"}])
            shapes.append(shape or {"type": "string"})
    properties = {name: {"anyOf": shapes} for name, shapes in arguments.items()}
    return {
        "type": "object",
        "properties": {
            "tool": {"type": "string", "enum": [NONE, *(tool.name for tool in offered)]},
            "arguments": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            },
        },
        "required": ["tool", "arguments"],
        "additionalProperties": False,
    }


def _known(turn: TurnState) -> dict[str, str]:
    """What was told when it was asked for: the values of slots."""
    return {name: str(value) for name, value in turn.slots.items() if value}


def _own_words(turn: TurnState) -> list[str]:
    """What the customer said; the last message as it was written."""
    last = turn.row.message.text if turn.row else turn.question
    return [one.text for one in turn.history if one.role == "customer"] + [last]


def _told(tool: Tool, given: dict[str, Any], turn: TurnState) -> dict[str, Any]:
    """Of what a model gives, that which the customer said: nothing is invented."""
    by_name = {one.name: one for one in fields(tool.schema)}
    texts = [replies.plain(text) for text in [*_own_words(turn), *_known(turn).values()]]
    return {
        name: value
        for name, value in given.items()
        if name in by_name and any(_says(text, by_name[name], value) for text in texts)
    }


def _says(text: str, one: Field, value: Any) -> bool:
    if one.kind == CHOICE:
        found = finding.find([one], text).get(one.name)
        return found is not None and found.value == value
    said = re.escape(replies.plain(str(value)))
    return bool(re.search(rf"(?<![A-Za-z0-9_]){said}(?![A-Za-z0-9_])", text, re.IGNORECASE))


# --- arguments ----------------------------------------------------------------------------


def valid(tool: Tool, values: dict[str, Any]) -> dict[str, Any]:
    """Those of `values` that the tool's schema lets through, in the types it wants."""
    by_name = {one.name: one for one in fields(tool.schema)}
    kept = {}
    for name, value in values.items():
        if name in by_name:
            made = tool.schema["properties"][name]
            typed = _typed(value, made)
            if _fits(typed, by_name[name], made):
                kept[name] = typed
    return kept


def _typed(value: Any, made: dict[str, Any]) -> Any:
    if made.get("type") not in ("number", "integer") or not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number


def _fits(value: Any, one: Field, made: dict[str, Any]) -> bool:
    rest = {key: rule for key, rule in made.items() if key != "pattern"}
    if not Draft202012Validator(rest).is_valid(value) or len(str(value)) > finding.LONGEST:
        return False
    if not one.pattern:
        return bool(str(value).strip())
    try:
        return bool(compiled(one.pattern).fullmatch(str(value), timeout=PATTERN_SECONDS))
    except (TimeoutError, regex.error):
        return False


def told_now(tool: Tool, one: Field, text: str) -> dict[str, Any]:
    """The arguments in a reply to the question for `one`; empty when it does not tell that."""
    plain = replies.plain(text)
    found = finding.find(fields(tool.schema), plain, asked=one)
    if one.kind in (TEXT, NUMBER) and replies.asks(plain):
        return {}
    told = valid(tool, {name: said.value for name, said in found.items()})
    return told if one.name in told else {}


def tries(text: str) -> bool:
    """Whether a reply looks like the value that was asked for, amiss: one word, no question."""
    plain = replies.plain(text)
    return bool(re.fullmatch(r"\S{1,40}", plain)) and not replies.asks(plain)
