"""A knowledge base of any size: real sentences recombined across documents, synthetic vectors.

Everything is written as the product writes it, but for the vectors, which are copied in.
"""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol

import numpy as np
from django.conf import settings
from django.db import connection
from django.test.utils import override_settings
from django.utils import timezone
from pgvector import HalfVector

from evaluation import import_benchmark
from evaluation.question_sets import Question, Row
from evaluation.synthetic import Space, Vectors
from knowledge import demo, embedding, indexing, lexical, postings, sentences, vectors, weighing
from knowledge.chunking import ChunkDraft
from knowledge.embedders import Embedder
from knowledge.models import Chunk, Document, EmbeddingIndex, KnowledgeBase, Revision
from knowledge.parsing.document import ParsedDocument

SLUG = "bench"
SEED = 20_000
HALF = 350  # characters at most; a chunk is made of two such pieces
DOCUMENT = 50  # chunks
STEP = 1000  # chunks written at once
RARE = 100  # every so many-th document is about the product that is asked for
PRODUCT = "bench"
NAME = "synthetic"


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


class Texts(Protocol):
    """A question set, or what stands for one."""

    @property
    def name(self) -> str: ...
    @property
    def rows(self) -> list[Row]: ...
    @property
    def questions(self) -> list[Question]: ...


class DemoTexts:
    """The sentences of the demo documents, a few a row, for who has no question sets."""

    name = "the demo documents"

    @cached_property
    def rows(self) -> list[Row]:
        lines = import_benchmark.sentences()
        parts = ["\n\n".join(lines[n : n + 3]) for n in range(0, len(lines), 3)]
        return [Row(str(n), part[:30], part) for n, part in enumerate(parts)]

    @cached_property
    def questions(self) -> list[Question]:
        return [
            Question(row["id"], row["question"], frozenset(), (), row["answerable"])
            for row in demo.questions()
        ]


class Known(Embedder):
    """Gives each question the vector made for it."""

    questions: dict[str, list[float]] = {}

    def embed_batch(self, texts: list[str]) -> Sequence[Sequence[float]]:
        return [self.questions[text] for text in texts]


class Corpus:
    """Recombined texts, their terms and vectors, and questions; more are made as it grows."""

    def __init__(self, sets: Sequence[Texts], chunks: int, dimensions: int) -> None:
        rows = [row for one in sets for row in one.rows]
        self.pieces = [
            (n, piece) for n, row in enumerate(rows) for piece in sentences.fit(row.text, HALF)
        ]
        self._drawn = _drawn(self.pieces, chunks)
        # Of the document of each piece, by chunk.
        self.pairs = [(self.pieces[one][0], self.pieces[two][0]) for one, two in self._drawn]
        self.space = Space(max(map(max, self.pairs)) + 1, dimensions, SEED)
        self.bags: list[lexical.Bag] = []
        self.vectors: Vectors = np.empty((0, dimensions), np.float32)

    def text(self, chunk: int) -> str:
        return "\n".join(self.pieces[n][1] for n in self._drawn[chunk])

    def bag(self, chunk: int) -> lexical.Bag:
        return together(*(self._bags[n] for n in self._drawn[chunk]))

    @cached_property
    def _bags(self) -> list[lexical.Bag]:
        return [lexical.bag(piece) for _document, piece in self.pieces]

    def ask(self, base: KnowledgeBase, sets: Sequence[Texts], most: int) -> None:
        """Questions of the sets, each near some chunk of the smallest size."""
        texts = _questions(base, sets, most)
        chance = random.Random(SEED)  # noqa: S311
        numbers = [chance.randrange(len(self.bags)) for _ in texts]
        self.questions = texts
        self.asked = self.space.questions([self.pairs[n] for n in numbers], numbers)
        Known.questions = dict(zip(texts, self.asked.tolist(), strict=True))


def _drawn(pieces: Sequence[tuple[int, str]], chunks: int) -> list[tuple[int, int]]:
    """For each chunk two pieces of different documents."""
    if chunks < 1 or len({document for document, _ in pieces}) < 2:
        raise ValueError("one chunk of two documents is the least")
    chance = random.Random(SEED)  # noqa: S311 - the same every time is what is wanted
    drawn: list[tuple[int, int]] = []
    while len(drawn) < chunks:
        one, two = chance.sample(range(len(pieces)), 2)
        if pieces[one][0] != pieces[two][0]:
            drawn.append((one, two))
    return drawn


def together(one: lexical.Bag, two: lexical.Bag) -> lexical.Bag:
    """The terms of two texts, each on lines of its own: no term goes from line to line."""
    keys, first, places = np.unique(
        np.concatenate([one.keys, two.keys]), return_index=True, return_inverse=True
    )
    counts = np.bincount(places, np.concatenate([one.counts, two.counts]))
    views = np.concatenate([one.views, two.views])[first]
    lengths = tuple(a + b for a, b in zip(one.lengths, two.lengths, strict=True))
    return lexical.Bag(keys, counts.astype(np.float32), views, lengths)


def _questions(base: KnowledgeBase, sets: Sequence[Texts], most: int) -> list[str]:
    """So many questions of the sets, always the same, that share a term with the base."""
    texts = list(dict.fromkeys(question.text for one in sets for question in one.questions))
    chosen = random.Random(SEED).sample(texts, min(most, len(texts)))  # noqa: S311
    asked = [text for text in chosen if weighing.query(text, [base.pk]).counts]
    if not asked:
        raise ValueError("no question has a word in common with the corpus")
    return asked


# --- filling ------------------------------------------------------------------------


def grow(base: KnowledgeBase, corpus: Corpus, chunks: int) -> dict[str, float]:
    """Put in what is missing of the first `chunks`."""
    there, start = len(corpus.bags), time.perf_counter()
    for first in range(there, chunks, STEP):
        numbers = range(first, min(first + STEP, chunks))
        corpus.bags += map(corpus.bag, numbers)
        documents = [numbers[n : n + DOCUMENT] for n in range(0, len(numbers), DOCUMENT)]
        indexing.put_all([_document(base, corpus, one) for one in documents])
    indexing.renew(base)
    postings.merge(base.pk)
    Document.objects.filter(knowledge_base=base).update(product="other")
    rare = [str(n) for n in range(0, chunks // DOCUMENT, RARE)]
    Document.objects.filter(knowledge_base=base, external_id__in=rare).update(product=PRODUCT)
    _vacuum(
        "knowledge_chunk", "knowledge_chunkterms", "knowledge_termcount", "knowledge_document",
        "knowledge_posting", "knowledge_postingsegment",
    )  # fmt: skip
    written = time.perf_counter() - start
    return {
        "words written, chunks/s": (chunks - there) / written,
        "words MB": size("pg_total_relation_size", "knowledge_chunkterms"),
        "posting lists MB": size("pg_total_relation_size", "knowledge_posting"),
    }


def _document(
    base: KnowledgeBase, corpus: Corpus, numbers: Sequence[int]
) -> tuple[Revision, indexing.Prepared]:
    name = str(numbers[0] // DOCUMENT)
    document = Document.objects.create(
        knowledge_base=base, title=name, external_id=name, approved_at=timezone.now()
    )
    revision = Revision.objects.create(
        document=document, name=name, media_type="text/plain", size=0
    )
    texts = [corpus.text(n) for n in numbers]
    drafts = [ChunkDraft("text", [], "", text, None, None, "", [], []) for text in texts]
    bags = [corpus.bags[n] for n in numbers]
    return revision, indexing.Prepared(ParsedDocument().to_json(), [], drafts, texts, bags)


def size(function: str, table: str) -> float:
    """Megabytes; of the whole table, so the database should hold nothing else."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s::regclass)", [table])
        return float(cursor.fetchone()[0]) / 2**20


def _vacuum(*tables: str) -> None:
    with connection.cursor() as cursor:  # as autovacuum does sooner or later
        cursor.execute(f"VACUUM (ANALYZE) {', '.join(tables)}")


@contextmanager
def index(base: KnowledgeBase, corpus: Corpus, chunks: int) -> Iterator[dict[str, float]]:
    """An embedding index of the synthetic vectors that answers, made as any other is."""
    made = [corpus.vectors]
    for first in range(len(corpus.vectors), chunks, STEP):
        made.append(corpus.space.chunks(corpus.pairs[first : min(first + STEP, chunks)], first))
    corpus.vectors = np.concatenate(made)
    dimensions = corpus.vectors.shape[1]
    config = {"BACKEND": f"{__name__}.Known", "OPTIONS": {"model": NAME, "dimensions": dimensions}}
    with override_settings(EMBEDDERS={**settings.EMBEDDERS, NAME: config}):
        row = EmbeddingIndex.objects.create(embedder=NAME, model=NAME, dimensions=dimensions)
        _copy(row, base, corpus.vectors)
        start = time.perf_counter()
        embedding.advance(row.pk, 3600.0)
        seconds = time.perf_counter() - start
        _vacuum("knowledge_embedding")
        name = f"embedding_hnsw_{row.pk}"
        graph = size("pg_relation_size", name) if chunks >= vectors.GRAPH_FROM else 0.0
        try:
            yield {
                "vectors MB": size("pg_table_size", "knowledge_embedding"),
                "graph s": seconds,
                "graph MB": graph,
            }
        finally:
            embedding.go_back()
            embedding.drop(row)


def _copy(row: EmbeddingIndex, base: KnowledgeBase, made: Vectors) -> None:
    """In the order of the chunks; not as documents bring them, which says itself what it takes."""
    chunks = chunks_of(base)
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY knowledge_embedding (index_id, chunk_id, knowledge_base_id, vector)"
            " FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        copy.set_types(["int8", "int8", "int8", "bytea"])
        for chunk, vector in zip(chunks, made, strict=True):
            copy.write_row((row.pk, chunk, base.pk, HalfVector(vector).to_binary()))


def chunks_of(base: KnowledgeBase) -> list[int]:
    return list(
        Chunk.objects.filter(knowledge_base=base).order_by("pk").values_list("pk", flat=True)
    )
