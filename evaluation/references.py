"""Libraries inside this process on the same data: what search in a database is measured beside."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.synthetic import Vectors
from knowledge import lexical, terms
from knowledge.weighing import K1, B, key

BUILD = {"M": 16, "ef_construction": 128}  # as the product's graph
REACHES = (16, 24, 32, 48, 64, 100, 150, 200, 300, 400, 600)  # tried until recall is equal

Found = dict[int, float]  # places in the corpus with their score, best first


class Words:
    """bm25s over the terms of all three views, which are one vocabulary to it."""

    def __init__(self, bags: Sequence[lexical.Bag]) -> None:
        import bm25s

        start = time.perf_counter()
        self._keys = np.unique(np.concatenate([bag.keys for bag in bags]))
        tokens = [
            np.repeat(
                np.searchsorted(self._keys, bag.keys).astype(np.int32), bag.counts.astype(int)
            )
            for bag in bags
        ]
        vocabulary = {str(term): number for number, term in enumerate(self._keys)}
        self._index = bm25s.BM25(k1=K1, b=B, method="lucene")
        self._index.index((tokens, vocabulary), show_progress=False)
        self.seconds = time.perf_counter() - start
        self.megabytes = sum(part.nbytes for part in self._index.scores.values()
                             if isinstance(part, np.ndarray)) / 2**20  # fmt: skip

    def best(self, question: str, limit: int, inside: NDArray[np.bool_] | None) -> Found:
        asked = terms.query_terms(question)
        keys = np.array([key(view, term) for view in asked for term in asked[view]], np.int64)
        places = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        known = places[self._keys[places] == keys]
        if not len(known):
            return {}
        scores = self._index.get_scores_from_ids(known, inside)
        first = np.argpartition(-scores, min(limit, len(scores) - 1))[:limit]
        order = first[np.argsort(-scores[first])]
        return dict(zip(order.tolist(), scores[order].tolist(), strict=True))


class Graph:
    """faiss' HNSW over whole vectors."""

    def __init__(self, vectors: Vectors) -> None:
        import faiss

        self._faiss: Any = faiss
        start = time.perf_counter()
        self._index: Any = faiss.IndexHNSWFlat(
            vectors.shape[1], BUILD["M"], faiss.METRIC_INNER_PRODUCT
        )
        self._index.hnsw.efConstruction = BUILD["ef_construction"]
        self._index.add(vectors)
        self.seconds = time.perf_counter() - start
        self.megabytes = vectors.nbytes / 2**20 + len(vectors) * BUILD["M"] * 2 * 4 / 2**20
        faiss.omp_set_num_threads(1)  # a question has one, like a backend of the database
        self.reach = 100

    def nearest(self, vector: Vectors, limit: int, inside: NDArray[np.bool_] | None) -> Found:
        options: dict[str, Any] = {"efSearch": max(self.reach, limit)}
        if inside is not None:
            options["sel"] = self._faiss.IDSelectorBatch(np.flatnonzero(inside))
        parameters = self._faiss.SearchParametersHNSW(**options)
        scores, places = self._index.search(vector[None], limit, params=parameters)
        return {
            place: score
            for place, score in zip(places[0].tolist(), scores[0].tolist(), strict=True)
            if place >= 0
        }

    def reach_for(self, wanted: float, recall: Callable[[], float]) -> None:
        """Look only as far as it takes to find as much as was found beside it."""
        for self.reach in REACHES:
            if recall() >= wanted:
                return


def fuse(words: Found, near: Found) -> list[int]:
    """Places by the sum of the z-scores of both, as the product weighs passages."""
    floors = min(words.values(), default=0.0), min(near.values(), default=0.0)
    places = list({**words, **near})
    raw = np.array([[words.get(p, floors[0]), near.get(p, floors[1])] for p in places])
    if not places:
        return []
    scaled = (raw - raw.mean(0)) / np.where(raw.std(0) > 0, raw.std(0), 1.0)
    return [places[n] for n in np.argsort(-(scaled @ [0.35, 0.65]))]
