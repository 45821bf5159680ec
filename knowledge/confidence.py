"""How sure we are that the passages found hold the answer.

A logistic model over features without a scale of their own, so that it carries over from one
knowledge base to another; a base's labels refine it (`knowledge.calibrating`). It cannot see that
a passage is on the topic but lacks the fact: that is for the check of the answer.
"""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from knowledge import weighing

PASSAGES = 3  # looked at, however many were asked for
SMALL = 400  # chunks: the sets that the others were fitted on have more


@dataclass(frozen=True)
class Model:
    """Weights of the features, in logits."""

    intercept: float
    coefficients: Mapping[str, float]

    def probability(self, features: Mapping[str, float]) -> float:
        """0–1; of no features, as where no passage was found, 0."""
        if not features:
            return 0.0
        logit = self.intercept + sum(
            weight * features.get(name, 0.0) for name, weight in self.coefficients.items()
        )
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, logit))))


# Fitted, as `manage.py fit_confidence` does, to the three sets with unanswerable questions and to
# halves of three more; docs/retrieval.md says how well that carries over to a set that it has not
# seen. `small` was chosen on parts of them; `lead` tells whether the first passage is the right
# one, which labels of a base know, these sets do not.
SHIPPED = Model(
    -6.5,
    {"strength": 2.1, "coverage": 1.25, "names": 1.3, "length": 1.15, "lead": 0.0, "small": 1.2},
)


class Found(Protocol):
    @property
    def scores(self) -> dict[str, float]: ...
    @property
    def words(self) -> Set[str]: ...


def confidence(
    asked: weighing.Query, passages: Sequence[Found], calibration: Model | None = None
) -> float:
    """The probability (0–1) that the first passages answer; 0 without any. By the shipped
    model, unless a base has one of its own."""
    return (calibration or SHIPPED).probability(features(asked, passages))


def features(asked: weighing.Query, passages: Sequence[Found]) -> dict[str, float]:
    """`strength`: the best passage's score by words ÷ what one mention of every term gives;
    `coverage`: idf share of the words that stand in any of the first passages;
    `names`: share of the question's Latin words and numbers that do, 1 without such;
    `length`: logarithm of how many words the question has: of a longer one it tells more that
    so much of it is found;
    `lead`: how far the best passage's score by words is above the next one's, 0–1;
    `small`: 1 in a base of a tenth of SMALL chunks or less, 0 from SMALL on. There most words
    of a question stand nowhere and weigh the most, so that strength and coverage run low
    whether or not the answer is there.

    A word that a passage says in another word for it stands in it as well. Without a passage
    there are none."""
    if not passages:
        return {}
    held = set().union(*(asked.understood(passage.words) for passage in passages[:PASSAGES]))
    attainable = asked.attainable_by(passages[0].words)
    best, *others = (passage.scores.get("words", 0.0) for passage in passages[:2])
    worth = asked.words()
    total = sum(worth.values())
    names = [word for word in worth if word.isascii()]
    return {
        "strength": best / attainable if attainable else 0.0,
        "coverage": sum(worth[word] for word in worth.keys() & held) / total if total else 0.0,
        "names": sum(word in held for word in names) / len(names) if names else 1.0,
        "length": math.log(1 + len(worth)),
        "lead": max(0.0, 1 - sum(others) / best) if best else 0.0,
        "small": _small(asked.chunks),
    }


def _small(chunks: int) -> float:
    return min(1.0, max(0.0, math.log10(SMALL / max(1, chunks))))
