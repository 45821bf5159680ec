"""A second look at the best that words found: how its letters, headings and questions lie beside
those of the query. No model; linear weights that `manage.py fit_ranking` fits.

Every feature says only what the score so far does not lead to expect, and compares like with
like: FAQ questions with each other, headings with other headings. So a page does not pass an
answer that has no heading just because it has one.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from knowledge import near

FEATURES = ("runs", "heading", "title", "question", "letters", "negation")
# In standard deviations of the score so far, by `fit_ranking` (docs/retrieval.md).
WEIGHTS = (0.23, 0.14, 0.11, 0.29, 0.25, 0.26)
LONGEST = 200  # letters of a query; what is longer holds a log or a letter
SHORT = 100  # characters at most of a document that is nothing but a question
SPREAD = 0.01  # of scores that are all the same
FEW = 3  # fewer of a kind do not tell what is usual
NEGATION = re.compile("[不没无未别非]")
MARKS = re.compile(r"[\W_]+")


class Candidate(Protocol):
    """A passage that was found."""

    @property
    def chunk_id(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def heading_path(self) -> list[str]: ...
    @property
    def question(self) -> str: ...
    @property
    def questions(self) -> list[str]: ...
    @property
    def text(self) -> str: ...
    @property
    def score(self) -> float: ...


def order(query: str, candidates: Sequence[Candidate]) -> dict[int, float]:
    """The candidates, best first, with scores between 0 and 1 that take their places into
    account. The same for the same candidates in any order."""
    candidates = sorted(candidates, key=lambda one: one.chunk_id)
    scores = np.array([one.score for one in candidates])
    if len(scores):
        scores += (scores.std() or SPREAD) * (features(query, candidates) @ np.array(WEIGHTS))
    by_chunk = {one.chunk_id: float(s) for one, s in zip(candidates, scores, strict=True)}
    best = sorted(by_chunk, key=lambda chunk: (-by_chunk[chunk], chunk))
    return {chunk: min(1.0, max(0.0, by_chunk[chunk])) for chunk in best}


def features(query: str, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """(candidates, FEATURES), in standard deviations; 0 where one does not apply."""
    asked = letters(query)[:LONGEST]
    pieces = {asked[start : start + 3] for start in range(len(asked) - 2)}
    short = np.array([is_question(one) for one in candidates])
    said = near.asked(query) if short.any() else []
    questions = [_question(asked, said, one) if is_question(one) else "" for one in candidates]
    titles = [letters(one.title) for one in candidates]
    headings = [
        letters(one.heading_path[-1]) if one.heading_path else title
        for one, title in zip(candidates, titles, strict=True)
    ]
    headed = ~short & np.array([bool(heading) for heading in headings])
    scores = np.array([one.score for one in candidates])
    columns = [
        (~short, [_share(pieces, one.text) for one in candidates]),
        (headed, [_alike(asked, heading) for heading in headings]),
        (headed, [_alike(asked, title) for title in titles]),
        (short, [_near(_alike, asked, said, question) for question in questions]),
        (short, [_near(_common, asked, said, question) for question in questions]),
        (short, [_negated(asked) == _negated(question) for question in questions]),
    ]
    found = [_beyond(scores, np.array(values, float), among) for among, values in columns]
    return np.stack(found, axis=1)


def letters(text: str) -> str:
    """Letters and digits alone; marks, spaces, case and width make no difference."""
    return MARKS.sub("", unicodedata.normalize("NFKC", text).lower())


def is_question(one: Candidate) -> bool:
    """Whether it answers a question of its own: an FAQ entry, or a document so short that it may
    be nothing but one. Else it is a passage of a text."""
    return bool(one.question) or (len(one.text) <= SHORT and not one.heading_path)


def _question(asked: str, said: Sequence[str], one: Candidate) -> str:
    """Its question in letters, of several the one most like what is asked."""
    ways = [letters(way) for way in (one.question, *one.questions) if way] or [letters(one.text)]
    return max(ways, key=lambda way: (_near(_alike, asked, said, way), way))


def _near(
    like: Callable[[str, str], float], asked: str, said: Sequence[str], question: str
) -> float:
    """How like a question is to what is asked, or to the same in words of the question."""
    return max(like(asked, question), like(near.told(asked, question, said), question))


def _share(pieces: set[str], text: str) -> float:
    """Of the query's runs of three letters those that stand in the text."""
    there = letters(text)
    return sum(piece in there for piece in pieces) / len(pieces) if pieces else 0.0


def _alike(asked: str, other: str) -> float:
    """How few letters must change to make one of the other: 1 for none, 0 for all."""
    return Levenshtein.normalized_similarity(asked, other) if other else 0.0


def _common(asked: str, other: str) -> float:
    """Letters that both have, among those of either (Dice)."""
    ours, theirs = set(asked), set(other)
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours and theirs else 0.0


def _negated(question: str) -> bool:
    return bool(NEGATION.search(question))


def _beyond(
    scores: NDArray[np.float64], values: NDArray[np.float64], among: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What values say beside what the scores lead to expect of them, in standard deviations:
    the residual of a line through those `among`; 0 for the others."""
    found = np.zeros(len(values))
    spread = values[among].std() if among.sum() >= FEW else 0.0
    if spread < 1e-9:
        return found
    x, y = scores[among] - scores[among].mean(), values[among] - values[among].mean()
    slope = x @ y / (x @ x) if x.any() else 0.0
    found[among] = (y - slope * x) / spread
    return found
