"""Fitting the shipped confidence to question sets, and how well it carries over to one left out.

A set whose questions all have an answer is halved: for every other question the passages that
answer it are left out of what was found, as if the base did not hold them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import auroc
from evaluation.question_sets import Question, QuestionSet, ingest
from knowledge import confidence, retrieval
from knowledge.models import KnowledgeBase

FOUND = 50  # passages, of which those that answer may be left out
FITTED = ("strength", "coverage", "names", "length")
BINS = 10
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Case:
    """A question that was looked for: whether the base holds its answer, whether the first
    passage, and whether one of the first, is of a document that gives it."""

    features: dict[str, float]
    answerable: bool
    first: bool
    among: bool


@dataclass(frozen=True)
class Cases:
    name: str
    documents: frozenset[str]
    rows: list[Case]

    @cached_property
    def inputs(self) -> NDArray[np.float64]:
        return np.array([[row.features.get(name, 0.0) for name in FITTED] for row in self.rows])

    @cached_property
    def answerable(self) -> NDArray[np.bool_]:
        return np.array([row.answerable for row in self.rows])


def cases(questions: QuestionSet, limit: int | None) -> Cases:
    """What is found for the questions of a set, at most `limit` of them from all over it."""
    base = ingest(questions).base
    asked = questions.questions
    if limit and limit < len(asked):
        asked = [asked[number * len(asked) // limit] for number in range(limit)]
    halved = all(question.answerable for question in asked)
    rows = [case(one, base, halved and bool(n % 2)) for n, one in enumerate(asked)]
    documents = frozenset(row.id for row in questions.rows)
    return Cases(questions.name, documents, rows)


def case(question: Question, base: KnowledgeBase, without: bool) -> Case:
    found = retrieval.search(question.text, [base], FOUND)
    passages = [one for one in found.passages if not (without and one.external_id in question.gold)]
    features = confidence.features(found.asked, passages) if found.asked else {}
    gold = [one.external_id in question.gold for one in passages[:5]]
    answerable = question.answerable and not without
    return Case(features, answerable, any(gold[:1]), any(gold))


# --- fitting ----------------------------------------------------------------------------


def fit(sets: Sequence[Cases]) -> confidence.Model:
    """Logistic regression in which each set, and of it each kind of question, weighs the same."""
    from sklearn.linear_model import LogisticRegression  # takes a second

    inputs = np.vstack([one.inputs for one in sets])
    answerable = np.concatenate([one.answerable for one in sets])
    weights = np.concatenate([_even(one.answerable) for one in sets])
    made = LogisticRegression(max_iter=1000).fit(inputs, answerable, weights * 1000 / len(sets))
    fitted = dict(zip(FITTED, made.coef_[0].tolist(), strict=True))
    # What the sets cannot tell stays as it is.
    return confidence.Model(
        float(made.intercept_[0]), {**confidence.SHIPPED.coefficients, **fitted}
    )


def _even(kinds: NDArray[np.bool_]) -> NDArray[np.float64]:
    share = np.where(kinds, kinds.sum(), (~kinds).sum())
    return 0.5 / share


def without(sets: Sequence[Cases], held_out: Cases) -> list[Cases]:
    """The sets that share no document with this one."""
    return [one for one in sets if one.documents.isdisjoint(held_out.documents)]


# --- measuring --------------------------------------------------------------------------


def measured(model: confidence.Model, on: Cases) -> dict[str, Any]:
    """AUROC of refusing, Brier score and calibration error (10 bins; both kinds of questions
    count the same, as in fitting), and what thresholds bring."""
    said = np.array([model.probability(row.features) for row in on.rows])
    weights = _even(on.answerable)
    bins = [(float(np.average(said[at], weights=weights[at])),
             float(np.average(on.answerable[at], weights=weights[at])),
             float(weights[at].sum()))
            for number in range(BINS)
            if (at := np.minimum((said * BINS).astype(int), BINS - 1) == number).any()]  # fmt: skip
    return {
        "questions": len(on.rows),
        "auroc": auroc(said[on.answerable].tolist(), said[~on.answerable].tolist()),
        "brier": float(np.average((said - on.answerable) ** 2, weights=weights)),
        "ece": sum(abs(told - true) * share for told, true, share in bins),
        "reliability": bins,
        "thresholds": [_at(threshold, said, on) for threshold in THRESHOLDS],
    }


def _at(threshold: float, said: NDArray[np.float64], on: Cases) -> dict[str, float | None]:
    chosen = [row for row, sure in zip(on.rows, said >= threshold, strict=True) if sure]

    def share(kind: str) -> float | None:
        return sum(getattr(row, kind) for row in chosen) / len(chosen) if chosen else None

    return {
        "threshold": threshold,
        "coverage": len(chosen) / len(on.rows),
        **{kind: share(kind) for kind in ("answerable", "among", "first")},
    }
