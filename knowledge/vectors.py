"""The rows of embedding indexes in PostgreSQL: put in, and ordered by how near they are.

Dense vectors are ordered exactly, or by the HNSW graph of their index where there is one.
Learned weights of tokens stand beside them in the same row.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pgvector import HalfVector, SparseVector

from knowledge.asked import chunks, farther
from knowledge.embedders import Meaning, Vector, Weights
from knowledge.models import Chunk, Embedding, EmbeddingIndex
from knowledge.scope import HIDDEN, Scope
from knowledge.stores import store
from knowledge.weighing import array
from opsdesk.replicas import Binary, connection, in_binary, together

DIMENSIONS = 1_000_000_000  # the most there is: no vocabulary has as many tokens
# Below, the exact order of all vectors takes under 30 ms (docs/chunking.md).
GRAPH_FROM = 20_000  # vectors
# Above, learned weights order what other stages found and find nothing by themselves
# (docs/retrieval.md): no index of pgvector gives their order.
SPARSE_UP_TO = 20_000  # chunks asked
# A graph is made in memory, or slowly: in as much as it takes, but so much at least, and at most so
# much or this share of what the server says it can hold in memory, whichever is more.
GRAPH_MEMORY_MB = (64, 1024)
CACHED = 0.25

ASKED = """
    index_id = {index:d} AND knowledge_base_id = ANY(%(bases)s::bigint[])
    AND NOT EXISTS (SELECT FROM hidden WHERE hidden.id = chunk_id)
"""


def insert(index: EmbeddingIndex, pairs: Iterable[tuple[Chunk, Meaning]]) -> None:
    rows = [
        Embedding(
            index=index,
            chunk=chunk,
            knowledge_base_id=chunk.knowledge_base_id,
            vector=meaning.vector,
            weights=_sparse(meaning.weights) if index.sparse else None,
        )
        for chunk, meaning in pairs
    ]
    Embedding.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)
    bases = {row.knowledge_base_id for row in rows}
    for base in bases:
        store().changed(base, [row.chunk_id for row in rows if row.knowledge_base_id == base])


def _sparse(weights: Weights | None) -> SparseVector | None:
    return None if weights is None else SparseVector(weights, DIMENSIONS)


# --- asking -----------------------------------------------------------------------


def nearest(
    index: EmbeddingIndex,
    vector: Vector,
    base_ids: Sequence[int],
    limit: int,
    scope: Scope,
) -> dict[int, float]:
    """The chunks nearest to `vector` with their cosine, nearest first.

    Exact, or by the HNSW index where there is one and the planner finds it cheaper; always
    exact in a scope so small that the graph might not come across it.
    """
    # A question's vector is long: it is read once, not for each place where it stands.
    distance = _distance(index, "(SELECT vector FROM asked)")
    # No graph gives the order of a sum.
    order = f"({distance}) + 0" if scope.small(base_ids, GRAPH_FROM) else distance
    # Twice as many candidates as are wanted (docs/scaling.md), up to the most that pgvector takes.
    reach = min(max(round(2 * limit * farther(chunks(base_ids))), 100), 1000)
    # Filters may leave out most of what the graph gives first: let it go on.
    settings = (
        "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true),"
        f" set_config('hnsw.ef_search', '{reach:d}', true)"
    )
    nearest_first = f"""
        WITH hidden AS MATERIALIZED ({HIDDEN}),
        asked AS MATERIALIZED (SELECT %(vector)s::{_kind(index)} AS vector)
        SELECT chunk_id, {distance} AS distance FROM knowledge_embedding
        WHERE {ASKED.format(index=index.pk)} {scope.condition}
        ORDER BY {order} LIMIT %(limit)s
    """  # noqa: S608 - numbers
    parameters: dict[str, Any] = scope.parameters(base_ids)
    parameters |= {"vector": _binary(vector), "limit": limit}
    # Sent together, they are one transaction.
    with together(), in_binary() as first, in_binary() as cursor:
        first.execute(settings)
        cursor.execute(nearest_first, parameters)
        found = [(chunk, 1.0 - apart) for chunk, apart in cursor.fetchall()]
    return dict(sorted(found, key=lambda hit: (-hit[1], hit[0])))  # the scan's order is relaxed


def heaviest(
    index: EmbeddingIndex, weights: Weights, base_ids: Sequence[int], limit: int, scope: Scope
) -> dict[int, float]:
    """The chunks whose learned weights meet those of a question best, with the inner product,
    if few enough chunks are asked to look at each."""
    if not (weights and (_few(base_ids) or scope.small(base_ids, SPARSE_UP_TO))):
        return {}
    best_first = f"""
        WITH hidden AS MATERIALIZED ({HIDDEN})
        SELECT chunk_id, -(weights <#> %(weights)s::sparsevec) AS score FROM knowledge_embedding
        WHERE {ASKED.format(index=index.pk)} {scope.condition} AND weights IS NOT NULL
        ORDER BY score DESC, chunk_id LIMIT %(limit)s
    """  # noqa: S608 - numbers
    parameters: dict[str, Any] = scope.parameters(base_ids)
    parameters |= {"weights": _text(weights), "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(best_first, parameters)
        return {chunk: score for chunk, score in cursor.fetchall() if score > 0}


def scores(
    index: EmbeddingIndex, meaning: Meaning, base_ids: Sequence[int], chunk_ids: Collection[int]
) -> dict[int, tuple[float, float | None]]:
    """The cosine and the inner product of the learned weights of given chunks, of those of these
    bases that the index holds."""
    with in_binary() as cursor:
        cursor.execute(
            f"SELECT chunk_id, 1 - ({_distance(index)}), -(weights <#> %(weights)s::sparsevec)"  # noqa: S608
            " FROM knowledge_embedding WHERE index_id = %(index)s"
            " AND chunk_id = ANY(%(chunks)s::bigint[])"
            # An index may still hold chunks of a base that another one answers for.
            " AND knowledge_base_id = ANY(%(bases)s::bigint[])",
            {
                "bases": list(base_ids),
                "vector": _binary(meaning.vector),
                "weights": _text(meaning.weights) if meaning.weights else None,
                "index": index.pk,
                "chunks": array(chunk_ids),
            },
        )
        return {chunk: (cosine, product) for chunk, cosine, product in cursor.fetchall()}


def rank(
    index: EmbeddingIndex, vector: Vector, base_ids: Sequence[int], chunk_id: int, scope: Scope
) -> tuple[int, float] | None:
    """Which place, from 1, a chunk has or would have if it answered, and its cosine; None
    without a vector. Looks at every vector."""
    distance = _distance(index)
    nearer = f"""
        WITH hidden AS MATERIALIZED ({HIDDEN}), mine AS (
            SELECT {distance} AS distance FROM knowledge_embedding
            WHERE index_id = {index.pk:d} AND chunk_id = %(chunk)s)
        SELECT mine.distance, (SELECT count(*) FROM knowledge_embedding
            WHERE {ASKED.format(index=index.pk)} {scope.condition}
                AND chunk_id <> %(chunk)s AND {distance} < mine.distance) FROM mine
    """  # noqa: S608 - numbers
    parameters = {**scope.parameters(base_ids), "vector": str(vector), "chunk": chunk_id}
    with connection.cursor() as cursor:
        cursor.execute(nearer, parameters)
        row = cursor.fetchone()
    return (row[1] + 1, 1.0 - row[0]) if row else None


def _distance(index: EmbeddingIndex, asked: str = "%(vector)s") -> str:
    """The type and the index's id stand in the text so that the partial index can be used."""
    return f"knowledge_embedding.vector::{_kind(index)} <=> {asked}::{_kind(index)}"


def _kind(index: EmbeddingIndex) -> str:
    return f"halfvec({index.dimensions:d})"


def _binary(vector: Vector) -> Binary:
    return Binary(HalfVector(vector).to_binary())


def _text(weights: Weights) -> str:
    return SparseVector(weights, DIMENSIONS).to_text()


def _few(base_ids: Sequence[int]) -> bool:
    return chunks(base_ids) <= SPARSE_UP_TO


# --- the HNSW graph of an index ---------------------------------------------------


def wants_graph(index: EmbeddingIndex) -> bool:
    return index.embeddings.count() >= GRAPH_FROM and not _has_graph(index)


def _graph(index: EmbeddingIndex) -> str:
    return f"embedding_hnsw_{index.pk:d}"


def _has_graph(index: EmbeddingIndex) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [_graph(index)]
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def make_graph(index: EmbeddingIndex) -> None:
    """Documents can be added meanwhile: the graph is made concurrently and takes them in."""
    # 905,000 vectors of 1,024 numbers took 2,430 MB: 770 bytes beside the numbers of each.
    memory = index.embeddings.count() * (index.dimensions * 2 + 800) // 2**20
    low, high = GRAPH_MEMORY_MB
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_size_bytes(current_setting('effective_cache_size'))")
        high = max(high, int(CACHED * cursor.fetchone()[0]) // 2**20)
        # What a killed attempt left is not valid.
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_graph(index)}")
        cursor.execute(f"SET maintenance_work_mem = '{min(max(memory, low), high)}MB'")
        # Parallel workers would need as much /dev/shm, which containers keep small.
        cursor.execute("SET max_parallel_maintenance_workers = 0")
        try:
            cursor.execute(
                f"CREATE INDEX CONCURRENTLY {_graph(index)} ON knowledge_embedding"
                f" USING hnsw ((vector::halfvec({index.dimensions:d})) halfvec_cosine_ops)"
                f" WITH (m = 16, ef_construction = 128) WHERE index_id = {index.pk:d}"
            )
        finally:
            cursor.execute("RESET maintenance_work_mem")
            cursor.execute("RESET max_parallel_maintenance_workers")


def drop_graph(index: EmbeddingIndex) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {_graph(index)}")
