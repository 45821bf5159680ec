"""How alike two texts are: the share of runs of SHINGLE letters that both have."""

import re

from knowledge import scope

SHINGLE = 4  # characters
ALIKE = 0.8  # Jaccard similarity of two passages that say the same
_NOISE = re.compile(r"[\W_]+")


def normal(text: str) -> str:
    """What is compared of a text: its letters."""
    return _NOISE.sub("", scope.fold(text))


def shingles(text: str) -> set[bytes]:
    plain = normal(text)
    return {plain[at : at + SHINGLE].encode() for at in range(max(1, len(plain) - SHINGLE + 1))}


def similarity(one: set[bytes], other: set[bytes]) -> float:
    """Jaccard: shared runs ÷ all runs, 0–1."""
    together = len(one & other)
    return together / (len(one) + len(other) - together)
