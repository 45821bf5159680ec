"""The weights of `knowledge.ranking`, fitted on question sets."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from evaluation.metrics import distinct, hit_at, mean
from evaluation.question_sets import Question
from knowledge import ranking, retrieval
from knowledge.models import KnowledgeBase

KS = (1, 5, 10)
PAIRS = 1000.0  # weight of all pairs together, each set with the same share of it
STRENGTH = 0.004  # of the pairs against small weights (C): weak, or a left-out set loses


@dataclass(frozen=True)
class Case:
    """A question with the passages that were found for it."""

    features: NDArray[np.float64]  # (passages, 1 + FEATURES); the first is the score so far
    questions: NDArray[np.bool_]  # which of them are ranked as FAQ questions
    documents: Sequence[str]  # of each passage, in the order so far
    gold: frozenset[str]

    @property
    def half(self) -> int:
        """0 or 1, the same for all questions with one answer."""
        return hashlib.sha256(min(self.gold).encode()).digest()[0] % 2

    def pairs(self, are_questions: bool) -> NDArray[np.float64]:
        """The best right passage less each wrong one, all of one kind."""
        kind = self.questions == are_questions
        right = np.isin(self.documents, list(self.gold))
        best, wrong = self.features[kind & right][:1], self.features[kind & ~right]
        return best - wrong if len(best) else wrong[:0]

    def hits(self, weights: NDArray[np.float64]) -> list[float]:
        """Whether a gold document is among the first of KS."""
        best = np.argsort(-(self.features @ weights), kind="stable")
        ranking = distinct(self.documents[place] for place in best)
        return [hit_at(k, ranking, self.gold) for k in KS]


def cases(questions: Sequence[Question], base: KnowledgeBase) -> list[Case]:
    """What words alone find for each question, as retrieval hands it to the second look."""
    return [case for question in questions for case in _case(question, base)]


def _case(question: Question, base: KnowledgeBase) -> Iterator[Case]:
    found = retrieval.search(question.text, [base], settings.RERANK_PASSAGES)
    passages = sorted(
        (replace(one, score=one.scores["words"]) for one in found.passages),
        key=lambda one: (-one.score, one.chunk_id),
    )
    if passages:
        scores = np.array([one.score for one in passages])
        so_far = (scores - scores.mean()) / (scores.std() or 1.0)
        yield Case(
            np.column_stack([so_far, ranking.features(found.query, passages)]),
            np.array([ranking.is_question(one) for one in passages]),
            [one.external_id for one in passages],
            question.gold,
        )


def fit(sets: Sequence[Sequence[Case]]) -> NDArray[np.float64]:
    """Weights with 1 for the score so far. FAQ questions and passages of texts have features of
    their own, and each are fitted among themselves."""
    weights = np.zeros(1 + len(ranking.FEATURES))
    for are_questions in (True, False):
        pairs, shares = _pairs(sets, are_questions)
        if len(pairs):
            weights = np.maximum(weights, _fitted(pairs, shares))
    return weights


def _fitted(pairs: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """What only a negative weight could use is left out: that a likeness to the question counts
    against a passage would be a peculiarity of the sets."""
    from sklearn.linear_model import LogisticRegression  # its import takes a second

    used = np.asarray(pairs.any(axis=0))
    while used[0]:
        model = LogisticRegression(fit_intercept=False, C=STRENGTH, tol=1e-6)
        both = np.concatenate([pairs[:, used], -pairs[:, used]])
        model.fit(both, np.repeat([1, 0], len(pairs)), np.concatenate([shares, shares]))
        weights = np.zeros(len(used))
        weights[used] = model.coef_[0]
        if (weights >= 0).all():
            return weights / weights[0]
        used &= weights > 0
    return np.eye(len(used))[0]  # where the score so far tells nothing, nothing can be added to it


def _pairs(
    sets: Sequence[Sequence[Case]], are_questions: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Differences of a right passage to each wrong one of its kind, and what each pair counts: a
    set, and within it a question, as much as any other."""
    pairs, shares = [np.empty((0, 1 + len(ranking.FEATURES)))], [np.empty(0)]
    for cases in sets:
        found = [case.pairs(are_questions) for case in cases]
        pairs += found
        shares += [np.full(len(some), 1 / len(some) / len(cases)) for some in found if len(some)]
    weights = np.concatenate(shares)
    return np.concatenate(pairs), weights * PAIRS / (weights.sum() or 1)


def measured(cases: Sequence[Case], weights: NDArray[np.float64]) -> list[float]:
    """hit@k by KS."""
    return [mean(hits) or 0.0 for hits in zip(*(case.hits(weights) for case in cases), strict=True)]


def left_out(sets: Mapping[str, Sequence[Case]], name: str) -> list[float]:
    """Of a set, with weights fitted on the others alone."""
    return measured(sets[name], fit([cases for other, cases in sets.items() if other != name]))


def half_seen(sets: Mapping[str, Sequence[Case]], name: str) -> list[float]:
    """Of each half of a set, with weights fitted on the other sets and on its other half."""
    others = [cases for other, cases in sets.items() if other != name]
    halves = [[case for case in sets[name] if case.half == half] for half in (0, 1)]
    found = [
        case.hits(weights)
        for seen, asked in (halves, halves[::-1])
        for weights in [fit([*others, seen])]
        for case in asked
    ]
    return [mean(hits) or 0.0 for hits in zip(*found, strict=True)]
