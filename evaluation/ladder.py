"""Each rung of the ladder forced: the same questions asked while more and more does not answer.

What is left out is asked for at an address where nobody listens, as when its server is gone.
"""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import OperationalError, connection
from django.test.utils import override_settings

from chat import degrading, graph, turns
from chat.models import Turn
from chat.state import TurnState
from evaluation import stand_ins
from evaluation.metrics import distinct, hit_at, mean, percentile
from evaluation.question_sets import Question, Reply, judge
from knowledge import embedding
from knowledge.models import Chunk, EmbeddingIndex, KnowledgeBase
from opsdesk import outages

MODEL, EMBEDDER, RERANKER = "llm", "embedder", "reranker"
# Name, and what does not answer.
RUNGS: dict[str, tuple[str, ...]] = {
    "full": (),
    degrading.NO_RERANKER: (RERANKER,),
    degrading.DEGRADED: (RERANKER, EMBEDDER),
    degrading.EXTRACTIVE: (RERANKER, EMBEDDER, MODEL),
    degrading.PERSON: (RERANKER, EMBEDDER, MODEL, "database"),
}
BUILD_SECONDS = 3600.0


@dataclass
class Rung:
    """What came of the questions on one rung."""

    name: str
    hits: list[Sequence[str]] = field(default_factory=list)  # distinct documents, best first
    replies: list[Reply] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # milliseconds of a turn
    told: int = 0  # turns that came to an answer, or that nothing was left for
    named: int = 0  # of these, those that name what did not answer

    def row(self, questions: Sequence[Question]) -> list[str]:
        """hit@1, hit@5, answered, right, named, p50, p95 and the slowest in ms."""
        pairs = list(zip(self.hits, questions, strict=True))
        hits = [
            mean(hit_at(k, ranking, asked.gold) for ranking, asked in pairs if asked.gold)
            for k in (1, 5)
        ]
        shares = [
            mean(reply.answered for reply in self.replies),
            mean(reply.correct for reply in self.replies),
            self.named / self.told if self.told else None,
        ]
        told = ["–" if one is None else f"{one:.3f}" for one in (*hits, *shares)]
        slow = [percentile(self.times, 0.5) or 0, percentile(self.times, 0.95) or 0]
        return [self.name, *told, *(f"{ms:.0f}" for ms in (*slow, max(self.times)))]


def measure(
    name: str, base: KnowledgeBase, questions: Sequence[Question], exact_spans: bool
) -> Rung:
    """Ask all `questions` on the rung `name`; what is not configured has its stand-in."""
    rung = Rung(name)
    with _standing(RUNGS[name]):
        for asked in questions:
            state, milliseconds = _turn(asked.text, base, broken="database" in RUNGS[name])
            rung.times.append(milliseconds)
            ranking = state.retrieval.order["ranked"] if state.retrieval else []
            rung.hits.append(_documents(ranking))
            cited = [passage.external_id for passage in state.sources]
            rung.replies.append(judge(asked, state.outcome, state.text, cited, exact_spans))
            if state.outcome in (Turn.Outcome.ANSWERED, Turn.Outcome.FAILED):
                rung.told += 1
                rung.named += state.degraded == _said(name)
    return rung


def _said(name: str) -> list[str]:
    """What a turn on that rung names when it comes as far as writing an answer."""
    if name == degrading.PERSON:
        return [name]
    order = [degrading.DEGRADED, degrading.NO_RERANKER, degrading.EXTRACTIVE]
    gone = {RERANKER: degrading.NO_RERANKER, EMBEDDER: degrading.DEGRADED,
            MODEL: degrading.EXTRACTIVE}  # fmt: skip
    wanted = {gone[one] for one in RUNGS[name]}
    return [one for one in order if one in wanted]


def _turn(question: str, base: KnowledgeBase, broken: bool) -> tuple[TurnState, float]:
    begun = time.perf_counter()
    deadline = time.monotonic() + settings.TURN_SECONDS
    state = TurnState(question, [base], deadline=deadline)
    if broken:  # as `chat.runner` does, but for its pauses
        for _attempt in range(turns.ATTEMPTS):
            with connection.execute_wrapper(_refuse), suppress(DatabaseError):
                graph.run(TurnState(question, [base], deadline=deadline))
        state = graph.escalate(state.call_person("failed"))
    else:
        state = graph.run(state)
    return state, (time.perf_counter() - begun) * 1000


def _refuse(*args: object) -> None:
    raise OperationalError("forced")


def _documents(chunks: Sequence[int]) -> list[str]:
    first = list(chunks[:50])
    names = dict(Chunk.objects.filter(pk__in=first).values_list("pk", "document__external_id"))
    return distinct(names[chunk] for chunk in first if chunk in names)


# --- what answers -----------------------------------------------------------------------


def stood_in() -> list[str]:
    """What is not configured, so that a stand-in takes its place."""
    return [one for one in (MODEL, EMBEDDER, RERANKER) if not settings.BACKENDS[one]]


@contextmanager
def everything(base: KnowledgeBase) -> Iterator[None]:
    """All backends answer, those that are not configured by stand-ins, and `base` has vectors."""
    with stand_ins.serving() as url:
        missing = stood_in()
        backends = {one: made for one, made in _stand_ins(url).items() if one in missing}
        changed: dict[str, Any] = {"BACKENDS": {**settings.BACKENDS, **backends}}
        if EMBEDDER in missing:
            changed["EMBEDDER"] = "stand-in"
            changed["EMBEDDERS"] = {**settings.EMBEDDERS, "stand-in": backends[EMBEDDER]}
        changed["UNDERSTAND_SECONDS"] = 0.0  # single questions: there is nothing to read in them
        quiet = patch.multiple(outages, begin=_nobody_is_told, end=_nobody_is_told)
        with override_settings(**changed), quiet:
            index = embedding.create(base=base)
            before = base.index
            try:
                while not embedding.advance(index.pk, BUILD_SECONDS):
                    pass
                embedding.use(base, EmbeddingIndex.objects.get(pk=index.pk))
                yield
            finally:
                base.refresh_from_db()
                embedding.use(base, before)


def _nobody_is_told(*outage: str) -> None:
    """What is made to fail here is no reason for an alarm."""


def _stand_ins(url: str) -> dict[str, dict[str, Any]]:
    return {
        MODEL: {
            "BACKEND": "chat.llms.OpenAIModel",
            "OPTIONS": {
                "base_url": url, "api_key": "none", "model": "stand-in", "temperature": 0.0,
                "timeout": settings.OPENAI_TIMEOUT,
            },
        },
        EMBEDDER: {
            "BACKEND": "knowledge.embedders.OpenAIEmbedder",
            "OPTIONS": {
                "base_url": url, "model": "stand-in", "dimensions": stand_ins.DIMENSIONS,
            },
        },
        RERANKER: {
            "BACKEND": "knowledge.rerankers.EndpointReranker",
            "OPTIONS": {"url": url, "model": "stand-in", "seconds": settings.RERANK_SECONDS},
        },
    }  # fmt: skip


@contextmanager
def _standing(gone: Sequence[str]) -> Iterator[None]:
    """`gone` are asked for where nobody listens."""
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        backends = dict(settings.BACKENDS)
        for one in gone:
            if one in backends:
                backends[one] = _at(backends[one], nowhere)
        embedders = {
            name: _at(one, nowhere) if EMBEDDER in gone and name == settings.EMBEDDER else one
            for name, one in settings.EMBEDDERS.items()
        }
        with override_settings(BACKENDS=backends, EMBEDDERS=embedders):
            yield


def _at(config: Any, url: str) -> dict[str, Any]:
    """The backend at another address; one that has none is a stand-in's kind there."""
    options = config["OPTIONS"]
    place = next((name for name in ("base_url", "url") if name in options), None)
    if place is None:
        raise ValueError(f"{config['BACKEND']} has no server that could be gone")
    return {**config, "OPTIONS": {**options, place: url}}
