"""A store outside PostgreSQL: kept up from an outbox, asked for proposals only.

Every change of a chunk's rows leaves its id in the outbox in the same transaction, and a task
brings the store up to date after it: what the database says then is written, what it does not
know is erased, so that the order of changes does not matter and doing it twice changes nothing.
Until then the chunks in the outbox are proposed beside what the store finds. A proposed chunk is
scored in PostgreSQL by its key: what is stale, hidden, out of scope or unknown is never found.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from django.conf import settings
from django_q.tasks import async_task
from pgvector import HalfVector, SparseVector

from knowledge import lexical, vectors
from knowledge.embedders import Meaning, Vector
from knowledge.models import Chunk, ChunkTerms, Embedding, EmbeddingIndex, StoreChange
from knowledge.scope import EVERYTHING, HIDDEN, Scope
from knowledge.stores.base import Store
from knowledge.weighing import Query
from opsdesk import locking, queues
from opsdesk.errors import StoreError
from opsdesk.replicas import connection

log = logging.getLogger(__name__)

GROUP = "store"
BATCH = 500  # chunks written at once
SPARE = 3  # times as many are proposed as are wanted: some will be hidden
MOST = 10_000  # proposed at once
WAITING = 2_000  # chunks of the outbox that a question looks at itself
Words = dict[int, float]  # weights by key of a term


class Outside(Store):
    """Base class: a store implements the six methods below, everything else is here.

    All raise StoreError when the store fails.
    """

    def propose_words(self, words: Words, base_ids: Sequence[int], limit: int) -> list[int]:
        """The ids of the chunks with the highest inner products."""
        raise NotImplementedError

    def propose_near(
        self, index: EmbeddingIndex, vector: Vector, base_ids: Sequence[int], limit: int
    ) -> list[int]:
        """The ids of the chunks whose vectors are nearest."""
        raise NotImplementedError

    def write_words(self, rows: Sequence[tuple[int, int, Words]]) -> None:
        """Put in or replace (chunk, base, weights)."""
        raise NotImplementedError

    def write_vectors(self, index: EmbeddingIndex, rows: Sequence[tuple[int, int, Vector]]) -> None:
        """Put in or replace (chunk, base, vector)."""
        raise NotImplementedError

    def erase(self, chunk_ids: Sequence[int]) -> None:
        """Take out all that is of these chunks; unknown ones do no harm."""
        raise NotImplementedError

    def clear(self) -> None:
        """Take out everything."""
        raise NotImplementedError

    # --- asking -----------------------------------------------------------------

    def best(
        self, asked: Query, base_ids: Sequence[int], limit: int, scope: Scope = EVERYTHING
    ) -> dict[int, float]:
        if lexical.few(asked, base_ids, scope):
            return super().best(asked, base_ids, limit, scope)
        words = asked.by_key()
        if not words:
            return {}
        found = self._found(
            lambda number: self.propose_words(words, base_ids, number),
            lambda ids: lexical.scores(asked, ids),
            base_ids, limit, scope,
        )  # fmt: skip
        if found is None:
            return super().best(asked, base_ids, limit, scope)
        return {chunk: score for chunk, score in found.items() if score > 0}

    def nearest(
        self,
        index: EmbeddingIndex,
        vector: Vector,
        base_ids: Sequence[int],
        limit: int,
        scope: Scope = EVERYTHING,
    ) -> dict[int, float]:
        if scope.small(base_ids, vectors.GRAPH_FROM):
            return super().nearest(index, vector, base_ids, limit, scope)

        def cosines(ids: Sequence[int]) -> dict[int, float]:
            scored = vectors.scores(index, Meaning(vector), base_ids, ids)
            return {chunk: cosine for chunk, (cosine, _) in scored.items()}

        found = self._found(
            lambda number: self.propose_near(index, vector, base_ids, number),
            cosines, base_ids, limit, scope,
        )  # fmt: skip
        return super().nearest(index, vector, base_ids, limit, scope) if found is None else found

    def _found(
        self,
        propose: Callable[[int], list[int]],
        score: Callable[[Sequence[int]], dict[int, float]],
        base_ids: Sequence[int],
        limit: int,
        scope: Scope,
    ) -> dict[int, float] | None:
        """The best `limit` of what is proposed and may answer; None when the store fails."""
        number = min(limit * SPARE, MOST)
        waiting = StoreChange.objects.filter(knowledge_base__in=base_ids).order_by("pk")
        unwritten = list(waiting.values_list("chunk_id", flat=True)[:WAITING])
        try:
            while True:
                proposed = propose(number)
                answering = _answering({*proposed, *unwritten}, base_ids, scope)
                if len(answering) >= limit or len(proposed) < number or number == MOST:
                    break
                number = min(number * 4, MOST)  # a filter leaves out most of them
        except StoreError as error:
            log.warning("asked without the other store: %s", error)
            return None
        scores = score(answering)
        return dict(sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:limit])

    # --- keeping up -------------------------------------------------------------

    def changed(self, base_id: int, chunk_ids: Sequence[int]) -> None:
        StoreChange.objects.bulk_create(
            [StoreChange(knowledge_base_id=base_id, chunk_id=chunk) for chunk in chunk_ids],
            batch_size=BATCH,
        )
        if chunk_ids:
            enqueue()

    def catch_up(self) -> int:
        """Write what waits in the outbox; how many changes that were. One process at a time."""
        done = 0
        with locking.held(GROUP) as alone:
            while alone and (rows := list(StoreChange.objects.order_by("pk")[:BATCH])):
                self.write(sorted({row.chunk_id for row in rows}))
                StoreChange.objects.filter(pk__in=[row.pk for row in rows]).delete()
                done += len(rows)
        return done

    def rebuild(self) -> int:
        """Empty it and write everything anew; how many chunks that were. Meanwhile too little is
        proposed: to be done before the store is switched on, or when it was lost."""
        self.clear()
        StoreChange.objects.all().delete()
        written = 0
        while ids := list(
            Chunk.objects.filter(pk__gt=written).order_by("pk").values_list("pk", flat=True)[:BATCH]
        ):
            self.write(ids)
            written = ids[-1]
        return Chunk.objects.count()

    def write(self, chunk_ids: Sequence[int]) -> None:
        """Make it say of these chunks what PostgreSQL says now."""
        terms = {row.chunk_id: row for row in ChunkTerms.objects.filter(pk__in=chunk_ids)}
        self.erase([chunk for chunk in chunk_ids if chunk not in terms])
        self.write_words([
            (row.chunk_id, row.knowledge_base_id, _by_key(row.weights)) for row in terms.values()
        ])  # fmt: skip
        for index in EmbeddingIndex.objects.all():
            rows = Embedding.objects.filter(index=index, chunk__in=chunk_ids)
            made = [(row.chunk_id, row.knowledge_base_id, _numbers(row.vector)) for row in rows]
            if made:
                self.write_vectors(index, made)


def enqueue() -> None:
    """Have the outbox written once this transaction is through, unless that is queued."""
    if GROUP not in queues.groups(taken=False):
        async_task(
            "knowledge.stores.outside.catch_up", group=GROUP, cluster=settings.Q_CLUSTER["name"]
        )


def catch_up() -> None:
    """A task, also by the clock for what a killed worker or a store that was down left."""
    from knowledge.stores import store

    chosen = store()
    if isinstance(chosen, Outside):
        chosen.catch_up()


def _answering(chunk_ids: Iterable[int], base_ids: Sequence[int], scope: Scope) -> list[int]:
    """Those of these bases that may answer within the scope."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH hidden AS MATERIALIZED ({HIDDEN})"  # noqa: S608
            " SELECT chunk_id FROM (SELECT id AS chunk_id FROM knowledge_chunk"
            " WHERE id = ANY(%(chunks)s) AND knowledge_base_id = ANY(%(bases)s)) AS proposed"
            " WHERE NOT EXISTS (SELECT FROM hidden WHERE hidden.id = chunk_id)"
            f" {scope.condition}",
            {**scope.parameters(base_ids), "chunks": list(chunk_ids)},
        )
        return [chunk for (chunk,) in cursor.fetchall()]


def _by_key(weights: SparseVector) -> Words:
    return dict(zip(weights.indices(), weights.values(), strict=True))


def _numbers(vector: list[float] | HalfVector) -> Vector:
    """As the driver gives it."""
    return vector if isinstance(vector, list) else vector.to_list()
