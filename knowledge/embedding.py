"""Vectors of chunks in the database: building an index beside the one that answers, and asking it.

An EmbeddingIndex remembers which embedder made it, so the old one goes on answering, asked
through its own embedder, while another is built after the settings changed. A chunk without
a vector is still found by its words; `build` gives it one, however it came to miss it.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from knowledge.embedders import Embedder, Vector
from knowledge.lexical import passage_text
from knowledge.models import Chunk, Embedding, EmbeddingIndex, KnowledgeBase
from knowledge.scope import EVERYTHING, HIDDEN, Scope
from opsdesk import locking, queues
from opsdesk.backends import backend
from opsdesk.errors import Conflict, ModelError

log = logging.getLogger(__name__)
State = EmbeddingIndex.State
GROUP = "embedding:%d"
# Below, the exact order of all vectors takes under 30 ms (docs/chunking.md).
GRAPH_FROM = 20_000  # vectors
GRAPH_SECONDS = 6 * 3600
GRAPH_MEMORY_MB = (64, 1024)  # it is made in memory, or slowly
SLICE_SECONDS = 60.0  # of one task: documents that wait in the same queue get their turn


# --- Embedders ------------------------------------------------------------------
def configured() -> EmbeddingIndex | None:
    """The index, unsaved, that `settings.EMBEDDER` asks for; None when it asks for none."""
    embedder = backend("embedder")
    if embedder is None:
        return None
    return EmbeddingIndex(
        embedder=settings.EMBEDDER, model=embedder.model, dimensions=embedder.dimensions
    )


def embedder_of(index: EmbeddingIndex) -> Embedder:
    """The embedder that made `index`; a permanent ModelError when it is not configured any more."""
    wanted = (index.embedder, index.model, index.dimensions)
    chosen = backend("embedder")
    if chosen and wanted == (settings.EMBEDDER, chosen.model, chosen.dimensions):
        return chosen  # so that a model is loaded once
    return _embedder(*wanted)


@cache
def _embedder(name: str, model: str, dimensions: int) -> Embedder:
    config = settings.EMBEDDERS.get(name)
    if config is None:
        raise ModelError(
            _("There is no embedder called %(name)s in the settings.") % {"name": name},
            permanent=True,
        )
    options = {**config.get("OPTIONS", {}), "model": model, "dimensions": dimensions}
    made: Embedder = import_string(config["BACKEND"])(**options)
    return made


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "EMBEDDERS":
        _embedder.cache_clear()


setting_changed.connect(_forget)


# --- Asking ---------------------------------------------------------------------
def active() -> EmbeddingIndex | None:
    """The index that answers, if one does."""
    return EmbeddingIndex.objects.filter(state=State.ACTIVE).first()


def nearest(
    index: EmbeddingIndex,
    query: str,
    base_ids: Sequence[int],
    limit: int,
    scope: Scope = EVERYTHING,
) -> list[tuple[int, float]]:
    """The ids of the chunks that mean most nearly `query`, with their cosine, nearest first.

    Exact, or by the HNSW index where there is one and the planner finds it cheaper; always
    exact in a scope so small that the graph might not come across it. Raises ModelError when
    the embedder fails.
    """
    vector = embedder_of(index).query(query)
    # The type and the index's id stand in the text so that the partial index can be used.
    kind = f"halfvec({index.dimensions:d})"
    distance = f"vector::{kind} <=> %(vector)s::{kind}"
    # No graph gives the order of a sum.
    order = f"({distance}) + 0" if scope.small(base_ids, GRAPH_FROM) else distance
    nearest_first = f"""
        WITH hidden AS MATERIALIZED ({HIDDEN})
        SELECT chunk_id, {distance} AS distance FROM knowledge_embedding
        WHERE index_id = {index.pk:d} AND knowledge_base_id = ANY(%(bases)s)
            AND NOT EXISTS (SELECT FROM hidden WHERE hidden.id = chunk_id) {scope.condition}
        ORDER BY {order} LIMIT %(limit)s
    """  # noqa: S608 - both are numbers
    parameters: dict[str, Any] = scope.parameters(base_ids)
    parameters |= {"vector": str(vector), "limit": limit}
    reach = str(min(max(limit, 100), 1000))  # the most that pgvector takes
    with transaction.atomic(), connection.cursor() as cursor:
        # Filters may leave out most of what the graph gives first: let it go on.
        cursor.execute("SET LOCAL hnsw.iterative_scan = relaxed_order")
        cursor.execute("SELECT set_config('hnsw.ef_search', %s, true)", [reach])
        cursor.execute(nearest_first, parameters)
        found = [(chunk, 1.0 - apart) for chunk, apart in cursor.fetchall()]
    return sorted(found, key=lambda hit: (-hit[1], hit[0]))  # the scan's order is relaxed


def rank(
    index: EmbeddingIndex, query: str, base_ids: Sequence[int], chunk_id: int, scope: Scope
) -> tuple[int, float] | None:
    """Which place, from 1, a chunk has or would have if it answered, and its cosine; None
    without a vector. Looks at every vector. Raises ModelError when the embedder fails."""
    vector = embedder_of(index).query(query)
    kind = f"halfvec({index.dimensions:d})"
    nearer = f"""
        WITH hidden AS MATERIALIZED ({HIDDEN}), mine AS (
            SELECT vector::{kind} <=> %(vector)s::{kind} AS distance FROM knowledge_embedding
            WHERE index_id = {index.pk:d} AND chunk_id = %(chunk)s)
        SELECT mine.distance, (SELECT count(*) FROM knowledge_embedding
            WHERE index_id = {index.pk:d} AND knowledge_base_id = ANY(%(bases)s)
                AND chunk_id <> %(chunk)s
                AND NOT EXISTS (SELECT FROM hidden WHERE hidden.id = chunk_id) {scope.condition}
                AND vector::{kind} <=> %(vector)s::{kind} < mine.distance) FROM mine
    """  # noqa: S608 - both are numbers
    parameters = {**scope.parameters(base_ids), "vector": str(vector), "chunk": chunk_id}
    with connection.cursor() as cursor:
        cursor.execute(nearer, parameters)
        row = cursor.fetchone()
    return (row[1] + 1, 1.0 - row[0]) if row else None


# --- Along with documents -------------------------------------------------------
def vectors_for(texts: Sequence[str]) -> dict[int, list[Vector]]:
    """The vectors of new passages by the id of each index that must hold them.

    An embedder that fails loses nobody a document: its index is left out and `catch_up`
    has it filled later.
    """
    made = {}
    for index in EmbeddingIndex.objects.filter(state__in=[State.ACTIVE, State.BUILDING]):
        try:
            made[index.pk] = list(embedder_of(index).passages(texts))
        except ModelError as error:
            log.warning("no vectors for %d passages in index %d: %s", len(texts), index.pk, error)
    return made


def save(vectors: dict[int, list[Vector]], chunks: Sequence[Chunk]) -> None:
    """Store what `vectors_for` the texts of `chunks` gave, in the caller's transaction."""
    indexes = EmbeddingIndex.objects.filter(pk__in=vectors).select_for_update(no_key=True)
    for index in indexes.order_by("pk"):  # one that was dropped meanwhile is not there
        _insert(index, zip(chunks, vectors[index.pk], strict=True))


def catch_up() -> None:
    """Queue the building of every live index that misses vectors and is not queued; also a task
    by the clock, for what a failing embedder or a killed worker left."""
    for index in EmbeddingIndex.objects.filter(state__in=[State.ACTIVE, State.BUILDING]):
        behind = index.state == State.BUILDING or missing(index).exists()
        if behind and GROUP % index.pk not in queues.groups():
            enqueue(index.pk)


# --- Building -------------------------------------------------------------------
def create() -> EmbeddingIndex:
    """The index of the configured embedder: the one there is, or a new one; its building queued.

    Conflict when no embedder is configured.
    """
    wanted = configured()
    if wanted is None:
        raise Conflict(_("No embedder is configured: set OPSDESK_EMBEDDER."))
    with transaction.atomic():
        _lock()
        index = same_as(wanted) or wanted
        if index.state == State.FAILED:
            index.state = State.BUILDING
        index.error = ""
        index.total = Chunk.objects.count()
        index.save()
        enqueue(index.pk)
    return index


def same_as(wanted: EmbeddingIndex) -> EmbeddingIndex | None:
    """The stored index of the same embedder, model and dimensions."""
    return EmbeddingIndex.objects.filter(
        embedder=wanted.embedder, model=wanted.model, dimensions=wanted.dimensions
    ).first()


def enqueue(index_id: int) -> None:
    # `advance` ends by itself, but for the making of a large graph.
    async_task(
        "knowledge.embedding.build",
        index_id,
        group=GROUP % index_id,
        cluster=settings.Q_CLUSTER["name"],
        timeout=GRAPH_SECONDS,
    )


def build(index_id: int) -> None:
    """Work on an index for a while and queue the rest; a task."""
    if not advance(index_id, SLICE_SECONDS):
        enqueue(index_id)


def advance(index_id: int, seconds: float) -> bool:
    """Add missing vectors for about `seconds`; True when there is nothing left to do.

    Idempotent, and what is committed stays when the process is killed. Does nothing while
    another process is at it. The first index takes over when it is complete; while another one
    answers it waits for `activate`. A ModelError that may pass is raised, to be tried again.
    """
    with _alone(index_id) as alone:
        index = EmbeddingIndex.objects.exclude(state=State.FAILED).filter(pk=index_id).first()
        if index is None or not alone:
            return True
        try:
            if not _fill(index, time.monotonic() + seconds):
                return False
        except ModelError as error:
            _complain(index, error)
            if error.permanent:
                return True
            raise
        if index.embeddings.count() >= GRAPH_FROM and not _has_graph(index):
            _make_graph(index)
        return _finish(index)


def missing(index: EmbeddingIndex) -> QuerySet[Chunk]:
    """The chunks without a vector in `index`."""
    held = Embedding.objects.filter(index=index, chunk=OuterRef("pk"))
    return Chunk.objects.filter(~Exists(held)).order_by("pk")


def _fill(index: EmbeddingIndex, deadline: float) -> bool:
    """Whether every chunk has its vector; those added meanwhile too."""
    embedder = embedder_of(index)
    index.total, index.done = Chunk.objects.count(), index.embeddings.count()
    index.save(update_fields=["total", "done"])
    last = 0
    rest = missing(index).select_related("document")
    while chunks := list(rest.filter(pk__gt=last)[: embedder.batch_size]):
        texts = list(map(_passage, chunks))
        _store(index, chunks, list(embedder.passages(texts)))
        last = chunks[-1].pk
        if time.monotonic() > deadline:
            break
    return not missing(index).exists()


def _store(index: EmbeddingIndex, chunks: list[Chunk], vectors: list[Vector]) -> None:
    """Save the vectors of the chunks that still read so, in an index that is still there."""
    with transaction.atomic():
        if not EmbeddingIndex.objects.select_for_update(no_key=True).filter(pk=index.pk).exists():
            return
        held = Chunk.objects.select_for_update(no_key=True, of=("self",)).order_by("pk")
        now = held.select_related("document").in_bulk([chunk.pk for chunk in chunks])
        pairs = [
            (chunk, vector)
            for chunk, vector in zip(chunks, vectors, strict=True)
            if chunk.pk in now and _passage(now[chunk.pk]) == _passage(chunk)
        ]
        _insert(index, pairs)
        EmbeddingIndex.objects.filter(pk=index.pk).update(done=F("done") + len(pairs))


def _passage(chunk: Chunk) -> str:
    return passage_text(chunk.document.title, chunk)


def _insert(index: EmbeddingIndex, pairs: Iterable[tuple[Chunk, Vector]]) -> None:
    rows = [
        Embedding(
            index=index, chunk=chunk, knowledge_base_id=chunk.knowledge_base_id, vector=vector
        )
        for chunk, vector in pairs
    ]
    Embedding.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)


def _complain(index: EmbeddingIndex, error: ModelError) -> None:
    """Say on the index why it does not come on; one that answers goes on answering."""
    index.error = str(error)
    if error.permanent and index.state == State.BUILDING:
        index.state = State.FAILED
    index.save(update_fields=["error", "state"])


def _finish(index: EmbeddingIndex) -> bool:
    with transaction.atomic():
        _lock()
        index.refresh_from_db()
        if missing(index).exists():
            return False
        index.total = index.done = index.embeddings.count()
        index.error = ""
        if index.state == State.BUILDING:
            index.state = State.READY
        index.save()
        if index.state == State.READY and index.activated_at is None and active() is None:
            activate(index)
    return True


# --- Taking over and going back -------------------------------------------------
def activate(index: EmbeddingIndex) -> None:
    """Let a complete index answer from now on; the one that did is kept, to go back to.

    Conflict when `index` is not complete. One that was left behind by later uploads answers at
    once and is brought up to date by the worker.
    """
    with transaction.atomic():
        _lock()
        index.refresh_from_db()
        if index.state == State.ACTIVE:
            return
        if index.state != State.READY:
            raise Conflict(_("This index is not complete yet."))
        EmbeddingIndex.objects.filter(state=State.ACTIVE).update(state=State.READY)
        index.state, index.activated_at = State.ACTIVE, timezone.now()
        index.save(update_fields=["state", "activated_at"])
        _answers_change()
        catch_up()


def go_back() -> EmbeddingIndex | None:
    """Let the index answer that did before; None, and only words rank, when there is none."""
    with transaction.atomic():
        _lock()
        current = active()
        before = EmbeddingIndex.objects.filter(state=State.READY, activated_at__isnull=False)
        previous = before.order_by("-activated_at").first() if current else None
        EmbeddingIndex.objects.filter(state=State.ACTIVE).update(state=State.READY)
        if previous:
            activate(previous)
        _answers_change()
    return previous


def drop(index: EmbeddingIndex) -> None:
    """Delete an index with its vectors; Conflict for the one that answers."""
    with transaction.atomic():
        _lock()
        index.refresh_from_db()
        if index.state == State.ACTIVE:
            raise Conflict(_("This index answers. Go back from it before you delete it."))
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX IF EXISTS {_graph(index)}")
        index.delete()


def _answers_change() -> None:
    KnowledgeBase.objects.all().raise_version()


def _lock() -> None:
    """One at a time may change which indexes there are, until its transaction ends."""
    locking.wait("embedding indexes")


def _alone(index_id: int) -> AbstractContextManager[bool]:
    """Whether this process is the only one that builds the index."""
    return locking.held(f"embedding index {index_id}")


# --- The HNSW graph of an index -------------------------------------------------
def _graph(index: EmbeddingIndex) -> str:
    return f"embedding_hnsw_{index.pk:d}"


def _has_graph(index: EmbeddingIndex) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [_graph(index)]
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def _make_graph(index: EmbeddingIndex) -> None:
    """Documents can be added meanwhile: the graph is made concurrently and takes them in."""
    memory = index.embeddings.count() * (index.dimensions * 2 + 500) // 2**20
    low, high = GRAPH_MEMORY_MB
    with connection.cursor() as cursor:
        # What a killed attempt left is not valid.
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_graph(index)}")
        cursor.execute(f"SET maintenance_work_mem = '{min(max(memory, low), high)}MB'")
        # Parallel workers would need as much /dev/shm, which containers keep small.
        cursor.execute("SET max_parallel_maintenance_workers = 0")
        try:
            cursor.execute(
                f"CREATE INDEX CONCURRENTLY {_graph(index)} ON knowledge_embedding"
                f" USING hnsw ((vector::halfvec({index.dimensions:d})) halfvec_cosine_ops)"
                f" WITH (m = 16, ef_construction = 64) WHERE index_id = {index.pk:d}"
            )
        finally:
            cursor.execute("RESET maintenance_work_mem")
            cursor.execute("RESET max_parallel_maintenance_workers")
