"""Vectors of no model, for measuring speed: clustered and of uneven spread, as models make them.

A topic has documents, a document pieces, a chunk is made of two pieces; what they share lies in
few directions (the variance of the nth falls as n^-0.8, so that about a hundred of 1,024 count)
and all vectors lean to one side, so that two at random have a cosine of about .35. Uniform noise
would flatter a graph of bits, which knows directions only, and a question that is near nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOPICS = 200
TOPIC, DOCUMENT, PIECE = 0.6, 0.6, 0.53  # shares whose squares add up to 1
QUESTION = 0.7  # of the chunk that answers, the rest is noise
FALL = -0.4  # of the deviation
LEAN = 0.35  # cosine of two at random

Vectors = NDArray[np.float32]


class Space:
    """Vectors of length 1 of chunks and of questions, the same for the same seed."""

    def __init__(self, documents: int, dimensions: int, seed: int) -> None:
        chance = np.random.default_rng(seed)
        spread = np.arange(1, dimensions + 1, dtype=np.float32) ** FALL
        turned, _ = np.linalg.qr(chance.standard_normal((dimensions, dimensions)))
        self._turn = (spread[:, None] * turned).astype(np.float32)
        length = float(np.sqrt((spread**2).sum() * LEAN / (1 - LEAN)))
        self._lean = np.full(dimensions, length / np.sqrt(dimensions), np.float32)
        topics = chance.standard_normal((TOPICS, dimensions), np.float32)
        own = chance.standard_normal((documents, dimensions), np.float32)
        about = chance.integers(TOPICS, size=documents)
        self._documents = TOPIC * topics[about] + DOCUMENT * own
        self._dimensions = dimensions
        self._seed = seed

    def chunks(self, pairs: Sequence[tuple[int, int]], first: int) -> Vectors:
        """Of chunks made of pieces of these two documents each; `first` is the number of the
        first one, that each has the same noise however many are made at once."""
        return self._seen(self._meant(pairs, first))

    def questions(self, pairs: Sequence[tuple[int, int]], numbers: Sequence[int]) -> Vectors:
        """Of questions that the chunks with these numbers answer."""
        meant = np.concatenate(
            [self._meant([pair], number) for pair, number in zip(pairs, numbers, strict=True)]
        )
        noise = np.random.default_rng(self._seed + 1).standard_normal(meant.shape, np.float32)
        return self._seen(QUESTION * meant + np.sqrt(1 - QUESTION**2) * noise)

    def _meant(self, pairs: Sequence[tuple[int, int]], first: int) -> Vectors:
        noise = np.stack(
            [
                np.random.default_rng([self._seed, first + n]).standard_normal(
                    self._dimensions, np.float32
                )
                for n in range(len(pairs))
            ]
        )
        both = self._documents[np.array(pairs)].sum(axis=1) / np.sqrt(2)
        meant: Vectors = (both + PIECE * noise).astype(np.float32)
        return meant

    def _seen(self, meant: Vectors) -> Vectors:
        seen: Any = meant @ self._turn + self._lean
        normal: Vectors = seen / np.linalg.norm(seen, axis=1, keepdims=True)
        return normal
