"""Getting passages out, in six stages: understand the question, find by words and by meaning,
fuse what was found into one order, look at the best of it again, arrange what an answer is made
of, and say how sure that is.
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean, pstdev
from typing import Any, NamedTuple

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
# What the z-scores of the stages weigh in the order of what was found; measured on the sets of
# docs/retrieval.md with a small encoder.
WEIGHTS = {"words": 0.35, "dense": 0.65}
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
    score: float  # 0–1, of what the best conceivable passage would get; falls with the rank
    # By stage, as they were: "words" (BM25), "dense" (cosine).
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
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by stage
    mode: str = WORDS
    asked: weighing.Query | None = field(default=None, repr=False)
    # Chunks as each stage ordered them: "words", "dense", and "fused", the order that counts.
    order: dict[str, list[int]] = field(default_factory=dict, repr=False)

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
        stages = {"words": lexical.best(asked, base_ids, limit, scope=scope)}
    with found.timed("dense"):
        stages |= _near(f"{query} {reading.more}".strip(), base_ids, limit, scope, found)
    fused = _fused(asked, stages)
    found.order = {stage: _ordered(scores) for stage, scores in stages.items()}
    found.order["fused"] = [one.chunk_id for one in fused]
    with found.timed("passages"):
        wanted = fused[: max(top_k, confidence.PASSAGES)]
        passages = _passages(wanted, asked)
    if len(passages) < len(wanted) and tries > 1:  # one was replaced this moment
        return search(query, bases, top_k, scope, tries - 1)
    found.confidence = confidence.confidence(asked, passages)
    found.threshold = settings.CONFIDENCE
    found.passages = passages[:top_k]
    return found


def words_of(chunk: Chunk) -> frozenset[str]:
    """All words of a chunk, as they are indexed."""
    return _words(chunk.document.title, chunk)


def _words(title: str, chunk: lexical.Indexed) -> frozenset[str]:
    return frozenset(terms.views(lexical.passage_text(title, chunk))[terms.WORDS])


# --- finding ----------------------------------------------------------------------------


def _near(
    query: str, base_ids: Sequence[int], limit: int, scope: Scope, found: Retrieval
) -> Stages:
    """What the vectors find; nothing, said by the mode, when the embedder fails."""
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
    return {"dense": dict(near)} if near else {}


def _ordered(scores: Mapping[int, float]) -> list[int]:
    return sorted(scores, key=lambda chunk: (-scores[chunk], chunk))


# --- fusing -----------------------------------------------------------------------------


class Fused(NamedTuple):
    """A chunk in one order with all others that were found."""

    chunk_id: int
    score: float  # 0–1
    scores: dict[str, float]  # by stage, as they were


def _fused(asked: weighing.Query, stages: Stages) -> list[Fused]:
    """All that was found in one order: by the weighted sum of the z-scores of its stages.

    Between the sum that the worst conceivable chunk would get and that of the best lies the
    score, between 0 and 1 and in the same order.
    """
    if stages.keys() == {"words"}:
        words = stages["words"]
        return [Fused(chunk, score / asked.most, {"words": score})
                for chunk, score in words.items()]  # fmt: skip
    known = _complete(asked, stages)
    highest = {**HIGHEST, "words": asked.most}
    scales = {stage: _scale(scores.values(), highest.get(stage)) for stage, scores in known.items()}
    weights = {stage: WEIGHTS[stage] for stage, scale in scales.items() if scale.deviation}
    least = sum(weight * scales[stage].z(0.0) for stage, weight in weights.items())
    most = sum(weight * scales[stage].z(scales[stage].highest) for stage, weight in weights.items())
    fused = []
    for chunk in known["words"]:
        scores = {stage: known[stage][chunk] for stage in known}
        total = sum(weight * scales[stage].z(scores[stage]) for stage, weight in weights.items())
        score = (total - least) / ((most - least) or 1.0)
        fused.append(Fused(chunk, score, scores))
    return sorted(fused, key=lambda one: (-one.score, one.chunk_id))


def _complete(asked: weighing.Query, stages: Stages) -> Stages:
    """The scores of every chunk in every stage."""
    found = dict.fromkeys(chunk for scores in stages.values() for chunk in scores)
    missed = [chunk for chunk in found if chunk not in stages["words"]]
    known = {"words": {**stages["words"], **lexical.scores(asked, missed)}}
    for stage, scores in stages.items():
        if stage != "words":
            # A chunk that is not among the nearest is at most as near as the last of them.
            floor = min(scores.values())
            known[stage] = {chunk: max(0.0, scores.get(chunk, floor)) for chunk in found}
    return known


class Scale(NamedTuple):
    """How the scores of a stage lie."""

    mean: float
    deviation: float  # 0: it gives all chunks the same score, and does not order them
    highest: float

    def z(self, score: float) -> float:
        return (score - self.mean) / self.deviation


def _scale(scores: Collection[float], highest: float | None) -> Scale:
    return Scale(fmean(scores), pstdev(scores), max(scores) if highest is None else highest)


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
        score=score,
        scores=scores,
        asked=asked,
    )
