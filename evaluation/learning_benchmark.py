"""What a base learns from its own questions: some are confirmed, the others asked.

Everything goes the product's way, pairs, fitting and searching, and is undone at the end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from django.db import transaction

from evaluation.metrics import hit_at, mean
from evaluation.question_sets import Question, QuestionSet, ask, ingest
from knowledge import confirmed, learning
from knowledge.models import ConfirmedPair, KnowledgeBase

PLACES = (1, 5, 10)


@dataclass(frozen=True)
class Point:
    """One point of the curve."""

    split: str  # "order": by documents where a set lists its questions by them; "random"
    pairs: int
    weight: float  # that the adapter found for itself
    asked: dict[str, list[Question]]  # all, and those whose document was or was not confirmed
    hits: dict[str, dict[int, float | None]]  # of these, at each of PLACES


def curve(questions: QuestionSet, sizes: Sequence[int], limit: int | None) -> Iterator[Point]:
    """Half of the questions confirmed, as many as each size says, `limit` of the others asked."""
    base = ingest(questions).base
    known = [one for one in questions.questions if one.gold]
    mixed = known.copy()
    Random(0).shuffle(mixed)  # noqa: S311
    for split, ordered in (("order", known), ("random", mixed)):
        middle = len(ordered) // 2
        first, second = ordered[:middle], ordered[middle:]
        drawn = Random(1).sample(first, len(first))  # noqa: S311
        step = max(1, len(second) // limit) if limit else 1
        for size in sizes:
            if size <= len(first):
                yield _point(base, split, drawn[:size], second[::step], first)


def _point(
    base: KnowledgeBase,
    split: str,
    taught: Sequence[Question],
    asked: Sequence[Question],
    half: Sequence[Question],
) -> Point:
    with transaction.atomic():
        base.pairs.all().delete()
        _confirm(base, taught)
        adapter = learning.learn(base) if taught else None
        rankings = [ask(question, base).ranking for question in asked]
        weight = adapter.weight if adapter else 0.0
        transaction.set_rollback(True)
    seen = {document for question in half for document in question.gold}
    parts = {
        "all": [True] * len(asked),
        "document confirmed": [not question.gold.isdisjoint(seen) for question in asked],
        "other documents": [question.gold.isdisjoint(seen) for question in asked],
    }
    hits = {
        name: {
            k: mean(
                hit_at(k, ranking, question.gold)
                for question, ranking, chosen in zip(asked, rankings, part, strict=True)
                if chosen
            )
            for k in PLACES
        }
        for name, part in parts.items()
    }
    held = {
        name: [question for question, chosen in zip(asked, part, strict=True) if chosen]
        for name, part in parts.items()
    }
    return Point(split, len(taught), weight, held, hits)


def _confirm(base: KnowledgeBase, taught: Sequence[Question]) -> None:
    documents = base.documents.in_bulk(field_name="pk")
    by_name = {document.external_id: document for document in documents.values()}
    for question in taught:
        for name in sorted(question.gold):
            confirmed.confirm(base, question.text, by_name[name], ConfirmedPair.Origin.LABEL)


def as_row(point: Point) -> dict[str, Any]:
    return {
        "split": point.split,
        "pairs": point.pairs,
        "weight": point.weight,
        **{
            name: {"questions": len(point.asked[name]), **{f"hit@{k}": hits[k] for k in PLACES}}
            for name, hits in point.hits.items()
        },
    }
