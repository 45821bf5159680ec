"""The bases that a question is put to, as they stand when it is asked.

`Asked` is their ids, and goes wherever ids go. What a search has to know of the bases it reads in
one statement, and it remembers which terms were counted: all stages of a search see the same
moment, and nothing is asked twice. It is made for one search and goes with it.
"""

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.functional import cached_property

from knowledge.models import Calibration, EmbeddingIndex
from opsdesk.replicas import in_binary

LARGE = 100_000  # chunks, among which no way of finding has to look farther than among few
# Of a base what answers for it: the vectors, what it learned, how sure it must be. Each table more
# that is joined makes the server think much longer about the order than it takes to read them.
_STANDINGS = """
    SELECT base.id, base.version,
        coalesce((SELECT chunks FROM knowledge_lexicon WHERE knowledge_base_id = base.id), 0),
        (SELECT renewed_at FROM knowledge_vocabulary WHERE knowledge_base_id = base.id),
        index.id, index.embedder, index.model, index.dimensions, index.sparse, index.state,
        adapter.id, (SELECT made_at FROM knowledge_adaptervectors WHERE adapter_id = adapter.id),
        adapter.weight,
        calibration.id, calibration.threshold, calibration.intercept, calibration.coefficients
    FROM knowledge_knowledgebase base
    LEFT JOIN knowledge_embeddingindex index ON index.id = coalesce(base.index_id,
        (SELECT id FROM knowledge_embeddingindex WHERE state = 'active'))
    LEFT JOIN knowledge_adapter adapter ON adapter.knowledge_base_id = base.id
        AND adapter.active AND adapter.weight > 0 AND base.learns
    LEFT JOIN knowledge_calibration calibration ON calibration.knowledge_base_id = base.id
        AND calibration.active
    WHERE base.id = ANY(%s::bigint[]) ORDER BY base.id
"""


@dataclass(frozen=True)
class Standing:
    """One base."""

    base_id: int
    version: int
    chunks: int  # that answer or are hidden
    renewed_at: datetime.datetime | None  # its vocabulary
    index: EmbeddingIndex | None  # that answers for it: its own or the active one
    adapter: tuple[int, datetime.datetime, float] | None  # key, when its points were made, weight
    calibration: Calibration | None  # in use; of its fields those that judge


class Asked(tuple[int, ...]):
    """Ids of bases."""

    @cached_property
    def standings(self) -> list[Standing]:
        with in_binary() as cursor:
            cursor.execute(_STANDINGS, [list(self)])
            return [
                Standing(
                    base_id, version, chunks, renewed_at,
                    _index(*row[:6]),
                    (row[6], row[7], row[8]) if row[6] else None,
                    _calibration(base_id, *row[9:]),
                )
                for base_id, version, chunks, renewed_at, *row in cursor.fetchall()
            ]  # fmt: skip

    @cached_property
    def counts(self) -> dict[int, int]:
        """In how many chunks terms stand, by key, of those that were counted: for `weighing`."""
        return {}

    @cached_property
    def small(self) -> dict[object, bool]:
        """Whether few chunks are inside a scope: for `scope`."""
        return {}


def standings(base_ids: Sequence[int]) -> list[Standing]:
    """How bases stand, in the order of their ids; of `Asked` as they did when it was first read."""
    return (base_ids if isinstance(base_ids, Asked) else Asked(base_ids)).standings


def chunks(base_ids: Sequence[int]) -> int:
    """How many they have together."""
    return sum(one.chunks for one in standings(base_ids))


def farther(chunks: int) -> float:
    """How many times as far one looks among so many chunks to find as much as among LARGE: once
    more each time that they double (docs/scaling.md)."""
    return 1 + max(0.0, math.log2(max(1, chunks) / LARGE))


def _index(
    pk: int | None, embedder: str, model: str, dimensions: int, sparse: bool, state: str
) -> EmbeddingIndex | None:
    if pk is None:
        return None
    return EmbeddingIndex(
        pk=pk, embedder=embedder, model=model, dimensions=dimensions, sparse=sparse, state=state
    )


def _calibration(
    base_id: int, pk: int | None, threshold: float, intercept: float, coefficients: dict[str, float]
) -> Calibration | None:
    if pk is None:
        return None
    return Calibration(
        pk=pk,
        knowledge_base_id=base_id,
        threshold=threshold,
        intercept=intercept,
        coefficients=coefficients,
        active=True,
    )
