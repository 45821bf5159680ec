"""The narrow interface of a store, and PostgreSQL behind it."""

from collections.abc import Sequence

from knowledge import lexical, vectors
from knowledge.embedders import Vector
from knowledge.models import EmbeddingIndex
from knowledge.scope import EVERYTHING, Scope
from knowledge.weighing import Query


class Store:
    """PostgreSQL, which has everything in its own tables. Another store is a subclass."""

    def best(
        self, asked: Query, base_ids: Sequence[int], limit: int, scope: Scope = EVERYTHING
    ) -> dict[int, float]:
        """The chunks with the highest scores by words (> 0), best first."""
        return lexical.best(asked, base_ids, limit, scope=scope)

    def nearest(
        self,
        index: EmbeddingIndex,
        vector: Vector,
        base_ids: Sequence[int],
        limit: int,
        scope: Scope = EVERYTHING,
    ) -> dict[int, float]:
        """The chunks whose vectors are nearest, with their cosine, nearest first."""
        return vectors.nearest(index, vector, base_ids, limit, scope)

    def changed(self, base_id: int, chunk_ids: Sequence[int]) -> None:
        """Rows of these chunks came, went or are others; inside the transaction that does it."""
