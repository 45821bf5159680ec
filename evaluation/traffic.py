"""A simulated month out of question sets: what OpsDesk truly did with questions whose answers are
known, asked as often as customers ask (few questions make up much of the traffic)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from chat.graph import answer_question
from evaluation.question_sets import Question, QuestionSet, ingest, judge
from evaluation.simulation import MISSED, REFUSED, RIGHT, UNANSWERABLE, WRONG, Month
from knowledge import retrieval
from knowledge.models import Chunk, KnowledgeBase

DEPTH = 10  # passages that each method brings into the pool
SHOWN = 5
ASKED = 60  # letters of the answer by which one who labels looks for it
BANDS = (0.5, 0.8)  # of confidence
POPULAR = 0.7  # how steeply questions are asked more often than others (Zipf)


@dataclass(frozen=True)
class Known:
    """A question of a set: what became of it, and how many documents that answer it there are,
    were shown, and are in its pool of so many."""

    base: int
    confidence: float
    kind: int
    relevant: int
    shown: int
    found: int
    pool: int


def known(sets: Sequence[QuestionSet], limit: int | None) -> list[Known]:
    """Ask at most `limit` questions of each set through the product."""
    kept = []
    for number, questions in enumerate(sets):
        base = ingest(questions).base
        asked = questions.questions
        step = max(len(asked) // limit, 1) if limit else 1
        for question in asked[::step]:
            kept.append(_asked(number, question, base, questions.exact_spans))
    return kept


def _asked(number: int, question: Question, base: KnowledgeBase, exact_spans: bool) -> Known:
    given = answer_question(question.text, [base])
    cited = [citation["external_id"] for citation in given.citations]
    reply = judge(question, given.outcome, given.text, cited, exact_spans)
    if reply.answered:
        kind = RIGHT if reply.correct else WRONG if question.answerable else UNANSWERABLE
    else:
        kind = MISSED if question.answerable else REFUSED
    found = retrieval.search(question.text, [base])
    shown = {passage.external_id for passage in found.kept[:SHOWN]}
    methods = [order[:DEPTH] for order in found.order.values()]
    pool = shown | _documents(chunk for order in methods for chunk in order)
    if question.answers and shown.isdisjoint(question.gold):  # who labels looks for it
        again = retrieval.search(question.answers[0][:ASKED], [base])
        pool |= {passage.external_id for passage in again.passages[:SHOWN]}
    gold = question.gold
    counts = (len(gold), len(gold & shown), len(gold & pool), len(pool))
    return Known(number, found.confidence, kind, *counts)


def _documents(chunks: Iterable[int]) -> set[str]:
    rows = Chunk.objects.filter(pk__in=set(chunks)).values_list("document__external_id", flat=True)
    return set(rows)


def month(kept: Sequence[Known], chance: Generator, turns: int) -> Month:
    """Traffic of these questions."""
    popular = 1 / np.arange(1, len(kept) + 1) ** POPULAR
    asked = chance.choice(chance.permutation(len(kept)), turns, p=popular / popular.sum())

    def column(name: str) -> Any:
        return np.array([getattr(one, name) for one in kept])[asked]

    answered = column("kind") <= UNANSWERABLE
    band = np.digitize(column("confidence"), BANDS)
    channel = chance.choice(3, turns, p=(0.6, 0.3, 0.1))
    key = ((column("base") * 3 + channel) * 2 + answered) * 3 + band
    stratum = np.unique(key, return_inverse=True)[1].astype(np.int64)
    names = ("kind", "relevant", "shown", "found", "pool")
    return Month(stratum, **{name: column(name) for name in names}, k=SHOWN)
