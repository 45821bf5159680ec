"""The fields of a topic as JSON Schema (2020-12), and what of it we understand.

An object whose `properties` are the fields. Of a field count: `title` (its label), `description`,
`x-ask` (the question to ask), `enum`, `pattern`, `format` ("version", "date", "error"), `type`
("number", "integer", else a string), `examples`, and of our own

- `x-synonyms` `{choice: [other words]}`,
- `x-scope`: the field of `knowledge.scope.Scope` that its value sets, where a base knows it,
- `x-search`: false where the value says nothing to look for (a staff number).

`required` names the fields that are asked for, in this order; `x-order` all, as they are listed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

import regex
from django.utils.translation import gettext as _
from jsonschema import Draft202012Validator, SchemaError, ValidationError

from chat import understanding
from knowledge.scope import FIELDS as SCOPES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TEXT, CHOICE, NUMBER, VERSION, DATE, ERROR, PATTERN = KINDS = (
    "text", "choice", "number", "version", "date", "error", "pattern",
)  # fmt: skip
MOST = 20  # fields
CHOICES = 50
PATTERN_LENGTH = 300
# A pattern that needs longer for a message is given up: patterns are staff's, messages anybody's.
PATTERN_SECONDS = 0.02
# What patterns that try too much stumble over, nearly as long as a message may be.
_HARD = ["a" * 1900, "1" * 1900, "x " * 900, "中" * 1900, "a1.-_" * 380]

_WORD = {"type": "string", "minLength": 1, "maxLength": 100}
_OURS = Draft202012Validator({
    "type": "object",
    "properties": {
        "type": {"const": "object"},
        "properties": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": MOST,
            "propertyNames": {"maxLength": 50},
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "title": {"type": "string", "maxLength": 50},
                    "description": {"type": "string", "maxLength": 300},
                    "type": {"enum": ["string", "number", "integer"]},
                    "x-ask": {"type": "string", "maxLength": 300},
                    "enum": {
                        "type": "array", "items": _WORD, "minItems": 1, "maxItems": CHOICES,
                        "uniqueItems": True,
                    },
                    "x-synonyms": {
                        "type": "object",
                        "additionalProperties": {"type": "array", "items": _WORD, "maxItems": 50},
                    },
                    "pattern": {"type": "string", "minLength": 1, "maxLength": PATTERN_LENGTH},
                    "examples": {
                        "type": "array", "maxItems": 10,
                        "items": {"type": ["string", "number"], "maxLength": 200},
                    },
                    "x-scope": {"enum": list(SCOPES)},
                    "x-search": {"type": "boolean"},
                },
            },
        },
        "x-order": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["properties"],
})  # fmt: skip


@dataclass(frozen=True)
class Field:
    name: str
    label: str
    ask: str  # the question to ask
    kind: str  # one of KINDS
    required: bool = False
    choices: tuple[str, ...] = ()
    synonyms: dict[str, list[str]] = field(default_factory=dict)
    pattern: str = ""
    examples: tuple[str, ...] = ()
    description: str = ""
    scope: str = ""
    search: bool = True


def fields(schema: dict[str, Any]) -> list[Field]:
    """Those of a valid schema, first the required ones as they are asked for."""
    properties = schema.get("properties", {})
    required = list(schema.get("required", []))
    order = [*required, *schema.get("x-order", []), *properties]
    return [
        _field(name, properties[name], name in required)
        for name in dict.fromkeys(order)
        if name in properties
    ]


def _field(name: str, made: dict[str, Any], required: bool) -> Field:
    label = made.get("title") or name
    return Field(
        name=name,
        label=label,
        ask=made.get("x-ask") or _("Which %(label)s is it?") % {"label": label},
        kind=_kind(made),
        required=required,
        choices=tuple(made.get("enum", ())),
        synonyms=made.get("x-synonyms", {}),
        pattern=made.get("pattern", ""),
        examples=tuple(str(one) for one in made.get("examples", ())),
        description=made.get("description", ""),
        scope=made.get("x-scope", ""),
        search=made.get("x-search", True),
    )


def _kind(made: dict[str, Any]) -> str:
    if "enum" in made:
        return CHOICE
    if "pattern" in made:
        return PATTERN
    if made.get("type") in ("number", "integer"):
        return NUMBER
    return made["format"] if made.get("format") in (VERSION, DATE, ERROR) else TEXT


@lru_cache(512)
def compiled(pattern: str) -> "regex.Pattern[str]":
    """`pattern` as it is looked for inside a message: not within a longer word, in any case.

    Raises regex.error.
    """
    bare = pattern.removeprefix("^")
    if bare.endswith("$") and not bare.endswith("\\$"):
        bare = bare[:-1]
    return regex.compile(rf"(?<![A-Za-z0-9_])(?:{bare})(?![A-Za-z0-9_])", regex.IGNORECASE)


def problems(schema: Any) -> list[str]:
    """What is wrong with `schema`, in sentences; none when it can be used."""
    found = [_said(error) for error in sorted(_OURS.iter_errors(schema), key=_place)]
    if found:
        return found
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return [_said(error)]
    return list(_of_ours(schema))


def _of_ours(schema: dict[str, Any]) -> Iterator[str]:
    properties = schema["properties"]
    for name in [*schema.get("required", []), *schema.get("x-order", [])]:
        if name not in properties:
            yield _("“%(name)s” is asked for, but there is no such field.") % {"name": name}
    labels = [made.get("title") or name for name, made in properties.items()]
    for label in dict.fromkeys(one for one in labels if labels.count(one) > 1):
        yield _("Two fields are called “%(label)s”.") % {"label": label}
    for one in fields(schema):
        for problem in _of_field(one):
            yield f"{one.label}: {problem}"


def _of_field(one: Field) -> Iterator[str]:
    for choice in one.synonyms.keys() - set(one.choices):
        yield _("there are other words for “%(choice)s”, which is no choice.") % {"choice": choice}
    for word in [*one.choices, *chain.from_iterable(one.synonyms.values())]:
        if understanding.intent(word) == understanding.PERSON:
            yield _("“%(word)s” calls a person when a customer says it.") % {"word": word}
    if one.kind == PATTERN:
        yield from _of_pattern(one)


def _of_pattern(one: Field) -> Iterator[str]:
    try:
        pattern = compiled(one.pattern)
    except regex.error as error:
        yield _("the pattern cannot be read: %(error)s.") % {"error": error}
        return
    try:
        for text in _hard(one.pattern):
            pattern.search(text, timeout=PATTERN_SECONDS)
    except TimeoutError:
        yield _("the pattern takes too long on some messages: it repeats what repeats already.")
        return
    if pattern.fullmatch(""):
        yield _("the pattern fits nothing at all, and so any message.")
    for example in one.examples:
        if not pattern.fullmatch(example):
            yield _("the example “%(example)s” does not fit the pattern.") % {"example": example}


def _hard(pattern: str) -> Iterator[str]:
    """Long messages of what `pattern` speaks of, that end otherwise than it may want."""
    own = list(dict.fromkeys(filter(str.isalnum, pattern)))
    for text in [*_HARD, *(letter * 1900 for letter in own[:8])]:
        yield f"{text}!"
        yield f"{text}! {''.join(own[:20])}"


def _place(error: ValidationError) -> list[str]:
    return [str(step) for step in error.absolute_path]


def _said(error: ValidationError) -> str:
    """An error of jsonschema as a sentence, with where it is."""
    wanted = error.validator_value
    sentences = {
        "type": _("must be of the type %(wanted)s."),
        "const": _("must be %(wanted)s."),
        "enum": _("must be one of %(wanted)s."),
        "required": _("%(wanted)s is missing."),
        "minLength": _("must not be empty."),
        "minItems": _("must not be empty."),
        "minProperties": _("wants one field at least."),
        "maxLength": _("is longer than %(wanted)s characters."),
        "maxItems": _("holds more than %(wanted)s."),
        "maxProperties": _("holds more than %(wanted)s."),
        "uniqueItems": _("holds the same twice."),
        "format": _("cannot be read as a regular expression."),
    }
    shown = ", ".join(map(str, wanted)) if isinstance(wanted, list) else wanted
    known = sentences.get(str(error.validator))
    said = known % {"wanted": shown} if known else error.message
    place = " › ".join(_place(error))
    return f"{place}: {said}" if place else said


def parse(text: str) -> Any:
    """The schema that `text` writes. Raises ValueError with a sentence for who wrote it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            _("This is no JSON: line %(line)d, column %(column)d: %(error)s.")
            % {"line": error.lineno, "column": error.colno, "error": error.msg}
        ) from error
    except RecursionError as error:
        raise ValueError(_("This is nested too deeply.")) from error
