"""Two runs, question by question: what the second won and lost, and whether that is chance."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluation.models import Result, Run

RESAMPLES = 2000
WON, LOST, CHANGED, SAME = "won", "lost", "changed", "same"


@dataclass(frozen=True)
class Pair:
    before: Result
    after: Result

    @property
    def kind(self) -> str:
        if self.before.solved != self.after.solved:
            return WON if self.after.solved else LOST
        differs = self.before.outcome != self.after.outcome or self.before.text != self.after.text
        return CHANGED if differs else SAME


@dataclass(frozen=True)
class Difference:
    """How many pairs each won, by McNemar's exact test, and by how much a mean moved."""

    n: int
    won: int
    lost: int
    p: float  # of as uneven a split or more, if neither run were better
    before: float  # share solved
    after: float


@dataclass
class Comparison:
    pairs: list[Pair] = field(default_factory=list)

    def of(self, kind: str) -> list[Pair]:
        return [pair for pair in self.pairs if pair.kind == kind]

    @property
    def golden(self) -> "Comparison":
        return Comparison([one for one in self.pairs if one.after.key.startswith("g")])

    @property
    def traffic(self) -> "Comparison":
        return Comparison([one for one in self.pairs if one.after.key.startswith("t")])

    @property
    def difference(self) -> Difference:
        counted = Counter(pair.kind for pair in self.pairs)
        won, lost, n = counted[WON], counted[LOST], len(self.pairs)
        solved = [
            sum(one.solved for one in side) / n if n else 0.0
            for side in ([p.before for p in self.pairs], [p.after for p in self.pairs])
        ]
        return Difference(n, won, lost, mcnemar(won, lost), *solved)

    def moved(self, measure: Callable[[Result], float | None]) -> "Moved | None":
        """By how much the mean of `measure` is another, over pairs that have it twice."""
        both = [(measure(pair.before), measure(pair.after)) for pair in self.pairs]
        return moved([(one, two) for one, two in both if one is not None and two is not None])

    def by(self, name: Callable[[Result], Iterable[str]]) -> list[tuple[str, Difference]]:
        """The same by what `name` tells of a question, the most frequent first."""
        groups: dict[str, list[Pair]] = {}
        for pair in self.pairs:
            for one in name(pair.after):
                groups.setdefault(one, []).append(pair)
        found = [(one, Comparison(pairs).difference) for one, pairs in groups.items()]
        return sorted(found, key=lambda one: (-one[1].n, one[0]))


@dataclass(frozen=True)
class Moved:
    """The mean of paired differences with its 95 % bootstrap interval."""

    before: float
    after: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        return self.after - self.before


def compare(before: Run, after: Run) -> Comparison:
    """Over the questions that both asked, in the order of the second."""
    rows = Result.objects.exclude(outcome="").select_related("golden", "knowledge_base")
    first = {row.key: row for row in rows.filter(run=before)}
    second = rows.filter(run=after).order_by("position")
    return Comparison([Pair(first[row.key], row) for row in second if row.key in first])


def mcnemar(won: int, lost: int) -> float:
    """Two-sided, exact: each of the pairs that differ is a fair coin if neither is better."""
    from scipy.stats import binomtest  # takes a second

    return float(binomtest(min(won, lost), won + lost).pvalue) if won + lost else 1.0


def moved(pairs: Sequence[tuple[float, float]]) -> Moved | None:
    """Of values before and after, by percentiles of resampled questions; None of none."""
    if not pairs:
        return None
    values = np.array(pairs, dtype=float)
    apart = values[:, 1] - values[:, 0]
    drawn = np.random.default_rng(0).integers(0, len(apart), (RESAMPLES, len(apart)))
    low, high = np.quantile(apart[drawn].mean(axis=1), [0.025, 0.975])
    before, after = values.mean(axis=0)
    return Moved(float(before), float(after), float(low), float(high))
