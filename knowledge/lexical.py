"""Ranking by words inside PostgreSQL: exact BM25 over three views of every chunk.

A chunk is one row with one sparse vector: for each of its terms the BM25 share that
depends on the chunk alone, so a question's score is the inner product with the idf of
its terms. docs/retrieval.md has the measurements behind this choice of storage.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from knowledge import postings, terms, wire
from knowledge.models import Lexicon
from knowledge.scope import EVERYTHING, HIDDEN, Scope
from knowledge.stores import store
from knowledge.weighing import DIMENSIONS, K1, B, Query, array, key
from opsdesk.replicas import connection, in_binary

EXACT_CHUNKS = 5_000  # up to so many chunks every one is scored
EXACT_INSIDE = 20_000  # and up to so many inside a scope, which lists know nothing of
SPARE = 3  # above: times as many as are wanted, those that posting lists propose
MOST = 10_000  # and no more
STALE = 0.1  # relative change of the mean length after which weights are reckoned anew


class Bag(NamedTuple):
    """The terms of one chunk: parallel arrays by ascending key, and the chunk's length by view."""

    keys: NDArray[np.int32]
    counts: NDArray[np.float32]
    views: NDArray[np.int8]  # index into terms.VIEWS
    lengths: tuple[int, ...]


def bag(text: str) -> Bag:
    counted = terms.views(text)
    keys = np.array(
        [key(view, term) for view in terms.VIEWS for term in counted[view]], dtype=np.int32
    )
    counts = np.array([n for view in terms.VIEWS for n in counted[view].values()], np.float32)
    views = np.repeat(np.arange(3, dtype=np.int8), [len(counted[view]) for view in terms.VIEWS])
    distinct, first = np.unique(keys, return_index=True)
    lengths = tuple(counted[view].total() for view in terms.VIEWS)
    return Bag(distinct, counts[first], views[first], lengths)


class Indexed(Protocol):
    """A chunk, before it is a row, as a row, or found."""

    @property
    def heading_path(self) -> list[str]: ...
    @property
    def question(self) -> str: ...
    @property
    def questions(self) -> list[str]: ...
    @property
    def text(self) -> str: ...


def passage_text(title: str, chunk: Indexed) -> str:
    """What is indexed of a chunk, by words and by meaning. Title, headings and attached
    questions count like its other words, not more."""
    path = chunk.heading_path
    trail = path if path and path[0] == title else (title, *path)
    asked = [question for question in (chunk.question, *chunk.questions) if question != title]
    return "\n".join((*trail, *asked, chunk.text))


def weights(chunk: Bag, means: Sequence[float]) -> NDArray[np.float32]:
    """BM25 without idf, for each term of a chunk in a base of these mean lengths."""
    shares = np.array(
        [length / mean if mean else 1.0 for length, mean in zip(chunk.lengths, means, strict=True)]
    )
    damping = K1 * (1 - B + B * shares[chunk.views])
    return (chunk.counts * (K1 + 1) / (chunk.counts + damping)).astype(np.float32)


# --- writing ----------------------------------------------------------------------


class Row(NamedTuple):
    chunk_id: int
    bag: Bag


class Gone(NamedTuple):
    """What erased chunks take out of the counts: the keys and the lengths of each."""

    keys: list[NDArray[np.int32]]
    lengths: list[Sequence[int]]


def lock(base_id: int) -> Lexicon:
    """The base's lexicon, held until the transaction ends: its writers take turns.

    To be called after documents are locked and before any term is touched: in this order
    writers cannot deadlock.
    """
    Lexicon.objects.bulk_create(
        [Lexicon(knowledge_base_id=base_id, lengths=[0, 0, 0], means=[0, 0, 0])],
        ignore_conflicts=True,
    )
    return Lexicon.objects.select_for_update(of=("self",)).get(pk=base_id)


def erase(chunk_ids: Sequence[int]) -> Gone:
    """Delete the terms of chunks; to be followed by `change` in the same transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM knowledge_chunkterms WHERE chunk_id = ANY(%s)"
            " RETURNING sparsevec_send(weights), lengths, knowledge_base_id",
            [list(chunk_ids)],
        )
        rows = cursor.fetchall()
    for base_id in {base_id for _, _, base_id in rows}:
        store().changed(base_id, chunk_ids)
    return Gone([wire.keys(vector) for vector, _, _ in rows], [lengths for _, lengths, _ in rows])


def change(base_id: int, gone: Gone, new: Sequence[Row]) -> Lexicon:
    """Put the terms of chunks in, and correct all counts for them and for those erased."""
    lexicon = lock(base_id)
    lexicon.chunks += len(new) - len(gone.lengths)
    for row in new:
        lexicon.lengths = [
            total + n for total, n in zip(lexicon.lengths, row.bag.lengths, strict=True)
        ]
    for lengths in gone.lengths:
        lexicon.lengths = [total - n for total, n in zip(lexicon.lengths, lengths, strict=True)]
    if not any(lexicon.means):
        lexicon.means = true_means(lexicon)
    _copy(base_id, new, lexicon.means)
    _count(base_id, [row.bag.keys for row in new], gone.keys)
    lexicon.save()
    return lexicon


def add(base_id: int, batches: Iterable[Sequence[Row]]) -> Lexicon:
    """As `change` with nothing gone, of more rows than fit into memory at once.

    The base's lexicon is locked only at the end, so that other documents come in meanwhile.
    """
    known = Lexicon.objects.filter(pk=base_id).first()
    means = known.means if known and any(known.means) else []
    keys, counts = np.empty(0, np.int32), np.empty(0, np.int64)
    chunks, lengths = 0, np.zeros(3, np.int64)
    for rows in batches:
        chunks += len(rows)
        lengths += np.sum([row.bag.lengths for row in rows], axis=0)
        means = means or (lengths / chunks).tolist()
        _copy(base_id, rows, means)
        new = np.concatenate([row.bag.keys for row in rows])
        ones = np.ones(len(new), np.int64)
        keys, counts = _sums(np.concatenate([keys, new]), np.concatenate([counts, ones]))
    lexicon = lock(base_id)
    lexicon.chunks += chunks
    lexicon.lengths = (np.array(lexicon.lengths) + lengths).tolist()
    if not any(lexicon.means):
        lexicon.means = means or lexicon.means
    _change_counts(base_id, keys, counts)
    lexicon.save()
    return lexicon


def true_means(lexicon: Lexicon) -> list[float]:
    return [length / lexicon.chunks if lexicon.chunks else 0.0 for length in lexicon.lengths]


def stale(lexicon: Lexicon) -> bool:
    """Whether chunks have become so much longer or shorter that all weights should be renewed."""
    return off(lexicon) > STALE


def off(lexicon: Lexicon) -> float:
    """The largest relative change of a mean length since weights were reckoned."""
    changed = zip(true_means(lexicon), lexicon.means, strict=True)
    return max(abs(true - used) / used if used else float(bool(true)) for true, used in changed)


def _copy(base_id: int, rows: Sequence[Row], means: Sequence[float]) -> None:
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(
            "COPY knowledge_chunkterms (chunk_id, knowledge_base_id, weights, lengths)"
            " FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        # The server reads the bytes as its own wire format of vectors and arrays.
        copy.set_types(["int8", "int8", "bytea", "bytea"])
        for chunk_id, chunk in rows:
            vector = wire.sparse(DIMENSIONS, chunk.keys, weights(chunk, means))
            copy.write_row((chunk_id, base_id, vector, wire.integers(chunk.lengths)))
    written = [chunk_id for chunk_id, _ in rows]
    postings.pend(base_id, written)
    store().changed(base_id, written)


def _count(base_id: int, added: list[NDArray[np.int32]], gone: list[NDArray[np.int32]]) -> None:
    """Add to and subtract from the document frequencies what has changed, in key order."""
    nothing = np.empty(0, np.int32)
    keys = np.concatenate([nothing, *added, *gone])
    signs = np.ones(len(keys), np.int64)
    signs[sum(map(len, added)) :] = -1
    _change_counts(base_id, *_sums(keys, signs))


def _sums(keys: NDArray[np.int32], numbers: NDArray[np.int64]) -> tuple[Any, Any]:
    """Each key once, ascending, with the sum of its numbers."""
    distinct, places = np.unique(keys, return_inverse=True)
    sums = np.bincount(places, weights=numbers, minlength=len(distinct))
    return distinct, sums.astype(np.int64)


def _change_counts(base_id: int, keys: NDArray[np.int32], changes: NDArray[np.int64]) -> None:
    changed = changes != 0
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO knowledge_termcount AS old (knowledge_base_id, term, chunks)"
            " SELECT %s, term, change FROM unnest(%s::int4[], %s::int4[]) AS new (term, change)"
            " ON CONFLICT (knowledge_base_id, term)"
            " DO UPDATE SET chunks = old.chunks + excluded.chunks",
            [base_id, array(keys[changed]), array(changes[changed])],
        )


def recount(base_id: int) -> int:
    """Count a base's terms anew; how many counts were wrong. Inside a transaction."""
    lexicon = Lexicon.objects.select_for_update().filter(pk=base_id).first()
    if lexicon is None:
        return 0
    counts: dict[int, int] = {}
    chunks, totals = 0, np.zeros(3, np.int64)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sparsevec_send(weights), lengths FROM knowledge_chunkterms"
            " WHERE knowledge_base_id = %s",
            [base_id],
        )
        for vector, lengths in cursor:
            chunks, totals = chunks + 1, totals + np.array(lengths)
            for term in wire.keys(vector).tolist():
                counts[term] = counts.get(term, 0) + 1
    wrong = _correct(base_id, counts)
    lexicon.chunks, lexicon.lengths = chunks, totals.tolist()
    lexicon.save()
    return wrong


def _correct(base_id: int, counts: dict[int, int]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "MERGE INTO knowledge_termcount AS old"
            " USING unnest(%(terms)s::int4[], %(counts)s::int4[]) AS new (term, chunks)"
            " ON old.knowledge_base_id = %(base)s AND old.term = new.term"
            " WHEN MATCHED AND old.chunks <> new.chunks THEN UPDATE SET chunks = new.chunks"
            " WHEN NOT MATCHED THEN INSERT (knowledge_base_id, term, chunks)"
            " VALUES (%(base)s, new.term, new.chunks)",
            {"base": base_id, "terms": array(counts), "counts": array(counts.values())},
        )
        wrong = cursor.rowcount
        cursor.execute(
            "DELETE FROM knowledge_termcount WHERE knowledge_base_id = %s AND"
            " NOT term = ANY(%s::int4[]) RETURNING chunks <> 0",
            [base_id, array(counts)],
        )
        return wrong + sum(row[0] for row in cursor.fetchall())


# --- asking -----------------------------------------------------------------------


SCORED = f"""
    WITH hidden AS MATERIALIZED ({HIDDEN})
    SELECT chunk_id, {{score}} AS score FROM knowledge_chunkterms
    WHERE knowledge_base_id = ANY(%(bases)s::bigint[])
        AND {{chosen}} AND NOT EXISTS (SELECT FROM hidden WHERE hidden.id = chunk_id) {{inside}}
"""  # noqa: S608


def best(
    asked: Query, base_ids: Sequence[int], limit: int, scope: Scope = EVERYTHING
) -> dict[int, float]:
    """The chunks with the highest scores (> 0), best first.

    Every chunk is scored where few are asked or few are inside the scope, else those that posting
    lists propose.
    """
    if not asked.by_key():
        return {}
    if few(asked, base_ids, scope):
        return _best(asked, base_ids, limit, scope, None)
    number = min(SPARE * limit, MOST)
    while True:
        proposed = postings.propose(asked, base_ids, number)
        found = _best(asked, base_ids, limit, scope, proposed.chunks)
        if len(found) >= limit or proposed.all or number == MOST:
            return found
        number = min(number * 4, MOST)  # a filter leaves out most of them


def _best(
    asked: Query, base_ids: Sequence[int], limit: int, scope: Scope, among: Sequence[int] | None
) -> dict[int, float]:
    scored, parameters = _scored(asked, base_ids, scope, among)
    with in_binary() as cursor:
        cursor.execute(
            f"{scored} ORDER BY score DESC, chunk_id LIMIT %(limit)s",
            {**parameters, "limit": limit},
        )
        return {chunk: score for chunk, score in cursor.fetchall() if score > 0}


def rank(asked: Query, base_ids: Sequence[int], chunk_id: int, scope: Scope) -> int | None:
    """Which place, from 1, a chunk has or would have if it answered; None if it is not scored:
    no term of the question stands in it, or posting lists propose others."""
    score = scores(asked, [chunk_id]).get(chunk_id, 0.0)
    if score <= 0:
        return None
    listed = not few(asked, base_ids, scope)
    among = postings.propose(asked, base_ids, MOST).chunks if listed else None
    if among is not None and chunk_id not in among:
        return None
    scored, parameters = _scored(asked, base_ids, scope, among)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM ({scored}) found WHERE chunk_id <> %(chunk)s"  # noqa: S608
            " AND (score > %(least)s OR score = %(least)s AND chunk_id < %(chunk)s)",
            {**parameters, "least": score, "chunk": chunk_id},
        )
        return int(cursor.fetchone()[0]) + 1


def by_view(asked: Query, chunk_ids: Sequence[int]) -> dict[int, dict[str, float]]:
    """The scores of chunks in their parts: by view, and what words for terms bring."""
    known, groups = asked.vectors()
    numbers = {
        view: {key(view, term) for of, term in asked.near | asked.idf if of == view}
        for view in terms.VIEWS
    }
    vectors = {
        view: {term: worth for term, worth in known.items() if term in numbers[view]}
        for view in terms.VIEWS
    }
    product = "-(weights <#> %s::sparsevec)"
    best = [f"greatest({', '.join([product] * len(ways))})" for ways in groups] or ["0"]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT chunk_id, {product}, {product}, {product}, {' + '.join(best)}"  # noqa: S608
            " FROM knowledge_chunkterms WHERE chunk_id = ANY(%s)",
            [
                *map(_text, vectors.values()),
                *map(_text, chain.from_iterable(groups)),
                list(chunk_ids),
            ],
        )
        return {
            chunk: dict(zip([*terms.VIEWS, "terms"], parts, strict=True))
            for chunk, *parts in cursor.fetchall()
        }


def _scored(
    asked: Query, base_ids: Sequence[int], scope: Scope, among: Sequence[int] | None
) -> tuple[str, dict[str, Any]]:
    """SQL of the chunks with their scores, of all or of those `among` these, and its parameters.
    Some term of the question has to be known."""
    score, vectors = _score(asked)
    chosen = "true" if among is None else "chunk_id = ANY(%(among)s::bigint[])"
    parameters = {**scope.parameters(base_ids), **vectors, "among": array(among or ())}
    return SCORED.format(score=score, chosen=chosen, inside=scope.condition), parameters


def few(asked: Query, base_ids: Sequence[int], scope: Scope) -> bool:
    """Whether every chunk is scored."""
    most = EXACT_INSIDE if scope else EXACT_CHUNKS
    return asked.chunks <= most or scope.small(base_ids, most)


def _score(asked: Query) -> tuple[str, dict[str, str]]:
    """The score in SQL, and its parameters; none of them when nothing of the question is known."""
    known, groups = asked.vectors()
    vectors: dict[str, str] = {}

    def product(vector: dict[int, float]) -> str:
        name = f"vector{len(vectors)}"
        vectors[name] = _text(vector)
        # The operator gives the negative inner product.
        return f"-(weights <#> %({name})s::sparsevec)"

    parts = [product(known)]
    parts += [f"greatest({', '.join(map(product, ways))})" for ways in groups if any(ways)]
    return " + ".join(parts), vectors if known or len(parts) > 1 else {}


def scores(asked: Query, chunk_ids: Sequence[int]) -> dict[int, float]:
    """The scores of given chunks."""
    score, vectors = _score(asked)
    if not vectors or not chunk_ids:
        return dict.fromkeys(chunk_ids, 0.0)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT chunk_id, {score} FROM knowledge_chunkterms"  # noqa: S608
            " WHERE chunk_id = ANY(%(chunks)s)",
            {**vectors, "chunks": list(chunk_ids)},
        )
        return dict(cursor.fetchall())


def beside(
    asked: Query, found: Iterable[int], missed: Sequence[int]
) -> tuple[dict[int, str], dict[int, float]]:
    """The kind of chunks that were `found` and of others that were `missed`, and of these the
    score; of what is there."""
    score, vectors = _score(asked)
    with in_binary() as cursor:
        cursor.execute(
            "SELECT id, kind, NULL FROM knowledge_chunk WHERE id = ANY(%(found)s::bigint[])"  # noqa: S608
            f" UNION ALL SELECT id, kind, {score if vectors else 'NULL'} FROM knowledge_chunk"
            " LEFT JOIN knowledge_chunkterms ON chunk_id = id"
            " WHERE id = ANY(%(missed)s::bigint[])",
            {**vectors, "missed": array(missed), "found": array(found)},
        )
        rows = cursor.fetchall()
    scores = {chunk: score for chunk, _kind, score in rows if score is not None}
    return {chunk: kind for chunk, kind, _score in rows}, scores


def _text(values: dict[int, float]) -> str:
    """pgvector's text format, which counts from 1."""
    return f"{{{','.join(f'{k + 1}:{v}' for k, v in values.items())}}}/{DIMENSIONS}"
