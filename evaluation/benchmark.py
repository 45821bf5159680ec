"""How fast words are written and ranked, and what candidates miss, at any number of chunks."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.utils import timezone

from evaluation.metrics import mean, percentile, recall_at
from evaluation.question_sets import QuestionSet
from knowledge import indexing, lexical, retrieval, sentences, weighing
from knowledge.chunking import ChunkDraft
from knowledge.models import Document, KnowledgeBase, Revision
from knowledge.parsing.document import ParsedDocument

SLUG = "bench-search"
SEED = 20_000
HALF = 350  # characters at most; a chunk is made of two such pieces
DOCUMENT = 1000  # chunks
RANKS = (1, 5, 10)

Rank = Callable[[weighing.Query], list[str]]  # chunks, best first


@contextmanager
def temporary_base() -> Iterator[KnowledgeBase]:
    """A knowledge base that nobody may read; what a killed run left is replaced."""
    KnowledgeBase.objects.filter(slug=SLUG).delete()
    base = KnowledgeBase.objects.create(
        slug=SLUG, name=SLUG, audience=KnowledgeBase.Audience.GROUPS
    )
    try:
        yield base
    finally:
        base.delete()


def fill(base: KnowledgeBase, sets: Sequence[QuestionSet], chunks: int) -> dict[str, Any]:
    """Put in `chunks` texts, each of two pieces of different documents; how fast, how large.

    The sizes are of whole tables: they say something in a database that holds nothing else.
    """
    texts = _recombined(sets, chunks)
    cutting = writing = 0.0
    for start in range(0, chunks, DOCUMENT):
        began = time.perf_counter()
        prepared = _prepared(texts[start : start + DOCUMENT])
        cut = time.perf_counter()
        indexing.put_all([(_revision(base, str(start)), prepared)])
        cutting += cut - began
        writing += time.perf_counter() - cut
    with connection.cursor() as cursor:  # as autovacuum does sooner or later
        cursor.execute("VACUUM (ANALYZE) knowledge_chunkterms, knowledge_termcount")
    return {
        "chunks": chunks,
        "vectors MB": _size("pg_table_size", "knowledge_chunkterms"),
        "indexes MB": _size("pg_indexes_size", "knowledge_chunkterms"),
        "counts MB": _size("pg_total_relation_size", "knowledge_termcount"),
        "cutting words, chunks/s": chunks / cutting,
        "writing, chunks/s": chunks / writing,
    }


def _recombined(sets: Sequence[QuestionSet], chunks: int) -> list[str]:
    rows = [row for one in sets for row in one.rows]
    pieces = [(row.id, piece) for row in rows for piece in sentences.fit(row.text, HALF)]
    if chunks < 1 or len({row for row, _ in pieces}) < 2:
        raise ValueError("one chunk of two documents is the least")
    chance = random.Random(SEED)  # noqa: S311 - the same every time is what is wanted
    texts: list[str] = []
    while len(texts) < chunks:
        (one, first), (other, second) = chance.sample(pieces, 2)
        if one != other:
            texts.append(f"{first}\n{second}")
    return texts


def _prepared(texts: list[str]) -> indexing.Prepared:
    drafts = [ChunkDraft("text", [], "", text, None, None, "", [], []) for text in texts]
    bags = [lexical.bag(text) for text in texts]
    return indexing.Prepared(ParsedDocument().to_json(), [], drafts, texts, bags)


def _revision(base: KnowledgeBase, name: str) -> Revision:
    document = Document.objects.create(
        knowledge_base=base, title=name, external_id=name, approved_at=timezone.now()
    )
    return Revision.objects.create(document=document, name=name, media_type="text/plain", size=0)


def _size(function: str, table: str) -> float:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s::regclass)", [table])
        return float(cursor.fetchone()[0]) / 2**20


# --- asking -------------------------------------------------------------------------


def questions(base: KnowledgeBase, sets: Sequence[QuestionSet], most: int) -> list[weighing.Query]:
    """So many questions of the sets, always the same, that share a term with the base."""
    texts = [question.text for one in sets for question in one.questions]
    chosen = random.Random(SEED).sample(texts, min(most, len(texts)))  # noqa: S311
    asked = [query for text in chosen if (query := weighing.query(text, [base.pk])).counts]
    if not asked:
        raise ValueError("no question has a word in common with the corpus")
    return asked


def best(base: KnowledgeBase, candidates: float) -> Rank:
    """The product's ranking; with `math.inf` candidates it is exact."""
    return lambda asked: [
        str(chunk) for chunk in lexical.best(asked, [base.pk], retrieval.CANDIDATES, candidates)
    ]


def timed(rank: Rank, asked: Sequence[weighing.Query]) -> tuple[list[list[str]], dict[str, Any]]:
    """What is found, and the milliseconds a question."""
    found, times = [], []
    rank(asked[0])  # what is slow only once
    for query in asked:
        start = time.perf_counter()
        found.append(rank(query))
        times.append((time.perf_counter() - start) * 1000)
    return found, {"p50 ms": percentile(times, 0.5), "p95 ms": percentile(times, 0.95)}


def recall(found: list[list[str]], exact: list[list[str]]) -> dict[str, Any]:
    """The share of the exact first k that is among the first k found."""
    pairs = list(zip(found, exact, strict=True))
    return {
        f"recall@{k}": mean(recall_at(k, mine, gold[:k]) for mine, gold in pairs) for k in RANKS
    }


# --- the storage that was not chosen ------------------------------------------------

POSTINGS = """
    CREATE TEMPORARY TABLE bench_postings AS
    SELECT split_part(pair, ':', 1)::int - 1 AS term, chunk_id,
        split_part(pair, ':', 2)::real AS weight
    FROM knowledge_chunkterms,
        string_to_table(btrim(split_part(weights::text, '/', 1), '{}'), ',') AS pair
    WHERE knowledge_base_id = %s
"""
BEST = """
    SELECT chunk_id FROM bench_postings
    JOIN unnest(%s::int4[], %s::float8[]) AS asked (term, worth) USING (term)
    GROUP BY chunk_id ORDER BY sum(weight * worth) DESC, chunk_id LIMIT %s
"""


@contextmanager
def postings(base: KnowledgeBase) -> Iterator[tuple[Rank, dict[str, Any]]]:
    """The same weights as a row for each term of each chunk, with a covering B-tree."""
    with connection.cursor() as cursor:
        # Temporary tables have buffers of their own: as many as the others have.
        cursor.execute(
            "SELECT set_config('temp_buffers', current_setting('shared_buffers'), false)"
        )
        start = time.perf_counter()
        cursor.execute(POSTINGS, [base.pk])
        written = time.perf_counter()
        cursor.execute("CREATE INDEX ON bench_postings (term) INCLUDE (chunk_id, weight)")
        indexed = time.perf_counter()
        cursor.execute("VACUUM (ANALYZE) bench_postings")

        def rank(asked: weighing.Query) -> list[str]:
            known = asked.known()
            cursor.execute(BEST, [list(known), list(known.values()), retrieval.CANDIDATES])
            return [str(chunk) for (chunk,) in cursor.fetchall()]

        size = _size("pg_total_relation_size", "bench_postings")
        yield rank, {"MB": size, "writing s": written - start, "index s": indexed - written}
        cursor.execute("DROP TABLE bench_postings")
