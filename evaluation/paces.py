"""How long things took, as counts by bucket: what was counted apart is added up and still tells
its median. Buckets grow by a quarter, so a quantile is right within about a tenth."""

import math
from collections.abc import Iterable, Sequence

BUCKETS = 64  # 1 ms to 20 minutes
STEP = 1.25


def bucket(milliseconds: float) -> int:
    if milliseconds <= 1:
        return 0
    return min(BUCKETS - 1, int(math.log(milliseconds, STEP)))


def counts(times: Iterable[float]) -> list[float] | None:
    """Of times in milliseconds; None of none."""
    made = [0.0] * BUCKETS
    for one in times:
        made[bucket(one)] += 1
    return made if any(made) else None


def quantile(made: Sequence[float] | None, share: float) -> float | None:
    """Milliseconds that a `share` of what was timed did not exceed; None of none."""
    if made is None or not (total := sum(made)):
        return None
    wanted, before = share * total, 0.0
    for place, count in enumerate(made):
        if count and before + count >= wanted:
            return STEP ** (place + (wanted - before) / count)
        before += count
    return STEP**BUCKETS


def total(made: Sequence[float] | None) -> int:
    return 0 if made is None else round(sum(made))
