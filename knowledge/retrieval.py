"""Getting passages out: by words, by meaning when an embedder is in use, and both fused."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from statistics import pstdev
from typing import Any

from django.conf import settings

from knowledge import confidence, embedding, lexical, synonyms, terms, weighing
from knowledge.models import Chunk, KnowledgeBase
from knowledge.scope import EVERYTHING, Scope
from opsdesk.errors import ModelError

log = logging.getLogger(__name__)

WORDS = "words"  # no embedder is in use
HYBRID = "hybrid"  # words and vectors
DEGRADED = "words_only"  # the embedder did not answer
CANDIDATES = 100  # chunks that each way of finding brings
LONGEST_QUERY = 10_000  # characters
DENSE_WEIGHT = 0.65  # measured on the sets of docs/retrieval.md with a small encoder


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
    questions: list[str]  # asked in other words
    text: str
    page: int | None
    page_end: int | None
    locator: str
    regions: list[dict[str, Any]]
    score: float  # 0–1, of what the best conceivable passage would get; falls with the rank
    scores: dict[str, float]  # by stage, as they were: "words" (BM25), "dense" (cosine)
    asked: weighing.Query = field(repr=False)

    @cached_property
    def hits(self) -> list[str]:
        """Words of the question, or others for them, that stand in it; the most telling first."""
        worth = self.asked.all_words()
        return sorted(worth.keys() & self.words, key=lambda word: (-worth[word], -len(word), word))

    @cached_property
    def words(self) -> frozenset[str]:
        """All its words, as they are indexed."""
        return _words(self.title, self)


@dataclass
class Retrieval:
    passages: list[Passage]
    confidence: float  # probability that the passages hold the answer
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by stage
    mode: str = WORDS
    asked: weighing.Query | None = field(default=None, repr=False)
    # Chunks as each stage ordered them: "words", "dense", and "fused", the order that counts.
    order: dict[str, list[int]] = field(default_factory=dict, repr=False)

    @property
    def other_words(self) -> list[str]:
        """What counts beside the words of the question: other words for its terms."""
        return [
            word for group in (self.asked.groups if self.asked else ()) for word in group.others
        ]

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[stage] = (time.perf_counter() - start) * 1000


def search(
    query: str,
    bases: Iterable[KnowledgeBase],
    top_k: int = settings.PASSAGES,
    scope: Scope | None = None,
    tries: int = 3,
) -> Retrieval:
    """The `top_k` passages of `bases` within `scope` that answer `query` best, best first.

    The caller decides which bases its user may read. A question without a known term finds
    nothing by words; with no passage at all the confidence is 0.
    """
    scope = scope or EVERYTHING
    query = query.replace("\x00", "").strip()[:LONGEST_QUERY]
    bases = list(bases)
    base_ids = [base.pk for base in bases]
    found = Retrieval([], 0.0)
    if not base_ids or not query:
        return found
    limit = max(CANDIDATES, top_k)
    with found.timed("words"):
        reading = synonyms.read(query, base_ids)
        asked = found.asked = weighing.query(query, base_ids, reading)
        by_words = lexical.best(asked, base_ids, limit, scope=scope)
    with found.timed("dense"):
        near = _nearest(f"{query} {reading.more}".strip(), base_ids, limit, scope, found)
    ranked = _fused(asked, by_words, near) if near else _by_words(asked, by_words)
    found.order = {"words": list(by_words), "fused": [chunk for chunk, _, _ in ranked]}
    if near:
        found.order["dense"] = list(near)
    with found.timed("passages"):
        wanted = ranked[: max(top_k, confidence.PASSAGES)]
        found.passages = _passages(wanted, asked)
    if len(found.passages) < len(wanted) and tries > 1:  # one was replaced this moment
        return search(query, bases, top_k, scope, tries - 1)
    found.confidence = confidence.confidence(asked, found.passages)
    found.passages = found.passages[:top_k]
    return found


def words_of(chunk: Chunk) -> frozenset[str]:
    """All words of a chunk, as they are indexed."""
    return _words(chunk.document.title, chunk)


def _words(title: str, chunk: lexical.Indexed) -> frozenset[str]:
    return frozenset(terms.views(lexical.passage_text(title, chunk))[terms.WORDS])


def _nearest(
    query: str, base_ids: Sequence[int], limit: int, scope: Scope, found: Retrieval
) -> dict[int, float]:
    """Chunks with their cosine; none, said by the mode, when the embedder fails."""
    index = embedding.active()
    if index is None:
        return {}
    try:
        near = embedding.nearest(index, query, base_ids, limit, scope)
    except ModelError as error:
        log.warning("asked without the embedder: %s", error)
        found.mode = DEGRADED
        return {}
    found.mode = HYBRID
    return dict(near)


Ranked = list[tuple[int, float, dict[str, float]]]  # chunk, score 0–1, scores by stage


def _by_words(asked: weighing.Query, by_words: dict[int, float]) -> Ranked:
    return [(chunk, score / asked.most, {"words": score}) for chunk, score in by_words.items()]


def _fused(asked: weighing.Query, by_words: dict[int, float], near: dict[int, float]) -> Ranked:
    """Both ways of finding in one order: the weighted sum of their z-scores over all candidates.

    That sum is a weighting of the raw scores but for a constant; divided by what the best
    conceivable passage would get it is the score, between 0 and 1 and in the same order.
    """
    missed = [chunk for chunk in near if chunk not in by_words]
    words = {**by_words, **lexical.scores(asked, missed)}
    # A chunk that is not among the nearest is at most as near as the last of them.
    floor = min(near.values())
    dense = {chunk: max(0.0, near.get(chunk, floor)) for chunk in words}
    dense_share = _over(DENSE_WEIGHT, pstdev(dense.values()))
    words_share = _over(1 - DENSE_WEIGHT, pstdev(words.values()))
    most = (dense_share + words_share * asked.most) or 1.0
    ranked = [
        (
            chunk,
            (dense_share * dense[chunk] + words_share * words[chunk]) / most,
            {"words": words[chunk], "dense": dense[chunk]},
        )
        for chunk in words
    ]
    return sorted(ranked, key=lambda one: (-one[1], one[0]))


def _over(weight: float, deviation: float) -> float:
    """A stage that gives all candidates the same score does not order them."""
    return weight / deviation if deviation else 0.0


def _passages(ranked: Ranked, asked: weighing.Query) -> list[Passage]:
    chunks = Chunk.objects.select_related("document").in_bulk([chunk for chunk, _, _ in ranked])
    return [
        _passage(chunks[chunk_id], score, scores, asked)
        for chunk_id, score, scores in ranked
        if chunk_id in chunks  # else its document was replaced this moment
    ]


def _passage(
    chunk: Chunk, score: float, scores: dict[str, float], asked: weighing.Query
) -> Passage:
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
        questions=chunk.questions,
        text=chunk.text,
        page=chunk.page,
        page_end=chunk.page_end,
        locator=chunk.locator,
        regions=chunk.regions,
        score=score,
        scores=scores,
        asked=asked,
    )
