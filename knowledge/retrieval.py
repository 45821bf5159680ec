"""Getting passages out, in six stages: understand the question, find by words and by meaning,
fuse what was found into one order, look at the best of it again, arrange what an answer is made
of, and say how sure that is.
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import F

from knowledge import (
    arranging,
    calibration,
    confidence,
    dense,
    fusing,
    learned,
    lexical,
    ranking,
    slips,
    synonyms,
    terms,
    weighing,
)
from knowledge.asked import Asked
from knowledge.masking import masked
from knowledge.models import Chunk, KnowledgeBase
from knowledge.scope import EVERYTHING, Scope, answering, fold
from knowledge.stores import store
from opsdesk import replicas, tuning
from opsdesk.backends import backend
from opsdesk.errors import ModelError
from opsdesk.meanwhile import meanwhile
from opsdesk.replicas import in_binary
from opsdesk.tuning import tuned

log = logging.getLogger(__name__)

WORDS = "words"  # no embedder is in use
HYBRID = "hybrid"  # words and vectors
DEGRADED = "words_only"  # the embedder did not answer
PARTLY_WORDS = "partly_words"  # one of several did not, so that its bases have words alone
NO_RERANKER = "no_reranker"  # the reranker did not answer, or not in time
CANDIDATES = 100  # chunks that each way of finding brings
LONGEST_QUERY = 10_000  # characters
# What no score of a stage exceeds; of others the highest seen.
HIGHEST = {"dense": 1.0, "learned": 1.0}

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
    stored: str = ""  # the chunk's text, where `text` is less of it

    @cached_property
    def hits(self) -> list[str]:
        """Words of the question, or others for them, that stand in it; the most telling first."""
        worth = self.asked.all_words()
        return sorted(worth.keys() & self.words, key=lambda word: (-worth[word], -len(word), word))

    @cached_property
    def words(self) -> frozenset[str]:
        """All its words, as they are indexed."""
        return _words(self.title, self)

    def rated(self, score: float, scores: dict[str, float] | None = None) -> "Passage":
        """It with another score. What was reckoned of its text is kept."""
        again = copy(self)
        vars(again).update(score=score, scores=scores or self.scores)
        return again


class Placed(NamedTuple):
    """How a stage saw a passage."""

    stage: str
    place: int | None  # from 1; none behind the first that it brought
    value: float | None  # as it was, on a scale of its own


def _place(order: Sequence[int], chunk_id: int) -> int | None:
    return order.index(chunk_id) + 1 if chunk_id in order else None


@dataclass
class Retrieval:
    passages: list[Passage]
    confidence: float  # probability that the bases hold the answer
    threshold: float = 0.0  # from which on no person is called at once
    right: float = 0.0  # probability that what an answer would show holds it
    least: float = 0.0  # from which on it is shown; else there is something to choose from
    own: bool = False  # whether `right` comes from labels of the best passage's base
    calibrated: bool = False  # whether staff chose, for a base that was asked, what is shown
    features: dict[str, float] = field(default_factory=dict, repr=False)  # what tells how sure
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by stage
    mode: str = WORDS
    # What is configured and failed: DEGRADED or PARTLY_WORDS, NO_RERANKER.
    failed: list[str] = field(default_factory=list)
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
        """Whether the passages may answer: however little that takes, not where the bases seem
        to hold no answer, unless labels of the base itself say so."""
        return bool(self.passages) and self.right >= self.least and (self.own or self.near)

    @property
    def near(self) -> bool:
        """Whether the bases seem to hold the answer, wherever it is; else, unless the passages
        may answer, a person is called."""
        return bool(self.passages) and self.confidence >= self.threshold

    def vouched(self) -> None:
        """Something else than the words says that the passages answer."""
        self.confidence = max(self.confidence, self.threshold)
        self.right = max(self.right, self.least)

    @property
    def other_words(self) -> list[str]:
        """What counts beside the words of the question: other words for its terms."""
        return [
            word for group in (self.asked.groups if self.asked else ()) for word in group.others
        ]

    def stages_of(self, passage: Passage) -> list[Placed]:
        """What each stage said of a passage, in the order of the stages."""
        return [
            Placed(stage, _place(order, passage.chunk_id), passage.scores.get(stage))
            for stage, order in self.order.items()
            if stage in passage.scores or passage.chunk_id in order
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
    no passage at all the confidence is 0. `mend` reads slips as what is meant.
    """
    asked = list(bases)
    return replicas.read(lambda: _search(query, asked, top_k, scope, tries, mend))


def _search(
    query: str,
    bases: list[KnowledgeBase],
    top_k: int | None,
    scope: Scope | None,
    tries: int,
    mend: bool,
) -> Retrieval:
    query = masked(query.replace("\x00", "").strip())[:LONGEST_QUERY]  # models may see it
    base_ids: Sequence[int] = [base.pk for base in bases]
    found = Retrieval([], 0.0, query=query)
    if not base_ids or not query:
        return found
    base_ids = Asked(base_ids)
    question = _understand(query, base_ids, scope or EVERYTHING, mend, found)
    candidates = _find(question, max(CANDIDATES, top_k or 0), found)
    fused = _fuse(question.asked, candidates, found)
    wanted = fused[: max(top_k or 0, settings.RERANK_PASSAGES, confidence.AMONG)]
    passages = _passages(wanted, question.asked, found)
    if len(passages) < len(wanted) and tries > 1:  # one was replaced this moment
        return _search(query, bases, top_k, scope, tries - 1, mend)
    ranked = _rerank(question.text, passages, found)
    found.order["ranked"] = [one.chunk_id for one in ranked] + found.order["fused"][len(wanted) :]
    _arrange(ranked, found)
    _judge(question, ranked, found)
    found.passages = found.kept if top_k is None else ranked[:top_k]
    return found


def words_of(chunk: Chunk) -> frozenset[str]:
    """All words of a chunk, as they are indexed."""
    return _words(chunk.document.title, chunk)


def _words(title: str, chunk: lexical.Indexed) -> frozenset[str]:
    return terms.words(lexical.passage_text(title, chunk))


# --- understanding and finding ----------------------------------------------------------


@dataclass(frozen=True)
class Question:
    text: str  # without slips
    meant: str  # with the other words that its terms have
    asked: weighing.Query
    base_ids: Sequence[int]
    scope: Scope


def _understand(
    query: str, base_ids: Sequence[int], scope: Scope, mend: bool, found: Retrieval
) -> Question:
    with found.timed("terms"):
        reading = synonyms.read(query, base_ids)
        # What slips are told by is counted along.
        asked = weighing.query(query, base_ids, reading, slips.keys(query) if mend else ())
    if mend:
        with found.timed("slips"):
            query, found.mended = slips.mend(query, base_ids)
        if found.mended:
            reading = synonyms.read(query, base_ids)
            asked = weighing.query(query, base_ids, reading)
    found.query, found.asked = query, asked
    return Question(query, f"{query} {reading.more}".strip(), asked, base_ids, scope)


@dataclass
class Candidates:
    """What was found, with its scores as they are by stage."""

    stages: Stages
    kinds: Mapping[int, str]  # of chunks, where more than words found them
    groups: Sequence[Collection[int]]  # among which vectors compare
    share: float  # of the order that what the bases learned has


def _find(question: Question, limit: int, found: Retrieval) -> Candidates:
    """About `limit` chunks by each way there is; less of them, said by the mode, when an
    embedder fails."""
    base_ids, scope = question.base_ids, question.scope
    nearest = meanwhile(lambda: dense.nearest_in(question.meant, base_ids, limit, scope))
    with found.timed("words"):
        words = store().best(question.asked, base_ids, limit, scope)
    with found.timed("dense"):  # what of it was not done while words were looked for
        near = nearest()
    nearby = near.chunks
    of_words = meanwhile(lambda: near.add(words))
    with found.timed("learned"):
        otherwise = dict.fromkeys([*words, *nearby])
        boost = learned.boost(question.text, base_ids, otherwise, limit, scope)
    more = [chunk for chunk in dict.fromkeys([*nearby, *boost.scores]) if chunk not in words]
    with found.timed("beside"):
        several = near.models or boost.scores
        kinds, scores = lexical.beside(question.asked, words, more) if several else ({}, {})
        of_words()
    if near.failed:
        found.mode = PARTLY_WORDS if near.chunks else DEGRADED
        found.failed.append(found.mode)
    elif near.chunks:
        found.mode = HYBRID
    stages = {"words": words, **near.stages}
    if boost.scores:
        stages["learned"] = boost.scores
    found.order |= {stage: _ordered(scores) for stage, scores in stages.items()}
    # One without a row was replaced this moment.
    stages["words"] = {**words, **dict.fromkeys(more, 0.0), **scores}
    return Candidates(stages, kinds, near.groups, boost.weight)


def _ordered(scores: Mapping[int, float]) -> list[int]:
    return sorted(scores, key=lambda chunk: (-scores[chunk], chunk))


# --- fusing -----------------------------------------------------------------------------


class Fused(NamedTuple):
    """A chunk in one order with all others that were found."""

    chunk_id: int
    score: float  # 0–1
    scores: dict[str, float]  # by stage, as they were


def _fuse(asked: weighing.Query, candidates: Candidates, found: Retrieval) -> list[Fused]:
    fused = _fused(asked, candidates)
    found.order["fused"] = [one.chunk_id for one in fused]
    return fused


def _fused(asked: weighing.Query, candidates: Candidates) -> list[Fused]:
    """All that was found in one order: by the weighted sum of the z-scores of its stages."""
    stages = candidates.stages
    if stages.keys() == {"words"}:
        words = stages["words"]
        return [
            Fused(chunk, score / asked.most, {"words": score}) for chunk, score in words.items()
        ]
    chunks, kinds = stages["words"], candidates.kinds
    weights = {
        (faq, sparse): fusing.weights(faq, stages, sparse, candidates.share)
        for faq in (True, False)
        for sparse in (True, False)
    }
    with_sparse = stages.get("sparse", {})
    weighed = {chunk: weights[kinds.get(chunk) == "qa", chunk in with_sparse] for chunk in chunks}
    highest = {**HIGHEST, "words": asked.most}
    summed = fusing.summed(stages, weighed, highest, candidates.groups)
    return [
        Fused(chunk, summed[chunk], {name: of[chunk] for name, of in stages.items() if chunk in of})
        for chunk in _ordered(summed)
    ]


# --- reranking, arranging, judging ------------------------------------------------------


def _rerank(query: str, passages: list[Passage], found: Retrieval) -> list[Passage]:
    """The first of them in the order of a second look, the others behind them.

    A reranker that fails, said by the mode, changes nothing."""
    passages = _look_again(query, passages, found)
    reranker = backend("reranker") if tuning.given().get("RERANK", True) else None
    if reranker is None or not passages:
        return passages
    read = passages[: settings.RERANK_PASSAGES]
    try:
        with found.timed("rerank"):
            scores = reranker.scores(query, [lexical.passage_text(one.title, one) for one in read])
    except ModelError as error:
        log.warning("answered without the reranker: %s", error)
        found.mode = NO_RERANKER
        found.failed.append(NO_RERANKER)
        return passages
    first = passages[: len(scores)]  # of so many there was time for
    by_chunk = dict(zip((one.chunk_id for one in first), scores, strict=True))
    found.order["rerank"] = _ordered(by_chunk)
    shares = {
        faq: {"fused": 1 - share, "rerank": share}
        for faq, share in ((True, reranker.faq_share), (False, reranker.share))
    }
    weights = {one.chunk_id: shares[one.kind == "qa"] for one in first}
    fused = {one.chunk_id: one.score for one in first}
    summed = fusing.summed({"fused": fused, "rerank": by_chunk}, weights, {"fused": 1.0})
    again = [
        one.rated(one.score, {**one.scores, "rerank": by_chunk[one.chunk_id]}) for one in first
    ]
    best_first = {chunk: summed[chunk] for chunk in _ordered(summed)}
    return _reordered(again, best_first, passages[len(scores) :])


def _look_again(query: str, passages: list[Passage], found: Retrieval) -> list[Passage]:
    """By letters, headings and questions, where no vectors know better: measured without."""
    if any("dense" in one.scores for one in passages):
        return passages
    first = passages[: settings.RERANK_PASSAGES]
    with found.timed("letters"):
        scores = ranking.order(query, first)
    return _reordered(first, scores, passages[len(first) :]) if first else passages


def _reordered(
    first: list[Passage], best_first: Mapping[int, float], rest: list[Passage]
) -> list[Passage]:
    """`first` with new scores in their order, and `rest` behind them."""
    passages = {one.chunk_id: one for one in first}
    again = [passages[chunk].rated(score) for chunk, score in best_first.items()]
    return again + [one.rated(min(one.score, again[-1].score)) for one in rest]


def _arrange(ranked: Sequence[Passage], found: Retrieval) -> None:
    with found.timed("arrange"):
        found.kept, found.left_out = arranging.arrange(
            ranked, tuned("PASSAGES"), tuned("PASSAGE_CHARACTERS")
        )


def _judge(question: Question, ranked: Sequence[Passage], found: Retrieval) -> None:
    """By the ranking, the same however much of it the caller asks for."""
    shown = arranging.shown(found.kept)
    found.features = confidence.features(question.asked, ranked, shown)
    best = ranked[0].knowledge_base_id if ranked else None
    judged = calibration.judge(found.features, question.base_ids, best)
    found.confidence, found.threshold = judged.held, judged.least_held
    found.right, found.least, found.own, found.calibrated = judged[2:]


# --- passages ---------------------------------------------------------------------------


_FIELDS = (
    "chunk_id", "document_id", "revision_id", "knowledge_base_id", "external_id", "title", "kind",
    "heading_path", "question", "questions", "text", "page", "page_end", "locator", "position",
)  # fmt: skip
_PASSAGES = """
    SELECT chunk.id, chunk.document_id, chunk.revision_id, chunk.knowledge_base_id,
        document.external_id, document.title, chunk.kind, chunk.heading_path, chunk.question,
        chunk.questions, chunk.text, chunk.page, chunk.page_end, chunk.locator, chunk.position,
        chunk.regions, document.product, document.version, document.environment
    FROM knowledge_chunk chunk JOIN knowledge_document document ON document.id = chunk.document_id
    WHERE chunk.id = ANY(%s::bigint[])
"""


def passages_of(
    chunk_ids: Sequence[int], bases: Iterable[KnowledgeBase], scope: Scope, found: Retrieval
) -> list[Passage]:
    """Those of these chunks that may answer, as if `found` had them, behind all that it has."""
    there = Chunk.objects.select_related("document").filter(
        answering("document__"),
        pk__in=chunk_ids,
        knowledge_base__in=bases,
        enabled=True,
        revision=F("document__current"),
    )
    inside = [Fused(one.pk, 0.0, {}) for one in there if not scope.differs(one.document)]
    return _passages(inside, found.asked, found) if inside and found.asked else []


def _passages(fused: Sequence[Fused], asked: weighing.Query, found: Retrieval) -> list[Passage]:
    with found.timed("passages"), in_binary() as cursor:
        cursor.execute(_PASSAGES, [weighing.array(one.chunk_id for one in fused)])
        rows = {row[0]: row for row in cursor.fetchall()}
    return [
        _passage(rows[one.chunk_id], one.score, one.scores, asked)
        for one in fused
        if one.chunk_id in rows  # else its document was replaced this moment
    ]


def _passage(
    row: tuple[Any, ...], score: float, scores: dict[str, float], asked: weighing.Query
) -> Passage:
    *values, regions, product, version, environment = row
    fields: dict[str, Any] = dict(zip(_FIELDS, values, strict=True))
    return Passage(
        **fields,
        regions=regions,
        holds_for=(fold(product), fold(version), fold(environment)),
        score=score,
        scores=scores,
        asked=asked,
    )
