"""Milvus proposes: a collection for words (BM25 weights as sparse vectors) and one for each
embedding index, both partitioned by knowledge base.

`uri` is a cluster's address, or a file for milvus-lite in this process.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _

from knowledge.embedders import Vector
from knowledge.models import EmbeddingIndex
from knowledge.stores.outside import Outside, Words
from opsdesk.errors import StoreError

WORDS = "opsdesk_words"
VECTORS = "opsdesk_vectors_{}"
SECONDS = 5.0  # that a question waits
INDEXES = {  # field: kind of data, kind of index, metric, how it is built
    "weights": ("SPARSE_FLOAT_VECTOR", "SPARSE_INVERTED_INDEX", "IP", {}),
    "vector": ("FLOAT_VECTOR", "HNSW", "COSINE", {"M": 16, "efConstruction": 64}),
}


class MilvusStore(Outside):
    def __init__(self, uri: str, token: str = "") -> None:
        self.uri, self.token = uri, token
        self._known: set[str] = set()
        self._lock = threading.Lock()

    @cached_property
    def client(self) -> Any:
        from pymilvus import MilvusClient

        return MilvusClient(self.uri, token=self.token, timeout=SECONDS)

    def propose_words(self, words: Words, base_ids: Sequence[int], limit: int) -> list[int]:
        return self._search(WORDS, "weights", words, base_ids, limit, {})

    def propose_near(
        self, index: EmbeddingIndex, vector: Vector, base_ids: Sequence[int], limit: int
    ) -> list[int]:
        name = VECTORS.format(index.pk)
        return self._search(name, "vector", vector, base_ids, limit, {"ef": max(limit, 100)})

    def write_words(self, rows: Sequence[tuple[int, int, Words]]) -> None:
        self._upsert(WORDS, "weights", rows)

    def write_vectors(self, index: EmbeddingIndex, rows: Sequence[tuple[int, int, Vector]]) -> None:
        self._upsert(VECTORS.format(index.pk), "vector", rows)

    def erase(self, chunk_ids: Sequence[int]) -> None:
        with _said():
            for name in self._collections() if chunk_ids else ():
                self.client.delete(name, ids=list(chunk_ids))

    def clear(self) -> None:
        with _said():
            for name in self._collections():
                self.client.drop_collection(name)
        self._known.clear()

    def _collections(self) -> list[str]:
        prefix = VECTORS.format("")
        return [n for n in self.client.list_collections() if n == WORDS or n.startswith(prefix)]

    def _search(
        self,
        name: str,
        field: str,
        asked: Any,
        base_ids: Sequence[int],
        limit: int,
        reach: dict[str, int],
    ) -> list[int]:
        with _said():
            if name not in self._known and not self.client.has_collection(name):
                raise StoreError(_("Milvus has no collection %s yet.") % name, permanent=False)
            (hits,) = self.client.search(
                name,
                data=[asked],
                anns_field=field,
                limit=limit,
                filter=f"knowledge_base_id in {sorted(base_ids)}",
                search_params={"metric_type": INDEXES[field][2], "params": reach},
                output_fields=["chunk_id"],
            )
        self._known.add(name)
        return [hit["chunk_id"] for hit in hits]

    def _upsert(self, name: str, field: str, rows: Sequence[tuple[int, int, Any]]) -> None:
        if not rows:
            return
        with _said():
            self._make(name, field, len(rows[0][2]))
            self.client.upsert(
                name,
                [
                    {"chunk_id": chunk, "knowledge_base_id": base, field: value}
                    for chunk, base, value in rows
                ],
            )

    def _make(self, name: str, field: str, dimensions: int) -> None:
        with self._lock:
            if name in self._known or self.client.has_collection(name):
                self._known.add(name)
                return
            from pymilvus import DataType

            data, kind, metric, built = INDEXES[field]
            schema = self.client.create_schema(auto_id=False)
            schema.add_field("chunk_id", DataType.INT64, is_primary=True)
            schema.add_field("knowledge_base_id", DataType.INT64, is_partition_key=True)
            size = {"dim": dimensions} if field == "vector" else {}
            schema.add_field(field, DataType[data], **size)
            indexes = self.client.prepare_index_params()
            indexes.add_index(field, index_type=kind, metric_type=metric, params=built)
            self.client.create_collection(
                name, schema=schema, index_params=indexes, consistency_level="Strong"
            )
            self._known.add(name)


@contextmanager
def _said() -> Iterator[None]:
    """Milvus's errors as ours."""
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, ConnectionError) as error:
        logging.getLogger(__name__).debug("milvus", exc_info=True)
        raise StoreError(_("Milvus does not answer: %s") % error, permanent=False) from error
