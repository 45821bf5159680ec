"""How well the rules tell what a message wants, on messages that people labelled."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chat import reading, understanding

DATA = Path(__file__).parent / "data" / "intents"  # our own: rules were written seeing one half
INTENTS = reading.INTENTS


@dataclass(frozen=True)
class Labelled:
    text: str
    intent: str  # of INTENTS
    mood: str = reading.CALM  # of reading.MOODS
    answered: bool = False  # whether OpsDesk had answered before


def read(file: Path) -> list[Labelled]:
    """JSON Lines of `Labelled`. Raises OSError, ValueError, TypeError."""
    with file.open(encoding="utf-8") as lines:
        return [Labelled(**json.loads(line)) for line in lines if line.strip()]


def questions(file: Path) -> list[str]:
    """What was asked, of JSON Lines with `question`, `text` or `title`. Raises OSError,
    ValueError, KeyError."""
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    names = ("question", "text", "title")
    return [row[next(name for name in names if name in row or name == "title")] for row in rows]


def told(text: str, *, answered: bool = False) -> str:
    """The intent as the rules tell it, a greeting counted as chit-chat."""
    found = understanding.intent(text, answered=answered) or reading.QUESTION
    return understanding.CHAT if found == understanding.GREETING else found


def confusion(messages: Sequence[Labelled]) -> Counter[tuple[str, str]]:
    """How often each intent (first) was taken for each (second)."""
    return Counter((one.intent, told(one.text, answered=one.answered)) for one in messages)


def moods(messages: Sequence[Labelled]) -> Counter[tuple[str, str]]:
    return Counter((one.mood, understanding.mood(one.text) or reading.CALM) for one in messages)


def scores(
    counts: Counter[tuple[str, str]], names: Sequence[str]
) -> Iterator[tuple[str, float, float]]:
    """Each name with its precision and recall, 0–1."""
    for name in names:
        right = counts[name, name]
        said = sum(n for (_true, found), n in counts.items() if found == name)
        there = sum(n for (true, _found), n in counts.items() if true == name)
        yield name, right / said if said else 1.0, right / there if there else 1.0


def taken_for_others(texts: Sequence[str], *, answered: bool) -> list[tuple[str, str]]:
    """The questions that are taken for something else, with what they are taken for."""
    found = ((text, told(text, answered=answered)) for text in texts)
    return [(text, intent) for text, intent in found if intent != reading.QUESTION]
