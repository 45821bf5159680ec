"""Measures of retrieval and of answering: pure; shares are 0–1, None where nothing is measured."""

from collections.abc import Collection, Hashable, Iterable, Sequence


def distinct(items: Iterable[str]) -> list[str]:
    """The items without repetitions, each where it stood first."""
    return list(dict.fromkeys(items))


def hit_at(k: int, ranking: Sequence[str], gold: Collection[str]) -> bool:
    """Whether a gold document is among the first `k`."""
    return any(item in gold for item in ranking[:k])


def recall_at(k: int, ranking: Sequence[Hashable], gold: Collection[Hashable]) -> float:
    """The share of the gold documents among the first `k`."""
    return len(set(ranking[:k]) & set(gold)) / len(set(gold))


def reciprocal_rank(k: int, ranking: Sequence[str], gold: Collection[str]) -> float:
    """1 ÷ the rank of the first gold document, 0 when it is not among the first `k`."""
    return next((1 / rank for rank, item in enumerate(ranking[:k], 1) if item in gold), 0.0)


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """The probability that a positive scores above a negative; ties count half."""
    if not positives or not negatives:
        return None
    ordered = sorted([*positives, *negatives])
    first: dict[float, int] = {}
    last: dict[float, int] = {}
    for rank, score in enumerate(ordered, 1):
        first.setdefault(score, rank)
        last[score] = rank
    ranks = sum((first[score] + last[score]) / 2 for score in positives)
    pairs = len(positives) * len(negatives)
    return (ranks - len(positives) * (len(positives) + 1) / 2) / pairs


def mean(values: Iterable[float]) -> float | None:
    held = list(values)
    return sum(held) / len(held) if held else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of all values do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)]
