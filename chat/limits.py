"""How much one visitor or address may send."""

import time

from django.core.cache import cache


def allow(key: str, limit: int, seconds: int = 60) -> bool:
    """Whether `key` did it at most `limit` times in this window of `seconds`; counts it."""
    window = f"limit:{key}:{int(time.time() // seconds)}"
    if cache.add(window, 1, seconds * 2):
        return True
    return cache.incr(window) <= limit
