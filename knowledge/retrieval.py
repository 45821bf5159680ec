"""Getting passages out, in six stages: understand the question, find by words and by meaning,
fuse what was found into one order, look at the best of it again, arrange what an answer is made
of, and say how sure that is.
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from django.conf import settings

from knowledge import (
    arranging,
    calibration,
    confidence,
    embedding,
    fusing,
    lexical,
    slips,
    synonyms,
    terms,
    weighing,
)
from knowledge.models import Chunk, KnowledgeBase
from knowledge.scope import EVERYTHING, FIELDS, Scope, fold
from opsdesk.backends import backend
from opsdesk.errors import ModelError

log = logging.getLogger(__name__)

WORDS = "words"  # no embedder is in use
HYBRID = "hybrid"  # words and vectors
DEGRADED = "words_only"  # the embedder did not answer
NO_RERANKER = "no_reranker"  # the reranker did not answer, or not in time
CANDIDATES = 100  # chunks that each way of finding brings
LONGEST_QUERY = 10_000  # characters
# What the z-scores of the stages weigh; measured on the sets of docs/retrieval.md with a small
# encoder. A question that means an entry of a FAQ seldom says it in the same words.
WEIGHTS = {"words": 0.35, "dense": 0.65}
FAQ_WEIGHTS = {"words": 0.2, "dense": 0.8}
# What learned weights take of the vectors' weight: bge-m3's makers weigh them .2 beside .4 for the
# dense vectors (README of BAAI/bge-m3). Theirs are raw scores, ours z-scores: not measured here.
SPARSE_SHARE = 1 / 3
HIGHEST = {"dense": 1.0}  # what no score of a stage exceeds; of others the highest seen

Stages = dict[str, dict[int, float]]  # scores of chunks as they are, by stage


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
    position: int  # in its document
    holds_for: tuple[str, ...]  # product, version and environment, each "" for any
    score: float  # 0–1, of what the best conceivable passage would get; falls with the rank
    # By stage, as they were: "words" (BM25), "dense" (cosine), "rerank" (as the reranker says).
    scores: dict[str, float]
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
    threshold: float = 0.0  # from which on they answer
    features: dict[str, float] = field(default_factory=dict, repr=False)  # what tells how sure
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by stage
    mode: str = WORDS
    asked: weighing.Query | None = field(default=None, repr=False)
    query: str = ""  # the question as it was looked for
    mended: list[tuple[str, str]] = field(default_factory=list)  # slips: as written, as read
    # Chunks as each stage ordered them: "words", "dense", "fused", "rerank", and "ranked", the
    # order that counts.
    order: dict[str, list[int]] = field(default_factory=dict, repr=False)
    # Of the ranking what an answer is made of, and why what was left out.
    kept: list[Passage] = field(default_factory=list, repr=False)
    left_out: dict[int, str] = field(default_factory=dict, repr=False)

    @property
    def sure(self) -> bool:
        """Whether the passages may answer; else a person is called."""
        return bool(self.passages) and self.confidence >= self.threshold

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
    top_k: int | None = None,
    scope: Scope | None = None,
    tries: int = 3,
    mend: bool = True,
) -> Retrieval:
    """What an answer to `query` is made of, from passages of `bases` within `scope`.

    With `top_k` the first so many of the ranking instead, as they come. The caller decides
    which bases its user may read. A question without a known term finds nothing by words; with
    no passage at all the confidence is 0.
    """
    scope = scope or EVERYTHING
    query = query.replace("\x00", "").strip()[:LONGEST_QUERY]
    bases = list(bases)
    base_ids = [base.pk for base in bases]
    found = Retrieval([], 0.0)
    if not base_ids or not query:
        return found
    limit = max(CANDIDATES, top_k or 0)
    if mend:
        with found.timed("slips"):
            query, found.mended = slips.mend(query, base_ids)
    found.query = query
    with found.timed("words"):
        reading = synonyms.read(query, base_ids)
        asked = found.asked = weighing.query(query, base_ids, reading)
        words = lexical.best(asked, base_ids, limit, scope=scope)
    with found.timed("dense"):
        near = _near(f"{query} {reading.more}".strip(), base_ids, limit, scope, found, words)
    stages = {"words": words, **near.stages}
    fused = _fused(asked, stages, near.groups)
    with found.timed("passages"):
        wanted = fused[: max(top_k or 0, settings.RERANK_PASSAGES, confidence.PASSAGES)]
        passages = _passages(wanted, asked)
    if len(passages) < len(wanted) and tries > 1:  # one was replaced this moment
        return search(query, bases, top_k, scope, tries - 1, mend)
    with found.timed("rerank"):
        ranked = _reranked(query, passages, found)
    found.order |= {stage: _ordered(scores) for stage, scores in stages.items()}
    found.order["fused"] = [one.chunk_id for one in fused]
    found.order["ranked"] = [one.chunk_id for one in ranked] + found.order["fused"][len(wanted) :]
    with found.timed("arrange"):
        arranged = arranging.arrange(ranked, settings.PASSAGES, settings.PASSAGE_CHARACTERS)
    found.kept, found.left_out = arranged
    found.features = confidence.features(asked, ranked)
    best = ranked[0].knowledge_base_id if ranked else None
    found.confidence, found.threshold = calibration.judge(found.features, base_ids, best)
    found.passages = found.kept if top_k is None else ranked[:top_k]
    return found


def words_of(chunk: Chunk) -> frozenset[str]:
    """All words of a chunk, as they are indexed."""
    return _words(chunk.document.title, chunk)


def _words(title: str, chunk: lexical.Indexed) -> frozenset[str]:
    return frozenset(terms.views(lexical.passage_text(title, chunk))[terms.WORDS])


# --- finding ----------------------------------------------------------------------------


def _near(
    query: str,
    base_ids: Sequence[int],
    limit: int,
    scope: Scope,
    found: Retrieval,
    also: Collection[int],
) -> embedding.Near:
    """What the vectors say, of the chunks of `also` as well; less of it, said by the mode, when
    an embedder fails."""
    near = embedding.nearest_in(query, base_ids, limit, scope, also)
    if near.failed:
        found.mode = DEGRADED
    elif near.stages:
        found.mode = HYBRID
    return near


def _ordered(scores: Mapping[int, float]) -> list[int]:
    return sorted(scores, key=lambda chunk: (-scores[chunk], chunk))


# --- fusing -----------------------------------------------------------------------------


class Fused(NamedTuple):
    """A chunk in one order with all others that were found."""

    chunk_id: int
    score: float  # 0–1
    scores: dict[str, float]  # by stage, as they were


def _fused(asked: weighing.Query, stages: Stages, groups: Sequence[Collection[int]]) -> list[Fused]:
    """All that was found in one order: by the weighted sum of the z-scores of its stages; of
    those of vectors within `groups`, outside of which they do not compare."""
    if stages.keys() == {"words"}:
        words = stages["words"]
        return [
            Fused(chunk, score / asked.most, {"words": score}) for chunk, score in words.items()
        ]
    chunks = dict.fromkeys(chunk for scores in stages.values() for chunk in scores)
    missed = [chunk for chunk in chunks if chunk not in stages["words"]]
    stages = {**stages, "words": {**stages["words"], **lexical.scores(asked, missed)}}
    kinds = dict(Chunk.objects.filter(pk__in=chunks).values_list("pk", "kind"))
    weights = {
        (faq, sparse): _weights(FAQ_WEIGHTS if faq else WEIGHTS, stages, sparse)
        for faq in (True, False)
        for sparse in (True, False)
    }
    learned = stages.get("sparse", {})
    weighed = {chunk: weights[kinds.get(chunk) == "qa", chunk in learned] for chunk in chunks}
    summed = fusing.summed(stages, weighed, {**HIGHEST, "words": asked.most}, groups)
    return [
        Fused(chunk, summed[chunk], {name: of[chunk] for name, of in stages.items() if chunk in of})
        for chunk in _ordered(summed)
    ]


def _weights(by_stage: Mapping[str, float], stages: Stages, sparse: bool) -> dict[str, float]:
    """Of the stages there are; with learned weights they share the vectors' weight."""
    weights = {stage: weight for stage, weight in by_stage.items() if stage in stages}
    if sparse:
        weights["sparse"] = weights["dense"] * SPARSE_SHARE
        weights["dense"] -= weights["sparse"]
    return weights


# --- reranking --------------------------------------------------------------------------


def _reranked(query: str, passages: list[Passage], found: Retrieval) -> list[Passage]:
    """The first of them in the order that the reranker and the stages before it give together,
    the others behind them; all as they were, said by the mode, when it fails."""
    reranker = backend("reranker")
    if reranker is None or not passages:
        return passages
    read = passages[: settings.RERANK_PASSAGES]
    try:
        scores = reranker.scores(query, [lexical.passage_text(one.title, one) for one in read])
    except ModelError as error:
        log.warning("answered without the reranker: %s", error)
        found.mode = NO_RERANKER
        return passages
    first, rest = passages[: len(scores)], passages[len(scores) :]
    by_chunk = dict(zip((one.chunk_id for one in first), scores, strict=True))
    found.order["rerank"] = _ordered(by_chunk)
    fused = {one.chunk_id: one.score for one in first}
    shares = {
        faq: {"fused": 1 - share, "rerank": share}
        for faq, share in ((True, reranker.faq_share), (False, reranker.share))
    }
    weights = {one.chunk_id: shares[one.kind == "qa"] for one in first}
    summed = fusing.summed({"fused": fused, "rerank": by_chunk}, weights, {"fused": 1.0})
    again = [_with(one, summed[one.chunk_id], rerank=by_chunk[one.chunk_id]) for one in first]
    again.sort(key=lambda one: -one.score)
    return again + [_with(one, min(one.score, again[-1].score)) for one in rest]


def _with(passage: Passage, score: float, **scores: float) -> Passage:
    return replace(passage, score=score, scores={**passage.scores, **scores})


# --- passages ---------------------------------------------------------------------------


def _passages(fused: Sequence[Fused], asked: weighing.Query) -> list[Passage]:
    chunks = Chunk.objects.select_related("document").in_bulk([one.chunk_id for one in fused])
    return [
        _passage(chunks[one.chunk_id], one.score, one.scores, asked)
        for one in fused
        if one.chunk_id in chunks  # else its document was replaced this moment
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
        position=chunk.position,
        holds_for=tuple(fold(getattr(chunk.document, name)) for name in FIELDS),
        score=score,
        scores=scores,
        asked=asked,
    )
