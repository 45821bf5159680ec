"""From labels to figures: shares with intervals that fit how the sample was drawn.

Pure functions over arrays, one entry an item; strata are numbers from 0, `populations` their sizes.
Which interval keeps its word was chosen by `manage.py simulate_month` (docs/evaluation.md).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy  # its parts are imported when they are used: they take a second
from numpy.typing import NDArray

CONFIDENCE = 0.95
# How many labels' worth a stratum's variance is drawn to that of all: few labels that happen to
# agree must not look certain.
DRAWN = 30
FEWEST_DOUBLED = 10  # items of two raters from which on their errors correct the others
REPLICATES = 1000
FEWEST_DRAWN = 5  # questions that are worth drawing again
SETTLED = 1e-9  # what is left of a variance by rounding

Numbers = NDArray[np.float64]
Method = Literal["exact", "stratified", "bootstrap", "all"]
Finding = Literal["pass", "fail", "open"]


@dataclass(frozen=True)
class Estimate:
    """A share of 0–1 with its 95 % interval; None of nothing. `n` counts what it is a share of,
    `effective` is how many labels of a simple sample would tell as much."""

    value: float | None
    low: float = 0.0
    high: float = 1.0
    n: int = 0
    effective: float = 0.0
    method: Method = "exact"

    def without(self, missing: float) -> "Estimate":
        """As sure as it can be while `missing` of the traffic (0–1) may be anything."""
        low, high = self.low * (1 - missing), self.high * (1 - missing) + missing
        return replace(self, low=low, high=high)


NOTHING = Estimate(None)


def exact(right: float, n: float, method: Method = "exact") -> Estimate:
    """Clopper and Pearson's interval; of no whole numbers where weights leave so many labels."""
    if n <= 0:
        return NOTHING
    rest, tail = max(n - right, 0.0), (1 - CONFIDENCE) / 2
    low = float(scipy.stats.beta.ppf(tail, right, rest + 1)) if right > SETTLED else 0.0
    high = float(scipy.stats.beta.ppf(1 - tail, right + 1, rest)) if rest > SETTLED else 1.0
    return Estimate(right / n, low, high, round(n), n, method)


def share(
    part: Numbers, whole: Numbers, strata: NDArray[np.int64], populations: Numbers
) -> Estimate:
    """What share of `whole` is `part`, each stratum counting for its population.

    Numbers of 0 and 1, or expected ones after `corrected`. A simple sample has one stratum. The
    interval is that of a simple sample that tells as much (Korn and Graubard 1998), each stratum's
    variance drawn to that of all.
    """
    n = round(float(whole.sum()))
    if n <= 0 or whole.sum() <= 0:
        return NOTHING
    counts = np.bincount(strata, minlength=len(populations)).astype(float)
    simple = len(np.unique(strata)) == 1 and bool((counts < populations).any())
    if simple and _whole(part) and _whole(whole):
        return exact(float(part.sum()), float(whole.sum()))
    drawn = np.maximum(counts, 1)
    weights = (populations / drawn)[strata]
    total = float((weights * whole).sum())
    value = float((weights * part).sum()) / total
    apart = part - value * whole
    agreed = (value * n + 2) / (n + 4)  # never 0 or 1
    usual = max(float((weights * apart**2).sum()) / total, agreed * (1 - agreed))
    means = np.bincount(strata, apart, len(populations)) / drawn
    of_whole = np.bincount(strata, whole, len(populations)) / drawn
    squares = np.bincount(strata, (apart - means[strata]) ** 2, len(populations))
    spread = (squares + DRAWN * usual * of_whole) / (drawn - 1 + DRAWN)
    left = 1 - counts / np.maximum(populations, drawn)
    variance = float((populations**2 * left * spread / drawn * (counts > 0)).sum()) / total**2
    value = min(max(value, 0.0), 1.0)
    if variance <= SETTLED**2:  # all of them were labelled
        return Estimate(value, value, value, n, math.inf, "all")
    effective = agreed * (1 - agreed) / variance
    return replace(exact(value * effective, effective, "stratified"), n=n)


def _whole(numbers: Numbers) -> bool:
    return bool(np.isin(numbers, (0.0, 1.0)).all())


# --- recall from pools --------------------------------------------------------------------


def pooled(
    found: Numbers,
    relevant: Numbers,
    strata: NDArray[np.int64],
    populations: Numbers,
    seed: int,
    replicates: int = REPLICATES,
) -> Estimate:
    """Relevant passages that were retrieved among those of the pool, over questions.

    Questions are drawn again within their strata (Rao and Wu 1988, for small and finite ones); the
    interval is on the scale of log odds, with Student's t. `n` counts questions with something
    relevant in their pool; those without count as drawn.
    """
    n = int((relevant > 0).sum())
    if not n:
        return NOTHING
    counts = np.bincount(strata, minlength=len(populations)).astype(float)
    weights = (populations / np.maximum(counts, 1))[strata]
    total = float((weights * relevant).sum())
    value = float((weights * found).sum()) / total
    if (counts >= populations).all():  # all of them were labelled
        return Estimate(value, value, value, n, math.inf, "all")
    if value in (0.0, 1.0) or n < FEWEST_DRAWN:  # drawn again it is the same
        held = weights * (relevant > 0)
        effective = float(held.sum() ** 2 / (held**2).sum())
        return replace(exact(value * effective, effective, "bootstrap"), n=n)
    again = _again(weights * found, weights * relevant, strata, counts, populations, seed, replicates)  # fmt: skip  # noqa: E501
    some = again[1] > SETTLED
    error = float(np.std(again[0][some] / again[1][some], ddof=1))
    if error <= SETTLED:
        return Estimate(value, value, value, n, math.inf, "all")
    free = max(n - len(np.unique(strata[relevant > 0])), 1)
    odds, odd = math.log(value / (1 - value)), value * (1 - value)
    around = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, free)) * error / odd
    low, high = (1 / (1 + math.exp(-(odds + way * around))) for way in (-1, 1))
    return Estimate(value, low, high, n, odd / error**2, "bootstrap")


def _again(
    found: Numbers,
    relevant: Numbers,
    strata: NDArray[np.int64],
    counts: Numbers,
    populations: Numbers,
    seed: int,
    replicates: int,
) -> tuple[Numbers, Numbers]:
    """Both totals, of questions drawn again."""
    chance = np.random.default_rng(seed)
    totals = [np.full(replicates, found.sum()), np.full(replicates, relevant.sum())]
    alone = counts[strata] < 2  # strata of one question are drawn as one
    groups = [(np.flatnonzero(alone), 0.0)] if alone.any() else []
    for stratum in np.unique(strata[~alone]):
        drawn = float(counts[stratum]) / max(float(populations[stratum]), 1.0)
        groups.append((np.flatnonzero(strata == stratum), min(drawn, 1.0)))
    for members, drawn in groups:
        size = max(len(members) - 1, 1)
        places = members[chance.integers(0, len(members), (replicates, size))]
        for total, values in zip(totals, (found, relevant), strict=True):
            mean = values[members].mean()
            total += math.sqrt(1 - drawn) * len(members) * (values[places].mean(axis=1) - mean)
    return totals[0], totals[1]


# --- raters -------------------------------------------------------------------------------


def corrected(
    said: Sequence[Sequence[int]], final: Sequence[int] | NDArray[np.int64], kinds: int
) -> tuple[Numbers, bool]:
    """How much each item is of each of the `kinds` (items × kinds), and whether raters' errors
    were corrected.

    `said` are the independent labels of an item, `final` what holds after adjudication. What two
    raters labelled tells how often one of them errs; what one labelled is put right by it (double
    sampling, Tenenbein 1970). Means over items are right; a single item may lie outside 0–1.
    """
    held = np.eye(kinds)[list(final)] if len(final) else np.zeros((0, kinds))
    doubled = np.array([len(labels) > 1 for labels in said], bool)
    share_doubled = float(doubled.mean()) if len(doubled) else 0.0
    if doubled.all() or doubled.sum() < FEWEST_DOUBLED:
        return held, bool(len(doubled) and doubled.all())
    heard = np.array([np.eye(kinds)[list(labels)].mean(axis=0) for labels in said])
    counts = heard[doubled].T @ held[doubled] + np.eye(kinds)  # by what was said: what it was
    expected = heard @ (counts / counts.sum(axis=1, keepdims=True))
    expected[doubled] += (held[doubled] - expected[doubled]) / share_doubled
    return expected, True


@dataclass(frozen=True)
class Agreement:
    """Cohen's κ of two raters with its 95 % interval, and the share they agreed in."""

    kappa: float | None
    low: float = -1.0
    high: float = 1.0
    agreed: float | None = None
    n: int = 0


def agreement(pairs: Sequence[tuple[Any, Any]]) -> Agreement:
    """κ of what two raters said of the same items; the interval is that of Fleiss, Cohen and
    Everitt (1969). None where both said but one thing; without interval where one of them did."""
    if not pairs:
        return Agreement(None)
    names = sorted({one for pair in pairs for one in pair}, key=str)
    table = np.zeros((len(names), len(names)))
    for first, second in pairs:
        table[names.index(first), names.index(second)] += 1
    n, table = len(pairs), table / len(pairs)
    rows, columns, same = table.sum(axis=1), table.sum(axis=0), float(np.trace(table))
    chance = float(rows @ columns)
    if chance >= 1 - SETTLED:
        return Agreement(None, agreed=same, n=n)
    kappa = (same - chance) / (1 - chance)
    if max(rows.max(), columns.max()) >= 1 - SETTLED:  # it is 0, whatever they say
        return Agreement(kappa, agreed=same, n=n)
    of_both = np.add.outer(columns, rows)  # of row i and column j: columns[i] + rows[j]
    on = table.diagonal() @ (1 - (rows + columns) * (1 - kappa)) ** 2
    off_table = table - np.diag(table.diagonal())
    off = (1 - kappa) ** 2 * float((off_table * of_both**2).sum())
    rest = (kappa - chance * (1 - kappa)) ** 2
    error = math.sqrt(max(float(on) + off - rest, 0.0) / n) / (1 - chance)
    around = float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2)) * error
    return Agreement(kappa, max(kappa - around, -1.0), min(kappa + around, 1.0), same, n)


# --- against a goal -----------------------------------------------------------------------


def finding(estimate: Estimate, goal: float) -> Finding:
    """Whether the goal is reached, by the whole interval."""
    if estimate.value is None:
        return "open"
    return "pass" if estimate.low >= goal else "fail" if estimate.high < goal else "open"


def needed(true: float, goal: float) -> int | None:
    """About how many labels of a simple sample show on which side of the goal a share lies (385
    for .93 and .90); None where it lies on it."""
    z = float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2))
    apart = abs(true - goal)
    return math.ceil(z**2 * goal * (1 - goal) / apart**2) if apart > SETTLED else None


def more(estimate: Estimate, goal: float) -> int | None:
    """How many more labels, drawn as these were, would decide if the share is what it seems; at
    least one, as it is open. None where no number would, or nothing is known."""
    if estimate.value is None or estimate.effective <= 0:
        return None
    if (enough := needed(estimate.value, goal)) is None:
        return None
    return max(math.ceil(enough * estimate.n / estimate.effective) - estimate.n, 1)


def for_width(half: float, expected: float) -> int:
    """How many labels bring an interval of ± `half` around a share that is expected so."""
    z = float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2))
    return math.ceil(z**2 * expected * (1 - expected) / half**2)
