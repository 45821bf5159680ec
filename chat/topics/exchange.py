"""A topic as a JSON file, out and in; knowledge bases stay behind, they are others elsewhere."""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from chat.models import Topic
from chat.topics import schema
from opsdesk.errors import ParseError

KIND = "opsdesk-topic"
LARGEST = 256 * 1024  # bytes
MOST_WORDS = 200
_TEXTS = ("name", "description", "when")
_LISTS = ("triggers", "examples")


def exported(topic: Topic) -> str:
    made = {"kind": KIND, **{name: getattr(topic, name) for name in (*_TEXTS, *_LISTS, "schema")}}
    return json.dumps(made, ensure_ascii=False, indent=2) + "\n"


@transaction.atomic
def take(data: bytes) -> Topic:
    """Make a new topic of a file, under another name where its own is taken. Raises ParseError."""
    made = _read(data)
    topic = Topic(**{name: made[name] for name in (*_TEXTS, *_LISTS, "schema") if name in made})
    topic.name = _free(topic.name)
    problems = schema.problems(topic.schema)
    if problems:
        raise ParseError(" ".join(problems), permanent=True)
    try:
        topic.full_clean()
    except ValidationError as error:
        raise ParseError(" ".join(error.messages), permanent=True) from error
    topic.save()
    return topic


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > LARGEST:
        raise ParseError(_("The file is too large for a topic."), permanent=True)
    try:
        made = schema.parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ParseError(_("This is no text in UTF-8."), permanent=True) from error
    except ValueError as error:
        raise ParseError(str(error), permanent=True) from error
    if not isinstance(made, dict) or made.get("kind") != KIND:
        raise ParseError(_("This file holds no topic."), permanent=True)
    texts = all(isinstance(made.get(name, ""), str) for name in _TEXTS)
    lists = all(_words(made.get(name, [])) for name in _LISTS)
    if not texts or not lists or not made.get("name"):
        raise ParseError(_("This file holds no topic."), permanent=True)
    return made


def _words(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MOST_WORDS
        and all(isinstance(one, str) and one.strip() for one in value)
    )


def _free(name: str) -> str:
    names = set(Topic.objects.values_list("name", flat=True))
    if name not in names:
        return name
    return next(made for n in range(2, len(names) + 3) if (made := f"{name[:95]} {n}") not in names)
