"""A simulated month whose truth is known: do the figures of samples say it as often as they claim?

A month is an array an attribute, one entry a turn. Samples are drawn, labelled by raters who err at
a known rate and reckoned by the very functions that real labels go through (`estimating`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from evaluation import estimating
from evaluation.estimating import Estimate
from evaluation.sampling import allocate

# What a turn is; the first four were answered.
RIGHT, PARTLY, WRONG, UNANSWERABLE, REFUSED, MISSED = range(6)
KINDS = 6
OF_ANSWERED, OF_REFUSED = (RIGHT, PARTLY, WRONG, UNANSWERABLE), (REFUSED, MISSED)
FEWEST = 5  # items of a stratum
FIGURES = ("accuracy", "recall", "refusal precision", "refusal recall")

Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Month:
    """Turns: their stratum (from 0), what each truly was, and by turn how many passages truly
    answer it, how many of these were shown, how many are in its pool (found by some method or
    looked up), and how many passages the pool has."""

    stratum: Whole
    kind: Whole
    relevant: Whole
    shown: Whole
    found: Whole
    pool: Whole
    k: int = 5

    @cached_property
    def populations(self) -> NDArray[np.float64]:
        return np.bincount(self.stratum).astype(float)

    @cached_property
    def members(self) -> list[Whole]:
        """The turns of each stratum."""
        ordered = np.argsort(self.stratum, kind="stable")
        return np.split(ordered, np.cumsum(self.populations.astype(int))[:-1])

    @cache  # noqa: B019 - few months, as long as the command runs
    def allocated(self, size: int) -> list[int]:
        """Items for each stratum, as samples are drawn."""
        return allocate([int(one) for one in self.populations], size, FEWEST)

    @cached_property
    def truth(self) -> dict[str, float]:
        of = np.bincount(self.kind, minlength=KINDS)
        return {
            "accuracy": of[RIGHT] / of[list(OF_ANSWERED)].sum(),
            "recall": self.shown.sum() / self.found.sum(),
            "refusal precision": of[REFUSED] / of[list(OF_REFUSED)].sum(),
            "refusal recall": of[REFUSED] / (of[REFUSED] + of[UNANSWERABLE]),
        }

    @property
    def known_recall(self) -> float:
        """Of all passages that answer, found by any method or not."""
        return float(self.shown.sum() / self.relevant.sum())


@dataclass(frozen=True)
class Raters:
    """How often they err (0–1): at a verdict, at a passage, and who decides where they differ.
    `double` is the share of items that two of them label."""

    verdict: float = 0.05
    passage: float = 0.03
    decider: float = 0.02
    double: float = 1.0


# --- a month ------------------------------------------------------------------------------


def generated(chance: Generator, accuracy: float, turns: int = 20_000) -> Month:
    """Traffic of four bases by three channels, answered or not, in three bands of confidence; the
    bases differ in size and quality, and the true accuracy is `accuracy` to a turn."""
    base = chance.choice(4, turns, p=(0.45, 0.3, 0.17, 0.08))
    channel = chance.choice(3, turns, p=(0.6, 0.3, 0.1))
    sure = chance.beta(3 - 0.4 * base, 1.6, turns)  # confidence
    answered = sure > 0.35
    band = np.where(answered, (sure > 0.6) + (sure > 0.8).astype(int), 0)
    key = ((base * 3 + channel) * 2 + answered) * 3 + band
    stratum = np.unique(key, return_inverse=True)[1].astype(np.int64)
    kind = np.empty(turns, np.int64)
    ease = 4 * sure - 0.4 * base + chance.gumbel(size=turns)  # the easiest are right
    places = np.flatnonzero(answered)
    best = places[np.argsort(-ease[places])]
    rights = round(accuracy * len(places))
    kind[best[:rights]] = RIGHT
    rest = best[rights:]
    kind[rest] = chance.choice((PARTLY, WRONG, UNANSWERABLE), len(rest), p=(0.35, 0.4, 0.25))
    kind[~answered] = chance.choice(OF_REFUSED, int((~answered).sum()), p=(0.8, 0.2))
    has = ~np.isin(kind, (UNANSWERABLE, REFUSED))
    relevant = np.where(has, 1 + chance.poisson(0.8, turns), 0)
    seen = np.clip(np.where(kind == RIGHT, 0.86, 0.35) + 0.1 * (sure - 0.6), 0.02, 0.98)
    shown = chance.binomial(np.minimum(relevant, 5), chance.beta(3 * seen, 3 * (1 - seen)))
    shown = np.where((kind == RIGHT) & (shown == 0), 1, shown)  # what it was right by
    # Other methods find most of the rest; who labels looks where nothing that answers was shown.
    found = shown + chance.binomial(relevant - shown, np.where(shown == 0, 0.95, 0.85))
    pool = np.maximum(chance.integers(8, 18, turns), found)
    return Month(stratum, kind, relevant, shown, found, pool)


# --- a sample of it -----------------------------------------------------------------------


def drawn(month: Month, size: int, stratified: bool, chance: Generator) -> Whole:
    """Turns by lot."""
    if not stratified:
        return chance.choice(len(month.kind), size, replace=False)
    return np.concatenate(
        [
            chance.choice(turns, items, replace=False, shuffle=False)
            for turns, items in zip(month.members, month.allocated(size), strict=True)
        ]
    )


def said(kinds: Whole, error: float, chance: Generator) -> Whole:
    """What one who errs so often says: another thing that can be said of such a turn."""
    errs = chance.random(len(kinds)) < error
    answered = kinds <= UNANSWERABLE
    other = np.where(answered, (kinds + chance.integers(1, 4, len(kinds))) % 4, 9 - kinds)
    return np.where(errs, other, kinds)


def labelled(
    kinds: Whole, raters: Raters, chance: Generator
) -> tuple[list[tuple[int, ...]], Whole]:
    """The independent labels of each item, and what holds: agreed, decided, or the only one."""
    first, second = (said(kinds, raters.verdict, chance) for _rater in range(2))
    decided = np.where(first == second, first, said(kinds, raters.decider, chance))
    double = chance.random(len(kinds)) < raters.double
    labels: list[tuple[int, ...]] = [
        (one, other) if both else (one,)
        for one, other, both in zip(first.tolist(), second.tolist(), double.tolist(), strict=True)
    ]
    return labels, np.where(double, decided, first)


def pooled(
    month: Month, turns: Whole, raters: Raters, chance: Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Passages held relevant that were shown, and in the pool, after raters judged them."""
    shown, found = month.shown[turns], month.found[turns]
    error, decider = raters.passage, raters.decider
    # Both right, or one and who decides; a passage that does not answer rarely looks as if it did.
    held = (1 - error) ** 2 + 2 * error * (1 - error) * (1 - decider)
    rarely = error / 5
    wrongly = rarely**2 + 2 * rarely * (1 - rarely) * decider
    other_shown = np.minimum(month.k, month.pool[turns]) - np.minimum(shown, month.k)
    other = np.maximum(month.pool[turns] - found - other_shown, 0)
    of_shown = chance.binomial(shown, held) + chance.binomial(other_shown, wrongly)
    rest = chance.binomial(found - shown, held) + chance.binomial(other, wrongly)
    return of_shown.astype(float), (of_shown + rest).astype(float)


def figures(
    month: Month, turns: Whole, stratified: bool, raters: Raters, chance: Generator, seed: int
) -> dict[str, Estimate]:
    """The estimates of one labelled sample."""
    strata = month.stratum[turns] if stratified else np.zeros(len(turns), np.int64)
    populations = month.populations if stratified else np.array([float(len(month.kind))])
    is_, _corrected = estimating.corrected(*labelled(month.kind[turns], raters, chance), KINDS)
    answered, refused = is_[:, list(OF_ANSWERED)].sum(axis=1), is_[:, list(OF_REFUSED)].sum(axis=1)
    found, relevant = pooled(month, turns, raters, chance)

    def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Estimate:
        return estimating.share(part, whole, strata, populations)

    return {
        "accuracy": share(is_[:, RIGHT], answered),
        "recall": estimating.pooled(found, relevant, strata, populations, seed, replicates=400),
        "refusal precision": share(is_[:, REFUSED], refused),
        "refusal recall": share(is_[:, REFUSED], is_[:, REFUSED] + is_[:, UNANSWERABLE]),
    }


# --- again and again ----------------------------------------------------------------------


@dataclass
class Coverage:
    """How often the interval of a figure held its true value, and lay above or below it."""

    true: float
    covered: int = 0
    above: int = 0
    below: int = 0
    widths: float = 0.0
    apart: float = 0.0  # sum of estimate less truth
    repetitions: int = 0

    def count(self, estimate: Estimate) -> None:
        self.repetitions += 1
        self.above += estimate.low > self.true
        self.below += estimate.high < self.true
        self.covered = self.repetitions - self.above - self.below
        self.widths += estimate.high - estimate.low
        self.apart += (estimate.value or 0.0) - self.true

    @property
    def share(self) -> float:
        return self.covered / self.repetitions

    @property
    def width(self) -> float:
        return self.widths / self.repetitions

    @property
    def bias(self) -> float:
        return self.apart / self.repetitions


@dataclass
class Repeated:
    """A design, and what came of it."""

    name: str
    month: Month
    size: int
    stratified: bool = True
    raters: Raters = field(default_factory=Raters)
    figures: dict[str, Coverage] = field(default_factory=dict)

    def run(self, repetitions: int, seed: int) -> "Repeated":
        truth = self.month.truth
        self.figures = {name: Coverage(truth[name]) for name in FIGURES}
        # What pools bring is compared with what is known to answer, found or not.
        self.figures["recall known"] = Coverage(self.month.known_recall)
        for n in range(repetitions):
            chance = np.random.default_rng((seed, n))
            turns = drawn(self.month, self.size, self.stratified, chance)
            made = figures(self.month, turns, self.stratified, self.raters, chance, seed + n)
            for name, estimate in made.items():
                self.figures[name].count(estimate)
            self.figures["recall known"].count(made["recall"])
        return self


@dataclass(frozen=True)
class Verdicts:
    """Of certificates for a true accuracy: shares of 0–1."""

    true: float
    passed: float
    failed: float
    open: float

    def wrong(self, goal: float) -> float:
        return self.failed if self.true >= goal else self.passed


def verdicts(
    true: float, size: int, goal: float, raters: Raters, repetitions: int, seed: int
) -> Verdicts:
    """What certificates say of the accuracy of such months, each repetition a sample of its own."""
    month = generated(np.random.default_rng(seed), true)
    counts = {"pass": 0, "fail": 0, "open": 0}
    for n in range(repetitions):
        chance = np.random.default_rng((seed, n))
        turns = drawn(month, size, True, chance)
        turns = turns[month.kind[turns] <= UNANSWERABLE]  # the others say nothing of it
        is_, _corrected = estimating.corrected(*labelled(month.kind[turns], raters, chance), KINDS)
        whole = is_[:, list(OF_ANSWERED)].sum(axis=1)
        strata, populations = month.stratum[turns], month.populations
        made = estimating.share(is_[:, RIGHT], whole, strata, populations)
        counts[estimating.finding(made, goal)] += 1
    passed, failed, left = (counts[one] / repetitions for one in ("pass", "fail", "open"))
    return Verdicts(true, passed, failed, left)


def designs(month: Month, size: int) -> Sequence[Repeated]:
    """The ways of sampling and labelling that are tried."""
    return [
        Repeated("simple", month, size, stratified=False),
        Repeated("stratified", month, size),
        Repeated("stratified, a third labelled twice", month, size, raters=Raters(double=1 / 3)),
        Repeated("stratified, few labels", month, max(size // 4, 60)),
        Repeated("stratified, careless raters", month, size, raters=replace(Raters(), verdict=0.1)),
    ]


Say = Callable[[str], None]
