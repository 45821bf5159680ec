"""Asking questions again through the real steps, and keeping what came of each.

A run goes on in slices of the short cluster, gives way to customers, and takes up where a killed
worker left it: what was asked is a row. No conversation is written and no service is called.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone
from django_q.tasks import async_task

from chat import configurations, graph, kept
from chat.models import Configuration, Turn
from chat.state import TurnState
from evaluation import golden, tracking
from evaluation.models import GoldenQuestion, Result, Run
from evaluation.question_sets import plain
from knowledge import pacing
from knowledge.models import EmbeddingIndex, KnowledgeBase
from opsdesk import locking

log = logging.getLogger(__name__)

TASK = "evaluation.running.go_on"
SLICE = 10.0  # seconds of a task of the short cluster, which ends what lasts a minute
LONGEST = 40.0  # seconds of one question: with a slow model it may take more than it is given
ANSWER = 2000  # characters of an answer that are kept
IDLE = timedelta(minutes=5)  # after which a run that nobody works on is taken up again
DAYS = 90  # runs are kept; the last of each subject longer

Expected = GoldenQuestion.Expected
OUTCOMES = {
    Expected.ANSWERED: Turn.Outcome.ANSWERED,
    Expected.REFUSED: Turn.Outcome.HANDOFF,
    Expected.CLARIFIED: Turn.Outcome.CLARIFYING,
}


@dataclass(frozen=True)
class Asked:
    """A question on its way into a run."""

    key: str
    question: str
    base: int
    golden: GoldenQuestion | None = None
    turn: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a run asks, and how."""

    questions: Sequence[Asked]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    configuration: Configuration | None = None
    base: int | None = None
    bases: frozenset[int] = frozenset()  # of the questions


# --- which questions --------------------------------------------------------------------


def plan(
    overrides: Mapping[str, Any],
    *,
    base: int | None = None,
    tags: Sequence[str] = (),
    yesterday: int = 0,
    configuration: Configuration | None = None,
) -> Plan:
    """The golden questions, and at most so many of yesterday's, with these settings."""
    rows = golden.asked(base, tags).order_by("pk").prefetch_related("sources")
    asked = [Asked(f"g{row.pk}", row.question, row.knowledge_base_id, row) for row in rows]
    if yesterday:
        asked += recent(base, yesterday)
    bases = frozenset(one.base for one in asked)
    return Plan(asked, dict(overrides), configuration, base, bases)


def recent(base: int | None, most: int) -> list[Asked]:
    """Questions that were looked for since yesterday began, each once, the latest first."""
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    turns = Turn.objects.filter(
        created_at__gte=today - timedelta(days=1),
        outcome__in=(Turn.Outcome.ANSWERED, Turn.Outcome.HANDOFF),
        trace__sureness__base__isnull=False,
    )
    if base:
        turns = turns.filter(trace__sureness__base=base)
    columns = ("pk", "trace__query", "trace__sureness__base")
    found: dict[str, Asked] = {}
    there = set(KnowledgeBase.objects.values_list("pk", flat=True))
    for pk, query, about in turns.order_by("-pk").values_list(*columns)[: most * 4]:
        if query and about in there and len(found) < most:
            key = f"t{golden.digest(f'{about} {query}')}"
            found.setdefault(key, Asked(key, query, about, turn=pk))
    return list(found.values())


def asked_by(run: Run, most: int) -> list[Asked]:
    """Of the questions from traffic that a run asked the first."""
    rows = run.results.filter(key__startswith="t").exclude(knowledge_base=None)
    return [
        Asked(row.key, row.question, row.knowledge_base_id, turn=row.turn_id)
        for row in rows.order_by("position")[:most]
        if row.knowledge_base_id
    ]


def beside(wanted: Plan, more: Iterable[Asked]) -> Plan:
    """The same with more questions, each once."""
    asked = {one.key: one for one in [*wanted.questions, *more]}
    return replace(wanted, questions=list(asked.values()))


# --- which versions ---------------------------------------------------------------------


def versions(wanted: Plan) -> dict[str, Any]:
    """Everything that decides what comes of a run: documents by base, the index of vectors, model,
    prompts, settings, and the code with its content files."""
    bases = KnowledgeBase.objects.filter(pk__in=wanted.bases).order_by("pk")
    index = EmbeddingIndex.objects.exclude(activated_at=None).order_by("-activated_at").first()
    given = wanted.overrides
    model = (settings.BACKENDS.get("llm") or {}).get("OPTIONS", {})
    prompts = {
        name: hashlib.sha256(
            str(given.get(f"{configurations.PROMPT}{name}") or configurations.environment(
                f"{configurations.PROMPT}{name}")).encode()
        ).hexdigest()[:12]
        for name in configurations.PROMPTS
    }  # fmt: skip
    made = {
        "documents": {base.slug: base.version for base in bases},
        "index": str(index) if index else "",
        "model": {
            "name": given.get("OPENAI_MODEL", model.get("model", "")) if model else "",
            "temperature": given.get("OPENAI_TEMPERATURE", model.get("temperature")),
        },
        "prompts": prompts,
        "settings": {
            **{name: getattr(settings, name) for name in kept.DECIDING},
            **{k: v for k, v in given.items() if not k.startswith(configurations.PROMPT)},
        },
        "configuration": str(wanted.configuration or ""),
        "code": kept.contents()[:12],
    }
    return dict(json.loads(json.dumps(made, default=str)))  # as it will be read


def fingerprint(wanted: Plan) -> str:
    """Two runs with the same would come to the same, but for what a model leaves to chance and
    which questions traffic brings: these are others at every look."""
    known = [one for one in wanted.questions if one.golden]
    bases = {wanted.base} if wanted.base else {one.base for one in known}
    bases = bases or set(KnowledgeBase.objects.values_list("pk", flat=True))
    decides = versions(replace(wanted, bases=frozenset(bases))) | {"configuration": ""}
    asked = [(one.key, one.question, _wanted(one.golden)) for one in known]
    written = json.dumps([decides, sorted(asked, key=lambda one: one[0])], default=str)
    return hashlib.blake2b(written.encode(), digest_size=16).hexdigest()


def _wanted(question: GoldenQuestion | None) -> Any:
    if question is None:
        return None
    sources = sorted((row.document_id or 0, row.digest) for row in question.sources.all())
    return question.expected, question.facts, question.must, sources


# --- running ----------------------------------------------------------------------------


@transaction.atomic
def prepare(wanted: Plan, **fields: Any) -> Run:
    """A run with its questions, that nothing works on yet."""
    run = Run.objects.create(
        knowledge_base_id=wanted.base,
        configuration=wanted.configuration,
        overrides=dict(wanted.overrides),
        versions=versions(wanted),
        fingerprint=fingerprint(wanted),
        total=len(wanted.questions),
        **fields,
    )
    Result.objects.bulk_create(
        Result(
            run=run,
            position=position,
            key=one.key,
            question=one.question,
            golden=one.golden,
            turn_id=one.turn,
            knowledge_base_id=one.base,
        )
        for position, one in enumerate(wanted.questions, 1)
    )
    return run


@transaction.atomic
def start(wanted: Plan, **fields: Any) -> Run:
    """A run that begins when this transaction is committed."""
    run = prepare(wanted, **fields)
    enqueue(run.pk)
    return run


def enqueue(pk: int) -> None:
    Run.objects.filter(pk=pk).update(worked_at=timezone.now())
    async_task(TASK, pk, cluster="short", group=f"run:{pk}")


def go_on(pk: int) -> None:
    """A slice of a run; a task. Another delivery of it finds the lock and leaves it alone."""
    with locking.held(f"run:{pk}") as mine:
        if not mine:
            return
        run = Run.objects.unfinished().filter(pk=pk).select_related("baseline").first()
        if run is None:
            return
        if run.baseline and run.baseline.unfinished:
            return  # whose end goes on with this one
        finished = work(run, time.monotonic() + SLICE)
    if finished:
        finish(run)
    else:
        enqueue(pk)


def work(run: Run, until: float) -> bool:
    """Ask what is left, until that time of the monotonic clock; whether nothing is."""
    Run.objects.filter(pk=run.pk, state=Run.State.QUEUED).update(state=Run.State.RUNNING)
    left = run.results.filter(outcome="").select_related("golden", "knowledge_base")
    for result in left.order_by("position"):
        if time.monotonic() > until:
            return False
        if not Run.objects.unfinished().filter(pk=run.pk).exists():  # cancelled meanwhile
            return True
        pacing.give_way()
        ask(run, result)
        result.save()
        Run.objects.filter(pk=run.pk).update(done=F("done") + 1, worked_at=timezone.now())
    return True


def ask(run: Run, result: Result) -> None:
    """Put down on `result` what comes of its question now."""
    begun = time.perf_counter()
    state = dry(result.question, result.knowledge_base, run.overrides)
    result.ms = round((time.perf_counter() - begun) * 1000)
    result.outcome, result.confidence = state.outcome, state.confidence
    result.text = state.text[:ANSWER]
    result.cited = [
        {"document": one.document_id, "title": one.title, "locator": one.locator}
        for one in state.sources
    ]
    if result.golden:
        result.why = wrong(result.golden, state)
        result.right = not result.why


def dry(question: str, base: KnowledgeBase | None, overrides: Mapping[str, Any]) -> TurnState:
    """A turn as a customer's would go who asks `base`, without one; failed where it is gone."""
    if base is None:
        return TurnState(question, []).end(Turn.Outcome.FAILED, "")
    turn = graph.outside(question, [base])
    turn.tuned = dict(overrides)
    turn.deadline = min(turn.deadline, time.monotonic() + LONGEST)
    return graph.run(turn)


def wrong(question: GoldenQuestion, state: TurnState) -> str:
    """Why it is not what has to come, "" when it is: "outcome", "source" or "fact"."""
    if state.outcome != OUTCOMES[Expected(question.expected)]:
        return "outcome"
    if question.expected != Expected.ANSWERED:
        return ""
    sources = list(question.sources.all())
    gone = set(question.sources.gone().values_list("pk", flat=True))
    # Of a passage that is gone its document still counts.
    wanted = {(one.document_id, "" if one.pk in gone else one.digest) for one in sources}
    cited = {(one.document_id, mark) for one in state.sources for mark in ("", _digest(one))}
    if wanted and not wanted & cited:
        return "source"
    shown = plain(state.text)
    return "fact" if any(plain(fact) not in shown for fact in question.facts) else ""


def _digest(passage: Any) -> str:
    from knowledge.models import Chunk

    rows = Chunk.objects.filter(pk=passage.chunk_id).values_list("digest", flat=True)
    return rows.first() or "-"


@transaction.atomic
def finish(run: Run) -> None:
    """Close a run with what it means, all or nothing: a killed worker leaves it to be closed."""
    closed = Run.objects.filter(pk=run.pk, state=Run.State.RUNNING).update(
        state=Run.State.DONE, finished_at=timezone.now()
    )
    if not closed:
        return
    from evaluation import gating  # which starts runs

    run.refresh_from_db()
    gating.finished(run)
    tracking.later(run)
    for following in Run.objects.unfinished().filter(baseline=run):
        enqueue(following.pk)


def cancel(run: Run) -> bool:
    """Ask nothing more, nor what was to be compared with it; whether anything was left to ask."""
    left = Run.objects.unfinished().filter(pk=run.pk)
    if not left.update(state=Run.State.CANCELLED, finished_at=timezone.now()):
        return False
    from evaluation import gating  # which starts runs

    run.refresh_from_db()
    gating.settle(run)
    for following in Run.objects.unfinished().filter(baseline=run):
        cancel(following)
    return True


def sweep() -> int:
    """Take up runs that nobody has worked on for a while; a task. How many."""
    swept = 0
    left = Run.objects.unfinished().filter(worked_at__lt=timezone.now() - IDLE)
    waiting = left.filter(baseline__in=Run.objects.unfinished())
    for pk in left.exclude(pk__in=waiting).values_list("pk", flat=True):
        with locking.held(f"run:{pk}") as idle:
            if idle:
                enqueue(pk)
                swept += 1
    return swept


def clean(now: datetime | None = None) -> int:
    """Forget runs that nobody needs any more; a task. How many."""
    before = (now or timezone.now()) - timedelta(days=DAYS)
    needed = Run.objects.exclude(baseline=None).filter(created_at__gte=before).values("baseline")
    latest = Run.objects.exclude(subject="").values("subject").annotate(last=Max("pk"))
    old = Run.objects.filter(created_at__lt=before).exclude(pk__in=needed)
    old = old.exclude(pk__in=latest.values("last"))
    count = old.count()
    old.delete()
    return count


def summary(results: Iterable[Result]) -> dict[str, Any]:
    """Counts and times of what was asked."""
    rows = [one for one in results if one.outcome]
    judged = [one for one in rows if one.right is not None]
    times = sorted(one.ms or 0 for one in rows)
    return {
        "asked": len(rows),
        "judged": len(judged),
        "right": sum(bool(one.right) for one in judged),
        "answered": sum(one.outcome == Turn.Outcome.ANSWERED for one in rows),
        "ms": times[len(times) // 2] if times else None,
    }
