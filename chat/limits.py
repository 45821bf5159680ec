"""How much one visitor or address may send."""

import time

from django.core.cache import caches

MINUTE = 60


def allow(key: str, limit: int, seconds: int = MINUTE) -> bool:
    """Whether `key` did it at most `limit` times in this window of `seconds`; counts it.

    Each process counts minutes for itself: a message must not wait for a row that a whole company
    writes to. Longer windows are in the database.
    """
    cache = caches["local" if seconds <= MINUTE else "default"]
    window = f"limit:{key}:{int(time.time() // seconds)}"
    if cache.add(window, 1, seconds * 2):
        return True
    return cache.incr(window) <= limit
