"""Getting passages out: by words, by meaning when an embedder is in use, and both fused."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from knowledge import confidence, lexical, terms
from knowledge.models import Chunk, KnowledgeBase

log = logging.getLogger(__name__)

WORDS = "words"  # no embedder is in use
HYBRID = "hybrid"  # words and vectors
DEGRADED = "words_only"  # the embedder did not answer
CANDIDATES = 100  # chunks that each way of finding brings
LONGEST_QUERY = 10_000  # characters


@dataclass(frozen=True)
class Passage:
    """A chunk that was found, with what is needed to cite it."""

    chunk_id: int
    document_id: int
    revision_id: int
    knowledge_base_id: int
    external_id: str
    title: str
    kind: str
    heading_path: list[str]
    question: str
    text: str
    page: int | None
    page_end: int | None
    locator: str
    regions: list[dict[str, Any]]
    score: float  # 0–1, of what the best conceivable passage would get; falls with the rank
    scores: dict[str, float]  # by stage, as they were: "words" (BM25), "dense" (cosine)
    hits: list[str]  # words of the question that stand in it

    @property
    def indexed(self) -> str:
        return lexical.passage_text(self.title, self.heading_path, self.question, self.text)


@dataclass
class Retrieval:
    passages: list[Passage]
    confidence: float  # probability that the passages hold the answer
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by stage
    mode: str = WORDS

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[stage] = (time.perf_counter() - start) * 1000


def search(query: str, bases: Iterable[KnowledgeBase], top_k: int = settings.PASSAGES) -> Retrieval:
    """The `top_k` passages of `bases` that answer `query` best, best first.

    The caller decides which bases its user may read. A question without a known term finds
    nothing by words; with no passage at all the confidence is 0.
    """
    query = query.replace("\x00", "")[:LONGEST_QUERY]
    base_ids = [base.pk for base in bases]
    found = Retrieval([], 0.0)
    if not base_ids or not query.strip():
        return found
    with found.timed("words"):
        asked = lexical.query(query, base_ids)
        by_words = lexical.best(asked, base_ids, max(CANDIDATES, top_k))
    ranked = [(chunk, score / asked.most, {"words": score}) for chunk, score in by_words.items()]
    with found.timed("passages"):
        found.passages = _passages(ranked[: max(top_k, confidence.PASSAGES)], asked)
    found.confidence = confidence.confidence(asked, found.passages)
    found.passages = found.passages[:top_k]
    return found


def _passages(
    ranked: Sequence[tuple[int, float, dict[str, float]]], asked: lexical.Query
) -> list[Passage]:
    chunks = Chunk.objects.select_related("document").in_bulk([chunk for chunk, _, _ in ranked])
    return [
        _passage(chunks[chunk_id], score, scores, asked)
        for chunk_id, score, scores in ranked
        if chunk_id in chunks  # else its document was replaced this moment
    ]


def _passage(chunk: Chunk, score: float, scores: dict[str, float], asked: lexical.Query) -> Passage:
    return Passage(
        chunk_id=chunk.pk,
        document_id=chunk.document_id,
        revision_id=chunk.revision_id,
        knowledge_base_id=chunk.knowledge_base_id,
        external_id=chunk.document.external_id,
        title=chunk.document.title,
        kind=chunk.kind,
        heading_path=chunk.heading_path,
        question=chunk.question,
        text=chunk.text,
        page=chunk.page,
        page_end=chunk.page_end,
        locator=chunk.locator,
        regions=chunk.regions,
        score=score,
        scores=scores,
        hits=_hits(chunk, asked),
    )


def _hits(chunk: Chunk, asked: lexical.Query) -> list[str]:
    """The question's words that stand in a chunk, the most telling first."""
    text = lexical.passage_text(
        chunk.document.title, chunk.heading_path, chunk.question, chunk.text
    )
    words = terms.views(text)[terms.WORDS]
    worth = {
        word: value
        for (view, word), value in asked.idf.items()
        if view == terms.WORDS and word in words
    }
    return sorted(worth, key=worth.__getitem__, reverse=True)
