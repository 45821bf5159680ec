"""Fitting the shipped confidence to question sets, and how well it carries over to one left out.

A set whose questions all have an answer is halved: for every other question the passages that
answer it are left out of what was found, as if the base did not hold them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from evaluation.metrics import auroc
from evaluation.question_sets import Question, QuestionSet, ingest
from knowledge import arranging, confidence, retrieval
from knowledge.models import KnowledgeBase
from opsdesk.tuning import tuned

FOUND = 50  # passages, of which those that answer may be left out
FITTED = ("strength", "coverage", "names", "length")
BINS = 10
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
RIGHT = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


@dataclass(frozen=True)
class Case:
    """A question that was looked for: whether the base holds its answer, and whether the first
    passage, one of the first, or one of those that an answer shows is of a document that gives
    it."""

    features: dict[str, float]
    answerable: bool
    first: bool
    among: bool
    shown: bool


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
    kept = arranging.arrange(passages, tuned("PASSAGES"), tuned("PASSAGE_CHARACTERS")).passages
    shown = arranging.shown(kept)
    features = confidence.features(found.asked, passages, shown) if found.asked else {}
    gold = [one.external_id in question.gold for one in passages[:5]]
    answerable = question.answerable and not without
    right = answerable and any(one.external_id in question.gold for one in shown)
    return Case(features, answerable, any(gold[:1]), any(gold), right)


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


def fit_right(sets: Sequence[Cases], held: confidence.Model) -> confidence.Model:
    """`held` with what the share of the weight tells beside it of "a right one is shown"."""
    from scipy.optimize import minimize  # takes a second

    logits = np.concatenate([_logits(held, one) for one in sets])
    shares = np.array([row.features.get("share", 0.0) for one in sets for row in one.rows])
    signs = np.array([1.0 if row.shown else -1.0 for one in sets for row in one.rows])
    weights = np.concatenate([_even(one.answerable) for one in sets]) / len(sets)

    def loss(at: NDArray[np.float64]) -> float:
        margins = signs * (logits + at[0] + at[1] * shares)
        return float((weights * np.logaddexp(0, -margins)).sum())

    intercept, share = minimize(loss, np.zeros(2)).x.tolist()
    return confidence.Model(held.intercept + intercept, {**held.coefficients, "share": share})


def _logits(model: confidence.Model, of: Cases) -> NDArray[np.float64]:
    said = np.array([model.probability(row.features) for row in of.rows]).clip(1e-9, 1 - 1e-9)
    return np.log(said / (1 - said))


def _even(kinds: NDArray[np.bool_]) -> NDArray[np.float64]:
    share = np.where(kinds, kinds.sum(), (~kinds).sum())
    return 0.5 / share


def without(sets: Sequence[Cases], held_out: Cases) -> list[Cases]:
    """The sets that share no document with this one."""
    return [one for one in sets if one.documents.isdisjoint(held_out.documents)]


# --- measuring --------------------------------------------------------------------------


def measured(model: confidence.Model, right: confidence.Model, on: Cases) -> dict[str, Any]:
    """AUROC of refusing, Brier score and calibration error (10 bins; both kinds of questions
    count the same, as in fitting), what thresholds bring, and what those of `right` do where
    `model` reaches the setting."""
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
        "right": [_at(threshold, _right(right, said, on), on) for threshold in RIGHT],
    }


def _right(model: confidence.Model, held: NDArray[np.float64], on: Cases) -> NDArray[np.float64]:
    said = np.array([model.probability(row.features) for row in on.rows])
    return np.where(held >= settings.CONFIDENCE, said, 0.0)


def _at(threshold: float, said: NDArray[np.float64], on: Cases) -> dict[str, float | None]:
    chosen = [row for row, sure in zip(on.rows, said >= threshold, strict=True) if sure]

    def share(kind: str) -> float | None:
        return sum(getattr(row, kind) for row in chosen) / len(chosen) if chosen else None

    return {
        "threshold": threshold,
        "coverage": len(chosen) / len(on.rows),
        **{kind: share(kind) for kind in ("answerable", "among", "first", "shown")},
    }
