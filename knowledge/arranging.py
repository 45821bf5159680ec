"""What of the ranking an answer is made of: nothing twice, so much as fits, neighbours together.

Neighbours stay passages of their own, one after the other as they stand in the document: a
citation points to one passage with its page and boxes, and is checked again, word for word, when
the answer is written.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import Generic, NamedTuple, Protocol, TypeVar

from knowledge.likeness import ALIKE, normal, shingles, similarity

DUPLICATE, LONG = "duplicate", "long"  # why a passage is left out
SHOWN = 5  # passages at most that an answer shows something of
CLOSE = 0.7  # share of the first one's score from which on another may be meant
# Numbers, codes and names: two passages that differ in one say different things.
_EXACT = re.compile(r"[a-z0-9]+(?:[._:/-][a-z0-9]+)*|[〇零一二两三四五六七八九十百千万]+")


class Found(Protocol):
    """A passage, with where it stands and what it holds for."""

    @property
    def chunk_id(self) -> int: ...
    @property
    def revision_id(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def heading_path(self) -> list[str]: ...
    @property
    def question(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def holds_for(self) -> tuple[str, ...]: ...


P = TypeVar("P", bound=Found)


S = TypeVar("S", bound="Scored")


class Scored(Protocol):
    @property
    def score(self) -> float: ...


def shown(kept: Sequence[S]) -> list[S]:
    """Those of `kept` that an answer without a model shows something of: the first, and of the
    next what is about as good."""
    least = CLOSE * kept[0].score if kept else 0.0
    return [*kept[:1], *(one for one in kept[1:SHOWN] if one.score >= least)]


class Arranged(NamedTuple, Generic[P]):
    passages: list[P]
    left_out: dict[int, str]  # why, by chunk; of those looked at before there were enough


def arrange(ranked: Sequence[P], most: int, characters: int) -> Arranged[P]:
    """The first `most` of `ranked` that say something new and fit into `characters` together, in
    their order. The first of all is always there."""
    kept: list[_Kept[P]] = []
    left_out: dict[int, str] = {}
    left = characters
    for passage in ranked:
        if len(kept) == most:
            break
        one = _Kept(passage)
        if any(one.repeats(other) for other in kept):
            left_out[passage.chunk_id] = DUPLICATE
        elif kept and one.length > left:
            left_out[passage.chunk_id] = LONG
        else:
            kept.append(one)
            left -= one.length
    return Arranged([one.passage for one in kept], left_out)


class _Kept(Generic[P]):
    def __init__(self, passage: P) -> None:
        self.passage = passage
        said = f"{passage.question}\n{passage.text}"
        self.length = len(said)
        self.said = said
        self.normal = normal(said)
        self.exact = set(_EXACT.findall(said.lower()))

    @cached_property
    def runs(self) -> set[bytes]:
        return shingles(self.said)

    def repeats(self, other: "_Kept[P]") -> bool:
        """Whether it says what `other` says, of the same product and version."""
        if self.passage.holds_for != other.passage.holds_for:
            return False
        same = self.normal == other.normal
        return same or (self.exact == other.exact and similarity(self.runs, other.runs) >= ALIKE)


def together(ranked: Sequence[P]) -> list[P]:
    """As one reads them: each run of neighbours of a section in the order of the document, where
    the best of them stands."""
    runs = _runs(ranked)
    return [one for passage in ranked for one in runs.get(passage.chunk_id, ())]


def _runs(ranked: Sequence[P]) -> dict[int, list[P]]:
    """Runs of neighbours by the chunk of the best of each."""
    rank = {passage.chunk_id: place for place, passage in enumerate(ranked)}
    read = sorted(ranked, key=attrgetter("revision_id", "position"))
    runs = [read[:1]]
    for before, after in pairwise(read):
        if _neighbours(before, after):
            runs[-1].append(after)
        else:
            runs.append([after])
    return {min(run, key=lambda one: rank[one.chunk_id]).chunk_id: run for run in runs if run}


def _neighbours(before: Found, after: Found) -> bool:
    return (
        before.revision_id == after.revision_id
        and after.position == before.position + 1
        and before.heading_path == after.heading_path
    )
