"""How sure we are that a base holds the answer, and that what would be shown of it does.

Two logistic models over features without a scale of their own, so that they carry over from one
knowledge base to another. The first decides whether a person is called, the second whether to
answer or to offer what there is to choose from; a base's labels refine the second
(`knowledge.calibrating`). They cannot see that a passage is on the topic but lacks the fact: that
is for the check of the answer.
"""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from knowledge import weighing

PASSAGES = 3  # looked at, however many were asked for
SMALL = 400  # chunks: the sets that the others were fitted on have more
AMONG = 50  # passages of the ranking whose documents share its weight
SHARP = 10.0  # how fast that falls with the score: likeliest on sets that are not easy, 6 to 11


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
    {
        "strength": 2.1, "coverage": 1.25, "names": 1.3, "length": 1.15, "lead": 0.0, "small": 1.2,
        "share": 0.0,
    },
)  # fmt: skip
# That what is shown holds it, too: fitted to "a document that answers is among those shown" with
# SHIPPED as it is. docs/retrieval.md has what comes of it on each set, left out of the fitting.
RIGHT = Model(SHIPPED.intercept - 4.23, {**SHIPPED.coefficients, "share": 4.18})


class Found(Protocol):
    @property
    def document_id(self) -> int: ...
    @property
    def score(self) -> float: ...
    @property
    def scores(self) -> dict[str, float]: ...
    @property
    def words(self) -> Set[str]: ...


def features(
    asked: weighing.Query, passages: Sequence[Found], shown: Iterable[Found] = ()
) -> dict[str, float]:
    """Of a ranking, and of what an answer would show of it (the first, if nothing is given).

    `strength`: the best passage's score by words ÷ what one mention of every term gives;
    `coverage`: idf share of the words that stand in any of the first passages;
    `names`: share of the question's Latin words and numbers that do, 1 without such;
    `length`: logarithm of how many words the question has: of a longer one it tells more that
    so much of it is found;
    `lead`: how far the best passage's score by words is above the next one's, 0–1;
    `small`: 1 in a base of a tenth of SMALL chunks or less, 0 from SMALL on. There most words
    of a question stand nowhere and weigh the most, so that strength and coverage run low
    whether or not the answer is there;
    `share`: how much of the ranking's weight the documents shown have: low where many others
    are nearly as good.

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
        "share": _share(passages[:AMONG], {one.document_id for one in shown or passages[:1]}),
    }


def _share(passages: Sequence[Found], shown: Set[int]) -> float:
    """Softmax over documents, each by its best passage, relative to the best of all. By words
    where several stages were fused: sums of z-scores have no zero to be relative to."""
    fused = any(one.scores.keys() != {"words"} for one in passages)
    scores: dict[int, float] = {}
    for one in passages:
        score = one.scores.get("words", 0.0) if fused else one.score
        scores[one.document_id] = max(score, scores.get(one.document_id, 0.0))
    best = max(scores.values()) or 1.0
    weights = {document: math.exp(SHARP * (of / best - 1)) for document, of in scores.items()}
    return sum(weights.get(document, 0.0) for document in shown) / sum(weights.values())


def _small(chunks: int) -> float:
    return min(1.0, max(0.0, math.log10(SMALL / max(1, chunks))))
