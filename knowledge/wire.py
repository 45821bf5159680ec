"""How PostgreSQL and pgvector write arrays and sparse vectors, in their binary formats."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

INT4 = 23  # PostgreSQL's number for the type


def integers(values: ArrayLike) -> bytes:
    """An int4[]."""
    numbers = np.asarray(values)
    head = np.array([1, 0, INT4, len(numbers), 1], dtype=">i4")
    body = np.full((len(numbers), 2), 4, dtype=">i4")  # each after its size in bytes
    body[:, 1] = numbers
    return head.tobytes() + body.tobytes()


def sparse(dimensions: int, keys: NDArray[np.int32], values: NDArray[np.float32]) -> bytes:
    """A sparsevec; `keys` count from 0 and ascend."""
    head = np.array([dimensions, len(keys), 0], dtype=">i4")
    return head.tobytes() + keys.astype(">i4").tobytes() + values.astype(">f4").tobytes()


def keys(vector: bytes | memoryview) -> NDArray[np.int32]:
    """Those of a sparsevec."""
    count = int(np.frombuffer(vector, ">i4", 1, offset=4)[0])
    return np.frombuffer(vector, ">i4", count, offset=12).astype(np.int32)


def unpacked(vector: bytes | memoryview) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The keys of a sparsevec with their values."""
    known = keys(vector)
    return known, np.frombuffer(vector, ">f4", len(known), offset=12 + 4 * len(known)).astype("f4")
