"""Several ways of finding in one order: by the weighted sum of the z-scores of their scores."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import hypot
from typing import NamedTuple

import numpy as np

Scores = Mapping[int, float]  # of chunks
# What the z-scores of the stages weigh; measured on the sets of docs/retrieval.md with a small
# encoder. A question that means an entry of a FAQ seldom says it in the same words.
WEIGHTS = {"words": 0.35, "dense": 0.65}
FAQ_WEIGHTS = {"words": 0.2, "dense": 0.8}
# What learned weights take of the vectors' weight: bge-m3's makers weigh them .2 beside .4 for the
# dense vectors (README of BAAI/bge-m3). Theirs are raw scores, ours z-scores: not measured here.
SPARSE_SHARE = 1 / 3
APART = ("dense", "sparse")  # stages whose scores compare only among chunks of one model


class Scale(NamedTuple):
    """How the scores of a stage lie."""

    mean: float
    deviation: float
    lowest: float
    highest: float

    def z(self, score: float) -> float:
        """0 for all where all have the same: such a stage orders nothing."""
        return (score - self.mean) / self.deviation if self.deviation else 0.0


def weights(faq: bool, stages: Collection[str], sparse: bool, learned: float) -> dict[str, float]:
    """Of the stages there are, for an entry of a FAQ or another chunk. With learned weights of
    tokens they share the vectors' weight; what bases learned has the share `learned` of all."""
    found = {
        stage: weight
        for stage, weight in (FAQ_WEIGHTS if faq else WEIGHTS).items()
        if stage in stages
    }
    if sparse and "sparse" in stages:
        found["sparse"] = found["dense"] * SPARSE_SHARE
        found["dense"] -= found["sparse"]
    if learned:
        found["learned"] = learned / (1 - learned) * sum(found.values())
    return found


def summed(
    stages: Mapping[str, Scores],
    weights: Mapping[int, Mapping[str, float]],
    highest: Mapping[str, float],
    groups: Sequence[Collection[int]] = (),
) -> dict[int, float]:
    """For each chunk of `weights` the weighted sum of its z-scores.

    It is said as where it lies between the sum of the worst conceivable chunk and that of the
    best: 0–1, in the same order. `highest` says what no score of a stage exceeds, where that is
    known.

    The scores of a model are normalised among the chunks of its group, so that one whose cosines
    lie close together says as much as another. All other stages hold every chunk and are
    normalised together: they are what groups have in common. A chunk in no group has these
    alone, and their sum as it is would put it in the middle however good it is. So it is
    stretched to vary as the sums of grouped chunks do: what speaks for it counts as if its
    meaning agreed as well as with others, no more and no less.
    """
    common = [stage for stage in stages if stage not in APART]
    scales = {stage: _scale(stages[stage].values(), highest.get(stage)) for stage in common}
    rest = _totals(weights, scales, stages, weights)
    whole: dict[int, float] = {}
    ends: list[tuple[float, float]] = []
    for group in groups:
        apart = {
            stage: _scale([stages[stage][chunk] for chunk in group], highest.get(stage))
            for stage in APART
            if stage in stages and all(chunk in stages[stage] for chunk in group)
        }
        for chunk, total in _totals(weights, apart, stages, group).items():
            whole[chunk] = rest[chunk] + total
        ends += [_ends(one, scales | apart) for one in _kinds(weights[chunk] for chunk in group)]
    varies = float(np.std([rest[chunk] for chunk in whole])) if whole else 0.0
    widened = float(np.std(list(whole.values()))) / varies if varies else 0.0
    alone = [chunk for chunk in rest if chunk not in whole]
    for chunk in alone:
        whole[chunk] = rest[chunk] * _stretch(widened, weights[chunk], common)
    for one in _kinds(weights[chunk] for chunk in alone):
        stretch = _stretch(widened, one, common)
        ends.append((stretch * _ends(one, scales)[0], stretch * _ends(one, scales)[1]))
    least = min(low for low, _high in ends)
    span = max(high for _low, high in ends) - least or 1.0
    return {chunk: (whole[chunk] - least) / span for chunk in weights}


def _stretch(widened: float, weights: Mapping[str, float], common: Collection[str]) -> float:
    """`widened`, as it was measured on the grouped chunks, which may be few: between what it is
    when the stages have nothing to do with each other and when they all agree."""
    here = [weights[stage] for stage in common]
    independent = hypot(*weights.values()) / hypot(*here)
    return min(max(widened, independent), sum(weights.values()) / sum(here))


def _scale(scores: Collection[float], highest: float | None) -> Scale:
    values = np.array(list(scores))
    low, high = float(values.min()), float(values.max())
    deviation = float(values.std()) if low < high else 0.0  # rounding might not make it 0
    return Scale(
        float(values.mean()), deviation, min(0.0, low), high if highest is None else highest
    )


def _totals(
    weights: Mapping[int, Mapping[str, float]],
    scales: Mapping[str, Scale],
    stages: Mapping[str, Scores],
    chunks: Iterable[int],
) -> dict[int, float]:
    totals = dict.fromkeys(chunks, 0.0)
    for stage, scale in scales.items():
        scores = stages[stage]
        for chunk in totals:
            totals[chunk] += weights[chunk][stage] * scale.z(scores[chunk])
    return totals


def _ends(weights: Mapping[str, float], scales: Mapping[str, Scale]) -> tuple[float, float]:
    """What the worst and the best conceivable chunk would get."""
    low = sum(weights[stage] * scale.z(scale.lowest) for stage, scale in scales.items())
    high = sum(weights[stage] * scale.z(scale.highest) for stage, scale in scales.items())
    return low, high


def _kinds(weights: Iterable[Mapping[str, float]]) -> list[Mapping[str, float]]:
    return list({id(one): one for one in weights}.values())
