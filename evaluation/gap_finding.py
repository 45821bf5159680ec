"""How well questions are gathered into topics: those with the same gold document are of one topic.

A topic has at least LEAST questions and gives at most EACH; questions whose document nobody else
asks about are mixed in, as many as topics, for real ones are full of these too.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation import clustering
from evaluation.question_sets import QuestionSet

LEAST, EACH = 4, 12
DISTANCES = (0.6, 0.7, 0.74, 0.78, 0.82, 0.86, 0.9)


@dataclass(frozen=True)
class Found:
    """`rand`: adjusted Rand index; homogeneity is 1 when no found topic mixes true ones,
    completeness when no true one is torn apart."""

    apart: float
    topics: int
    rand: float
    homogeneity: float
    completeness: float
    seconds: float


@dataclass(frozen=True)
class Asked:
    questions: list[str]
    topics: list[int]


def asked(questions: QuestionSet, topics: int, seed: int = 1) -> Asked:
    """Questions of at most so many `topics`, and one each of as many others, by lot."""
    by_gold: dict[str, list[str]] = defaultdict(list)
    for one in questions.questions:
        if one.gold:
            by_gold[min(one.gold)].append(one.text)
    lot = np.random.default_rng(seed)
    often = [texts for texts in by_gold.values() if len(texts) >= LEAST]
    once = [texts for texts in by_gold.values() if len(texts) == 1]
    lot.shuffle(often)
    lot.shuffle(once)
    rows = [
        (text, topic)
        for topic, texts in enumerate([*often[:topics], *once[: len(often[:topics])]])
        for text in texts[:EACH]
    ]
    return Asked([text for text, _ in rows], [topic for _, topic in rows])


def measured(held: Asked, distances: Iterable[float] = DISTANCES) -> list[Found]:
    return [_at(held, apart) for apart in distances]


def _at(held: Asked, apart: float) -> Found:
    from sklearn.metrics import adjusted_rand_score, homogeneity_completeness_v_measure

    begun = time.perf_counter()
    found = clustering.gathered(held.questions, apart=apart)
    seconds = time.perf_counter() - begun
    alike, whole, _v = homogeneity_completeness_v_measure(held.topics, found)
    rand = adjusted_rand_score(held.topics, found)
    return Found(apart, len(set(found)), rand, alike, whole, seconds)


def report(held: Asked, found: Sequence[Found]) -> list[str]:
    """The rows of a Markdown table."""
    told = [f"{len(held.questions)} questions of {len(set(held.topics))} topics", ""]
    told += ["| apart | topics found | adjusted Rand | homogeneity | completeness | s |"]
    told += ["|---|---|---|---|---|---|"]
    return told + [
        f"| {one.apart} | {one.topics} | {one.rand:.3f} | {one.homogeneity:.3f} |"
        f" {one.completeness:.3f} | {one.seconds:.2f} |"
        for one in found
    ]
