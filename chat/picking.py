"""What a reply to a choice picks: by its number, by words that only one place has, or by leaving
out what it denies. The words are content (`prompts/intents.toml`, "picking").
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from chat import ambiguity, content, understanding
from chat.models import Conversation
from knowledge import terms
from knowledge.models import Document
from knowledge.scope import FIELDS, fold

ABOUT = "passage"  # a choice of places: only these are shown with numbers
_ID = re.compile(r"(?:(\d{1,9})-)?(\d{1,3})", re.ASCII)
_RUNS = re.compile(rf"[{terms.HAN}]|[^\W_{terms.HAN}]+")
Asked = dict[str, Any]  # as `chat.ambiguity.as_pending`


def picked(asked: Asked, told: str) -> ambiguity.Choice | None:
    """The choice that `told` names as it is written, by its number or by its words."""
    return ambiguity.chosen(asked, told) or numbered(asked, told) or worded(asked, told)


def numbered(asked: Asked, told: str) -> ambiguity.Choice | None:
    """The choice whose number is all that is said."""
    place, choices = number(asked, told), asked["choices"]
    there = place is not None and 1 <= place <= len(choices)
    return ambiguity.Choice(**choices[place - 1]) if place and there else None


def number(asked: Asked, told: str) -> int | None:
    """The number that is all that is said to a choice of places: "好的，就第二个吧"."""
    naming = _naming(asked, told) if asked["about"] == ABOUT else []
    return _place(asked, naming[0]) if len(naming) == 1 else None


def unclear(asked: Asked, told: str) -> bool:
    """Whether all that is said is numbers of several places or none ("1和2", "两个都要"), or asks
    whether a place is the one ("不是机房一吗")."""
    parts = _parts(told)
    return bool(parts) and all(_unclear(asked, one) for one in parts)


def _unclear(asked: Asked, clause: str) -> bool:
    if _words("asking").fullmatch(clause):
        return bool(_left_out(asked, clause))
    several = any(_words("several").fullmatch(bare) for bare in understanding.bared(clause))
    return asked["about"] == ABOUT and (several or _place(asked, clause) is not None)


def worded(asked: Asked, told: str) -> ambiguity.Choice | None:
    """The only choice whose words say all that is said: "机房二的吧" of "机房二手册 › 密码". Not a
    number, nor what only asks: "怎么办". Else the only one that what is denied leaves."""
    parts, naming = _parts(told), _naming(asked, told)
    if len(naming) == 1 and asked["about"] == ABOUT and not understanding.intent(told):
        choices = _without(asked, parts)
        found = (_named(choices, bare) for bare in _ways(naming[0]))
        if one := next(filter(None, found), None):
            return one
    rest = left(asked, told)
    return ambiguity.Choice(**rest[0]) if len(rest) == 1 else None


def left(asked: Asked, told: str) -> list[dict[str, Any]]:
    """The choices without those that a reply denies ("不要旧版"), where it says nothing else."""
    parts = _parts(told)
    denies = bool(parts) and all(_denied(asked, one) for one in parts)
    return _without(asked, parts) if denies else []


def _without(asked: Asked, parts: list[str]) -> list[dict[str, Any]]:
    denied = [place for one in parts for place in _denied(asked, one)]
    return [one for one in asked["choices"] if one not in denied]


def late(past: Sequence[Any], told: str) -> tuple[Asked, ambiguity.Choice | None]:
    """The last choice of `past` turns, newest first, that something else was asked after, and what
    `told` picks of it as a ready reply does; of a number nobody can tell that it is meant. {}
    where `told` is neither."""
    old: Asked = next((one.asked for one in past if "choices" in one.asked), {})
    if not old:
        return {}, None
    choice = ambiguity.chosen(old, told)
    return (old, choice) if choice or number(old, told) is not None else ({}, None)


def offered(conversation: Conversation, wanted: str) -> tuple[int, str] | None:
    """The `seq` of the message that offered a choice, and its label: by its id ("4-2"), or by its
    number in the choice that was offered last."""
    named = _ID.fullmatch(wanted.strip())
    if not named:
        return None
    seq, n = named.groups()
    shown = conversation.messages.filter(public=True, data__has_key="choices").order_by("-seq")
    message = (shown.filter(seq=int(seq)) if seq else shown).first()
    choices = message.data["choices"] if message else []
    label = next((one["label"] for one in choices if one["n"] == int(n)), None)
    return (message.seq, label) if message and label else None


def _naming(asked: Asked, told: str) -> list[str]:
    """The clauses of `told` that may name a place: beside others none that denies or only asks."""
    parts = _parts(told)
    if len(parts) < 2:
        return parts
    return [one for one in parts if not _denied(asked, one) and not _only_asks(one)]


def _only_asks(clause: str) -> bool:
    return any(_words("how").fullmatch(bare) for bare in understanding.bared(clause))


def _place(asked: Asked, clause: str) -> int | None:
    """The number of a place that is all of `clause`, also "最后一个"."""
    for bare in _ways(clause):
        if _words("last").fullmatch(bare):
            return len(asked["choices"])
        if (place := understanding.place(bare)) is not None:
            return place
    return None


def _parts(told: str) -> list[str]:
    """The clauses of `told` without "好的" and "谢谢"."""
    clauses = understanding.clauses(told)
    return [
        one
        for one in clauses
        if understanding.place(one) is not None or not understanding.intent(one)
    ]


def _ways(clause: str) -> Iterator[str]:
    """`clause`, then with ever more taken off its ends that names nothing: "好的选机房二吧"."""
    for bare in understanding.bared(clause):
        yield bare
        if before := _words("before").match(bare):
            yield bare[before.end() :].strip()


@cache
def _words(name: str) -> content.Pattern:
    return content.Pattern(content.words("intents")["picking"][name])


def _named(choices: list[dict[str, Any]], text: str) -> ambiguity.Choice | None:
    """The only choice in whose name `text` stands, else in whose other words, where `text` names
    anything."""
    words = terms.words(text) - terms.question_words()
    if not any(any(map(str.isalpha, word)) for word in words if len(word) > 1):
        return None
    found = [one for one in choices if _says([one["label"]], text)]
    if not found:
        more = _more(choices)
        found = [one for one in choices if _says(more(one), text)]
    return ambiguity.Choice(**found[0]) if len(found) == 1 else None


def _more(choices: list[dict[str, Any]]) -> Any:
    """What gives all that names a choice: headings, title, product, version and environment."""
    documents = {one["document"] for one in choices} - {0}
    rows = Document.objects.filter(pk__in=documents).values_list("pk", "title", *FIELDS)
    held = {pk: texts for pk, *texts in rows} if documents else {}
    return lambda one: [one["label"], *one["section"], *held.get(one["document"], ())]


def _denied(asked: Asked, clause: str) -> list[dict[str, Any]]:
    """The choices that `clause` denies: some, never all of them."""
    return [] if _words("asking").fullmatch(clause) else _left_out(asked, clause)


def _left_out(asked: Asked, clause: str) -> list[dict[str, Any]]:
    """The choices that `clause` denies, or asks whether they are not meant."""
    found = (_words("denied").fullmatch(bare) for bare in _ways(clause))
    things = [next(filter(None, one.groups()), "") for one in found if one]
    if not things:
        return []
    choices, more = asked["choices"], _more(asked["choices"])
    numbers = (_place(asked, one) for one in things if asked["about"] == ABOUT)
    if place := next(filter(None, numbers), None):
        return choices[place - 1 : place] if len(choices) > 1 else []
    for thing in (way for one in things for way in _ways(one)):
        if not terms.words(thing) & terms.question_words():
            out = [one for one in choices if _says(more(one), thing)]
            if 0 < len(out) < len(choices):
                return out
    return []


def _says(texts: list[str], told: str) -> bool:
    """Whether each part of `told` ("机房二的测试环境") stands in one of `texts`."""
    parts = [part for part in told.split("的") if part.strip()]
    whole = any(_stands(told, text) for text in texts)
    return whole or (
        len(parts) > 1 and all(any(_stands(part, text) for text in texts) for part in parts)
    )


def _stands(told: str, text: str) -> bool:
    """Whether `told` stands in `text`, runs of Latin letters and digits whole, and not denied."""
    there, said = (_RUNS.findall(fold(one)) for one in (text, told))
    return bool(said) and any(
        there[at : at + len(said)] == said and not _no(there[:at])
        for at in range(len(there) - len(said) + 1)
    )


def _no(before: list[str]) -> bool:
    """Whether what follows is denied: 非生产环境, 没有加密的, not encrypted."""
    words = content.words("intents")["picking"]["not"]
    return any("".join(before[-n:]) in words for n in (1, 2))
