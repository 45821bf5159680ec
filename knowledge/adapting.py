"""The small model that a base learns: questions and passages as points, near where people said so.

Terms go by their number (`weighing.key`), folded into BUCKETS; a linear map takes their weights
to DIMENSIONS. It begins as the main directions of the passages (LSA), which need nobody's help,
and is bent so that confirmed questions come nearer to what answers them than to anything else:
what it learns of words holds for passages that nobody asked for yet. Numbers only, no database.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used: they take a second
from numpy.typing import NDArray

from knowledge import terms, weighing

BUCKETS = 2**15
DIMENSIONS = 128
SAMPLE = 5_000  # passages that the first directions are taken from
# How it is bent: measured on two sets, in halves (docs/retrieval.md); nothing hangs on them.
EPOCHS, STEPS, BATCH, RATE, TEMPERATURE = 4, 20, 128, 2e-3, 0.07  # STEPS: at least
RIVALS = 30  # passages with the question's words that do not answer it
CANDIDATES = 100  # of each order, when two become one
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # beside words; the best is kept
MARGIN = 0.005  # of the mean reciprocal rank: less is no reason to count for more
CONFIRMED = 0.9  # of its cosine counts a question; a passage itself says more
CAUTION = 400  # confirmed questions for a weight of 1
PLACES = (1, 5, 10)
MISSED = 1_000_000  # the place of what was not found
FOLDS = 3

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
Text = tuple[NDArray[np.int32], Floats]  # the numbers of its terms, and their weights
Rows = Any  # sparse matrix, a row for each text, float32


def asked(question: str) -> Text:
    """A question, each term with the share of its idf that counts."""
    shares = {
        weighing.key(view, term): share
        for view, found in terms.query_terms(question).items()
        for term, share in found.items()
    }
    return np.array(list(shares), np.int32), np.array(list(shares.values()), np.float32)


def rows(texts: Sequence[Text]) -> Rows:
    """Texts as rows of BUCKETS columns."""
    ends = np.cumsum([0, *(len(keys) for keys, _ in texts)])
    keys = np.concatenate([np.empty(0, np.int32), *(keys for keys, _ in texts)])
    values = np.concatenate([np.empty(0, np.float32), *(values for _, values in texts)])
    found = scipy.sparse.csr_matrix((values, keys % BUCKETS, ends), shape=(len(texts), BUCKETS))
    found.sum_duplicates()
    return found


@dataclass(frozen=True)
class Projection:
    """From the weights of terms to a point on the unit sphere."""

    idf: Floats  # BUCKETS
    matrix: Floats  # BUCKETS × DIMENSIONS

    def weighed(self, texts: Rows) -> Rows:
        """Each row times the idf, of length 1."""
        from sklearn.preprocessing import normalize  # heavy, and only learning needs it

        return normalize(texts.multiply(self.idf).tocsr())

    def points(self, texts: Rows) -> Floats:
        return _unit(np.asarray(texts.multiply(self.idf).tocsr() @ self.matrix, np.float32))[0]

    def point(self, text: Text) -> Floats:
        """The same of one text, many times faster."""
        keys, values = text
        buckets = keys % BUCKETS
        weighed = values * self.idf[buckets]
        return _unit(np.asarray(weighed[None] @ self.matrix[buckets], np.float32))[0][0]

    def to_bytes(self) -> bytes:
        return _packed(idf=self.idf, matrix=self.matrix.astype(np.float16))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Projection":
        held = _unpacked(data)
        return cls(held["idf"], held["matrix"].astype(np.float32))


@dataclass(frozen=True)
class Points:
    """Passages, and the confirmed questions of each, as points; a passage is as near to a
    question as the nearest of its points."""

    chunks: Numbers  # ascending, a passage as often as it has points
    points: Floats

    @classmethod
    def of(cls, chunks: Numbers, points: Floats) -> "Points":
        order = np.argsort(chunks, kind="stable")
        return cls(chunks[order], points[order])

    def near(self, question: Floats) -> tuple[Numbers, Floats]:
        """Each passage once, with its cosine (−1 to 1) to a question's point."""
        if not len(self.chunks):
            return self.chunks, np.empty(0, np.float32)
        starts = np.flatnonzero(np.diff(self.chunks, prepend=self.chunks[0] - 1))
        return self.chunks[starts], np.maximum.reduceat(self.points @ question, starts)

    def to_bytes(self) -> bytes:
        return _packed(chunks=self.chunks, points=self.points.astype(np.float16))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Points":
        held = _unpacked(data)
        return cls(held["chunks"], held["points"].astype(np.float32))


def _packed(**arrays: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _unpacked(data: bytes) -> Any:
    return np.load(io.BytesIO(data), allow_pickle=False)


# --- fitting --------------------------------------------------------------------------


@dataclass(frozen=True)
class Lesson:
    """Confirmed questions, and the passages among which each has its own."""

    passages: Rows  # BM25 without idf
    questions: Rows  # shares of idf
    answers: Numbers  # row of the passage that answers each question
    groups: Numbers  # of each passage its document: finding any part of it will do
    words: Floats  # questions × passages: BM25

    def some(self, chosen: Numbers) -> "Lesson":
        """The same passages with some of the questions."""
        return Lesson(
            self.passages,
            self.questions[chosen],
            self.answers[chosen],
            self.groups,
            self.words[chosen],
        )


def start(passages: Rows) -> Projection:
    """Before anything is learned: the main directions of the passages."""
    from sklearn.decomposition import TruncatedSVD

    counts = np.bincount(passages.indices, minlength=BUCKETS)
    worth = np.array([weighing.idf(count, passages.shape[0]) for count in range(counts.max() + 1)])
    begin = Projection(worth[counts].astype(np.float32), np.empty(0, np.float32))
    chosen = np.random.default_rng(0).permutation(passages.shape[0])[:SAMPLE]
    used = np.flatnonzero(counts)
    size = min(DIMENSIONS, len(chosen) - 1, len(used) - 1)
    found = TruncatedSVD(size, n_iter=2, random_state=0)
    found.fit(begin.weighed(passages[chosen])[:, used])
    matrix = np.zeros((BUCKETS, size), np.float32)
    matrix[used] = found.components_.T
    return Projection(begin.idf, matrix)


def fit(lesson: Lesson, begin: Projection) -> Projection:
    """Bend it: each question should be nearer to its passage than to the others of a batch, to
    one with the same words and to some at random (softmax over cosines, by Adam)."""
    random = np.random.default_rng(0)
    questions, passages = begin.weighed(lesson.questions), begin.weighed(lesson.passages)
    used = np.unique(np.concatenate([questions.indices, passages.indices]))
    questions, passages = questions[:, used], passages[:, used]
    rivals = _best(lesson.words, RIVALS)
    matrix, step = begin.matrix[used], 0
    mean, square = np.zeros_like(matrix), np.zeros_like(matrix)
    while step < max(STEPS, EPOCHS * len(lesson.answers) / BATCH):
        order = random.permutation(len(lesson.answers))
        for at in range(0, len(order), BATCH):
            chosen = order[at : at + BATCH]
            hard = rivals[chosen, random.integers(rivals.shape[1], size=len(chosen))]
            others = random.integers(passages.shape[0], size=BATCH)
            among = np.unique(np.concatenate([lesson.answers[chosen], hard, others]))
            right = np.searchsorted(among, lesson.answers[chosen])
            slope = _slope(matrix, questions[chosen], passages[among], right)
            step += 1
            mean = 0.9 * mean + 0.1 * slope
            square = 0.999 * square + 0.001 * slope**2
            pace = np.sqrt(square / (1 - 0.999**step)) + 1e-8
            matrix -= RATE * mean / (1 - 0.9**step) / pace
    bent = begin.matrix.copy()
    bent[used] = matrix
    return Projection(begin.idf, bent)


def _slope(matrix: Floats, questions: Rows, passages: Rows, right: Numbers) -> Floats:
    """The gradient of the mean cross-entropy of choosing the right passage."""
    asked, asked_length = _unit(questions @ matrix)
    held, held_length = _unit(passages @ matrix)
    chance = asked @ held.T / TEMPERATURE
    chance = np.exp(chance - chance.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    chance[np.arange(len(right)), right] -= 1
    chance /= TEMPERATURE * len(right)
    by_asked = _tangent(chance @ held, asked) / asked_length
    by_held = _tangent(chance.T @ asked, held) / held_length
    return np.asarray(questions.T @ by_asked + passages.T @ by_held, np.float32)


def _unit(points: Floats) -> tuple[Floats, Floats]:
    length = np.linalg.norm(points, axis=1, keepdims=True) + 1e-9
    return points / length, length


def _tangent(slope: Floats, unit: Floats) -> Floats:
    """What of a slope does not only change the length."""
    return slope - (slope * unit).sum(axis=1, keepdims=True) * unit


def _best(scores: Floats, count: int) -> Numbers:
    """Of each row the columns of the highest scores, in no order."""
    count = min(count, scores.shape[1])
    return np.argpartition(-scores, count - 1, axis=1)[:, :count]


def learned(lesson: Lesson, projection: Projection, questions: Rows) -> Floats:
    """How near each passage is to questions that are asked: questions × passages."""
    points = projection.points(questions)
    near = points @ projection.points(lesson.passages).T
    confirmed = CONFIRMED * points @ projection.points(lesson.questions).T
    np.maximum.at(near.T, lesson.answers, confirmed.T)
    return near


# --- measuring ------------------------------------------------------------------------


@dataclass(frozen=True)
class Effect:
    """Places at which held-out questions found their document, by weight of what was learned."""

    places: dict[float, Numbers]

    def rank(self, weight: float) -> float:
        """Mean reciprocal rank."""
        return float(np.mean(1 / self.places[weight]))

    def hits(self, weight: float) -> dict[str, float]:
        return {str(k): float(np.mean(self.places[weight] <= k)) for k in PLACES}

    @property
    def best(self) -> float:
        """The least weight that is nearly as good as any; 0 when nothing is gained. What few
        questions say of it is chance for the most part: it grows with their number."""
        asked = len(self.places[0.0])
        tried = [weight for weight in WEIGHTS if weight * CAUTION <= asked]
        most = max(map(self.rank, tried))
        if most < self.rank(0.0) + MARGIN:
            return 0.0
        return next(weight for weight in tried if self.rank(weight) > most - MARGIN / 2)


def cross_validated(lesson: Lesson, begin: Projection) -> Effect:
    """Each question asked of what was learned from the others: in folds, at random."""
    fold = np.random.default_rng(1).permutation(len(lesson.answers)) % FOLDS
    places: dict[float, list[Numbers]] = {weight: [] for weight in WEIGHTS}
    for one in range(FOLDS):
        known, held_out = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        taught = lesson.some(known)
        near = learned(taught, fit(taught, begin), lesson.questions[held_out])
        for weight, found in _places(lesson, held_out, near).items():
            places[weight].append(found)
    return Effect({weight: np.concatenate(found) for weight, found in places.items()})


def _places(lesson: Lesson, asked: Numbers, near: Floats) -> dict[float, Numbers]:
    """The place of the right document among all documents, by weight, as search would fuse."""
    places = {weight: np.empty(len(asked), np.int64) for weight in WEIGHTS}
    for row, question in enumerate(asked):
        words = lesson.words[question]
        found = np.union1d(*(_best(scores[None], CANDIDATES)[0] for scores in (words, near[row])))
        groups = lesson.groups[found]
        right = lesson.groups[lesson.answers[question]]
        by_words, by_learned = _scaled(words[found]), _scaled(near[row][found])
        for weight in WEIGHTS:
            total = (1 - weight) * by_words + weight * by_learned
            # With words alone, what has none of the question is not found.
            ours = total[(groups == right) & ((weight > 0) | (words[found] > 0))]
            above = groups[total > ours.max()] if len(ours) else None
            places[weight][row] = MISSED if above is None else 1 + len(np.unique(above))
    return places


def _scaled(scores: Floats) -> Floats:
    return (scores - scores.mean()) / (scores.std() or 1.0)
