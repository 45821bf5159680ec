"""Answers without a model: the passage's own words, cut to what the question is about.

Measured (docs/retrieval.md): the top entry of a FAQ is shown whole; of another passage some
300 to 400 characters, its best sentences in their order. A second passage makes it worse.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from knowledge.retrieval import Passage
from knowledge.sentences import sentences
from knowledge.terms import query_terms, views

Weigh = Callable[[str], float]

LENGTH = 400  # characters shown of a passage
ROWS = 8  # of a table
_FENCE = re.compile(r"(^```.*?^```[^\n]*$|^~~~.*?^~~~[^\n]*$)", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"((?:^\|.*\|[ \t]*$\n?){2,})", re.MULTILINE)
_BLANK = re.compile(r"\n[ \t]*\n")


@dataclass(frozen=True)
class Extract:
    text: str  # Markdown with citation marks
    sources: list[Passage]  # mark [n] is sources[n - 1]


@dataclass(frozen=True)
class _Unit:
    """What is shown or left out together."""

    text: str
    paragraph: int
    whole: bool = False  # code or a table: carries its mark beneath


def extract(query: str, passages: list[Passage]) -> Extract:
    """What the first of `passages` says about `query`; of a FAQ entry everything it says."""
    top = passages[0]
    if top.kind == "qa":
        parts = [passage for passage in passages if _same_question(passage, top)]
        parts.sort(key=lambda passage: passage.chunk_id)
        marked = [_marked(_units(part.text), n) for n, part in enumerate(parts, 1)]
        return Extract("\n\n".join(marked), parts)
    units = _units(top.text)
    return Extract(_marked(_best(query, units), 1), [top])


def _same_question(passage: Passage, top: Passage) -> bool:
    """A long answer may have been cut into several chunks of one question."""
    return (passage.kind, passage.document_id, passage.question) == (
        "qa",
        top.document_id,
        top.question,
    )


def _units(text: str) -> list[_Unit]:
    units: list[_Unit] = []
    for paragraph, block in enumerate(_blocks(text)):
        if _FENCE.fullmatch(block) or _TABLE.fullmatch(block):
            units.append(_Unit(block, paragraph, whole=True))
        else:
            units.extend(_Unit(part, paragraph) for part in sentences(block) if part.strip())
    return units


def _blocks(text: str) -> Iterable[str]:
    for fenced in _FENCE.split(text):
        if _FENCE.fullmatch(fenced):
            yield fenced
            continue
        for part in _TABLE.split(fenced):
            if _TABLE.fullmatch(part):
                yield part.strip("\n")
            else:
                yield from (piece.strip("\n") for piece in _BLANK.split(part) if piece.strip())


def _best(query: str, units: list[_Unit]) -> list[_Unit]:
    """The units that say most about `query`, LENGTH characters of them, in their order."""
    weigh = _weigher(query, units)
    shown: set[int] = set()
    length = 0
    for index in sorted(range(len(units)), key=lambda i: (-weigh(units[i].text), i)):
        unit = units[index]
        size = len(unit.text)
        if shown and length + size > LENGTH:
            continue
        shown.add(index)
        length += size
    return [_shorter(units[index], weigh) for index in sorted(shown)]


def _weigher(query: str, units: list[_Unit]) -> Weigh:
    """Scores a text by the question's terms in it, the rarer in the passage the heavier."""
    terms = query_terms(query)
    counted = {unit.text: views(unit.text) for unit in units}
    frequency = {
        view: Counter(term for found in counted.values() for term in found[view]) for view in terms
    }

    def weigh(text: str) -> float:
        found = counted.get(text) or views(text)
        return sum(
            weight * math.log(1 + len(units) / (1 + frequency[view][term]))
            for view, weighted in terms.items()
            for term, weight in weighted.items()
            if term in found[view]
        )

    return weigh


def _shorter(unit: _Unit, weigh: Weigh) -> _Unit:
    """A long table as its header and best rows; anything else as it is."""
    if not _TABLE.fullmatch(unit.text) or len(unit.text) <= LENGTH:
        return unit
    header, rows = unit.text.splitlines()[:2], unit.text.splitlines()[2:]
    best = sorted(sorted(range(len(rows)), key=lambda i: (-weigh(rows[i]), i))[:ROWS])
    return _Unit("\n".join([*header, *(rows[i] for i in best)]), unit.paragraph, whole=True)


def _marked(units: list[_Unit], n: int) -> str:
    """Markdown of `units`, each with the mark of source `n`."""
    mark = f"[{n}]"
    paragraphs: list[str] = []
    last = -1
    for unit in units:
        text = f"{unit.text}\n\n{mark}" if unit.whole else _with_mark(unit.text, mark)
        if unit.paragraph == last:
            paragraphs[-1] += text
        else:
            paragraphs.append(text)
        last = unit.paragraph
    return "\n\n".join(part.rstrip() for part in paragraphs)


def _with_mark(sentence: str, mark: str) -> str:
    """The mark stands after the sentence, before the space or line end that closes it."""
    body = sentence.rstrip()
    return f"{body}{mark}{sentence[len(body) :]}"
