"""Answers without a model: the passage's own words, cut to what the question is about.

Measured (docs/retrieval.md): the top entry of a FAQ is shown whole; of another passage some
300 to 400 characters, its best sentences in their order. More passages in one text make it worse;
beneath it, a line each, they are often the right ones where the first is not clearly the best.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from django.utils.translation import gettext as _

from knowledge import arranging
from knowledge.retrieval import Passage
from knowledge.sentences import sentences
from knowledge.terms import query_terms, views

Weigh = Callable[[str], float]
Wanted = Callable[[str], bool]  # whether a text holds the kind of thing that is asked for

LENGTH = 400  # characters shown of a passage
ROWS = 8  # of a table
LINE = 120  # characters shown of a passage beneath the first
_FENCE = re.compile(r"(^```.*?^```[^\n]*$|^~~~.*?^~~~[^\n]*$)", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"((?:^\|.*\|[ \t]*$\n?){2,})", re.MULTILINE)
_FORMULA = re.compile(r"\s*(?:\$\$[^$]+\$\$|\\\[.+\\\])\s*", re.DOTALL)  # on lines of its own
_HEADING = re.compile(r"#{1,6} [^\n]*")
_CODE = re.compile(r"(?=\S*\d)[A-Za-z0-9][\w.:-]{1,30}", re.ASCII)  # 137, ORA-01555
_LIST = re.compile(r"^\s*(?:[-*+>]|\d{1,3}[.)])\s+")
_MARKUP = str.maketrans("", "", "*`[]")  # what is cut off may leave half of it
# What Markdown would read in a name; of brackets the closing ones, for `\\[` begins a formula.
_SIGNS = re.compile(
    r"[`*\]<$]|\\(?=[!-/:-@\[-`{-~]|$)|(?<!\w)_|_(?!\w)|~(?=~)|(?<=~)~|&(?=#?\w+;)"
    r"|^(?:[-+](?=[\s-]|$)|#|>|=)|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)"
)
_BLANK = re.compile(r"\n[ \t]*\n")
# Code, formulas, and what a passage has that looks like a citation of ours.
_OWN = re.compile(
    r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)|\$(?=\S)[^$\n]+(?<=\S)\$|\[(\d{1,3})\](?!\()", re.DOTALL
)


@dataclass(frozen=True)
class Extract:
    text: str  # Markdown with citation marks
    sources: list[Passage]  # mark [n] is sources[n - 1]


@dataclass(frozen=True)
class _Unit:
    """A sentence, or what is not cut: code, a table, a formula, a heading."""

    text: str
    paragraph: int
    section: int = 0  # counted by the headings in the passage
    kind: Literal["sentence", "whole", "heading"] = "sentence"


def extract(
    query: str, passages: list[Passage], wanted: Wanted | None = None, asked: str = ""
) -> Extract:
    """What the first of `passages` says about `query`, rather what is `wanted`; of a FAQ entry
    everything it says. Where `asked`, the question, is but a code, it begins with what that is."""
    top = passages[0]
    if top.kind == "qa":
        parts = [passage for passage in passages if _same_question(passage, top)]
        parts.sort(key=lambda passage: passage.chunk_id)
        units = [_units(part.text) for part in parts]
        if len(parts) == 1 and not _names(asked, top.question):
            units = [_from(asked, units[0])]
        return Extract("\n\n".join(_marked(one, n) for n, one in enumerate(units, 1)), parts)
    return Extract(_marked(_best(query, _from(asked, _units(top.text)), wanted), 1), [top])


def _from(asked: str, units: list[_Unit]) -> list[_Unit]:
    """The units from the first sentence on that names the code that is asked for."""
    if not _CODE.fullmatch(asked.strip()):
        return units
    says = (place for place, unit in enumerate(units) if _names(asked, unit.text))
    first = next(says, 0)
    return units[first:] if units[first:] and units[first].kind == "sentence" else units


def _names(code: str, text: str) -> bool:
    """Whether `text` has it whole: "137" does not stand in "1370"."""
    whole = rf"(?<![\w.-]){re.escape(code.strip())}(?![\w-])"
    return bool(re.search(whole, text, re.IGNORECASE | re.ASCII))


def beneath(
    query: str, made: Extract, passages: list[Passage], wanted: Wanted | None = None
) -> Extract:
    """`made` of the first of `passages`, and a line of what each of the next says that are about
    as good. With `wanted` only of those that say it."""
    lines: list[str] = []
    sources = list(made.sources)
    for passage in arranging.shown(passages)[1:]:
        said = line(query, passage, wanted)
        if said and passage not in sources and (not wanted or wanted(said)):
            sources.append(passage)
            name = literal(named(passage))
            lines.append(f"- {introduced(name, plain(said))}[{len(sources)}]")
    if not lines:
        return made
    return Extract("\n\n".join([made.text, _("Also about this:"), "\n".join(lines)]), sources)


def named(passage: Passage) -> str:
    """What a passage is about, in a line: the question of a FAQ, else title and section; "" of one
    without."""
    parts = dict.fromkeys([passage.title, *passage.heading_path[-1:]])
    return " ".join((passage.question or " › ".join(filter(None, parts))).split())


def introduced(name: str, said: str) -> str:
    if name.endswith(("？", "?", "…")):
        return f"{name} {said}"
    return (_("%(name)s: ") % {"name": name} if name else "") + said


def line(query: str, passage: Passage, wanted: Wanted | None = None) -> str:
    """The sentence of a passage that says most about `query`, in a line; "" if it has none."""
    units = _units(passage.text)
    weigh = _weigher(query, units)
    said = [unit.text for unit in units if unit.kind == "sentence"]
    order = sorted(range(len(said)), key=lambda i: (-weigh(said[i]), i))
    if wanted:
        order = _first(order, lambda i: wanted(said[i]))
    best = " ".join(_LIST.sub("", said[order[0]]).split()) if order else ""
    return best if len(best) <= LINE else f"{best[:LINE].translate(_MARKUP)}…"


def _same_question(passage: Passage, top: Passage) -> bool:
    """A long answer may have been cut into several chunks of one question."""
    return (passage.kind, passage.document_id, passage.question) == (
        "qa",
        top.document_id,
        top.question,
    )


def _units(text: str) -> list[_Unit]:
    units: list[_Unit] = []
    section = 0
    for paragraph, block in enumerate(_blocks(text)):
        if any(whole.fullmatch(block) for whole in (_FENCE, _TABLE, _FORMULA)):
            units.append(_Unit(block, paragraph, section, "whole"))
        elif _HEADING.fullmatch(block):
            section += 1
            units.append(_Unit(block, paragraph, section, "heading"))
        else:
            parts = (part for part in sentences(block) if part.strip())
            units.extend(_Unit(part, paragraph, section) for part in parts)
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


def _best(query: str, units: list[_Unit], wanted: Wanted | None = None) -> list[_Unit]:
    """What says most about `query`, LENGTH characters of it, in its order and under its headings.

    The section that says most comes first; of the others only what says half as much as its best.
    """
    weigh = _weigher(query, units)
    groups = _groups(units)
    worth = [weigh("".join(unit.text for unit in group)) for group in groups]
    best = _best_section(units, weigh)
    least = (
        max((w for g, w in zip(groups, worth, strict=True) if g[0].section == best), default=0) / 2
    )
    order = sorted(range(len(groups)), key=lambda i: (groups[i][0].section != best, -worth[i], i))
    if wanted:  # the best that holds it comes before all others
        order = _first(order, lambda i: wanted("".join(unit.text for unit in groups[i])))
    shown: set[_Unit] = set()
    length = 0
    for group, value in ((groups[i], worth[i]) for i in order):
        size = sum(len(unit.text) for unit in group)
        fits = length + size <= LENGTH and (group[0].section == best or value >= least)
        if not shown or fits:
            shown.update(group)
            length += size
    sections = {unit.section for unit in shown}
    return [
        _shorter(unit, weigh)
        for unit in units
        if unit in shown or (unit.kind == "heading" and unit.section in sections)
    ]


def _first(order: list[int], which: Callable[[int], bool]) -> list[int]:
    first = [place for place in order if which(place)][:1]
    return first + [place for place in order if place not in first]


def _groups(units: list[_Unit]) -> list[list[_Unit]]:
    """Units to be shown together: a line that ends in a colon stays with what it introduces."""
    groups: list[list[_Unit]] = []
    for unit in units:
        if unit.kind == "heading":
            continue
        last = groups[-1][-1] if groups else None
        if last and last.section == unit.section and last.text.rstrip().endswith(("：", ":")):
            groups[-1].append(unit)
        else:
            groups.append([unit])
    return groups


def _best_section(units: list[_Unit], weigh: Weigh) -> int:
    texts: dict[int, str] = {}
    for unit in units:
        texts[unit.section] = f"{texts.get(unit.section, '')}\n{unit.text}"
    return max(texts, key=lambda section: weigh(texts[section]), default=0)


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
    return replace(unit, text="\n".join([*header, *(rows[i] for i in best)]))


def _marked(units: list[_Unit], n: int) -> str:
    """Markdown of `units`, each sentence with the mark of source `n`, and so is what stands
    without a sentence that introduces it."""
    mark = f"[{n}]"
    paragraphs: list[str] = []
    last: _Unit | None = None
    for unit in units:
        introduced = last is not None and last.kind == "sentence"
        kept = _FENCE.fullmatch(unit.text) or _FORMULA.fullmatch(unit.text)
        text = unit.text if kept else plain(unit.text)
        if unit.kind == "sentence":
            text = _with_mark(text, mark)
        elif unit.kind != "heading" and not introduced:
            text = f"{text}\n\n{mark}"
        if last is not None and unit.paragraph == last.paragraph:
            paragraphs[-1] += text
        else:
            paragraphs.append(text)
        last = unit
    return "\n\n".join(part.rstrip() for part in paragraphs)


def plain(text: str) -> str:
    """Markdown that shows what `text` does, in which nothing reads as a mark: [2] as [2\\]."""
    return _OWN.sub(lambda found: rf"[{found[2]}\]" if found[2] else found[0], text)


def literal(name: str) -> str:
    """Markdown that shows a line of plain text, as a title is, sign by sign."""
    return _SIGNS.sub(r"\\\g<0>", name)


def _with_mark(sentence: str, mark: str) -> str:
    """The mark stands after the sentence, before the space or line end that closes it."""
    body = sentence.rstrip()
    return f"{body}{mark}{sentence[len(body) :]}"
