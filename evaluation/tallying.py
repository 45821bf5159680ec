"""Counting turns into tallies, a day at a time: whatever came later, the day is counted anew.

`catch_up` runs every few minutes and counts the days in which something changed; `recount`, at
night, also finds what was deleted and what was never counted. Days to count are written down first,
so that none is lost with a worker that is killed.
"""

import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max
from django.db.models.functions import TruncDate
from django.utils import timezone
from django_q.tasks import async_task

from chat.models import Rating, Turn
from evaluation.models import Day, DocumentTally, Spending, Tally, Verdict
from evaluation.paces import counts
from knowledge.models import Chunk, Document, KnowledgeBase
from opsdesk import locking

log = logging.getLogger(__name__)

SECONDS = 45.0  # of one task: other short work gets its turn
OVERLAP = timedelta(minutes=10)  # a transaction may commit later than what it wrote says
DIGEST = 12  # characters of a prompt's digest
ANSWERING = "answer"  # how the prompts begin by which a model answers
OUTCOMES = {
    Turn.Outcome.ANSWERED: "answered",
    Turn.Outcome.CLARIFYING: "clarified",
    Turn.Outcome.HANDOFF: "handed",
    Turn.Outcome.FAILED: "failed",
    Turn.Outcome.CHAT: "chatted",
}
STEPS = ("clarify", "recall", "answer", "escalate")
RIGHT = (Verdict.Kind.RIGHT,)
# What is held of an answer that was given.
JUDGED = ("right", "partly", "wrong", "unanswerable")

# One row a turn. Its trace is large and stored apart: jsonb_to_record reads it once.
_TURNS = """
SELECT turn.id, turn.outcome, turn.created_at, turn.started_at, turn.finished_at,
    conversation.channel, conversation.knowledge_base_id, conversation.id,
    trace.first_ms, trace.steps, trace.prompts, trace.sureness -> 'base', trace.topic,
    trace.configuration ->> 'name', trace.kept IS NOT NULL, trace.degraded,
    jsonb_path_query_array(trace.passages, '$[*].chunk_id'),
    rating.helpful, verdict.kind,
    turn.outcome NOT IN ('chat', 'discarded', '') AND NOT EXISTS (
        SELECT FROM chat_turn earlier WHERE earlier.conversation_id = turn.conversation_id
        AND earlier.id < turn.id AND earlier.outcome NOT IN ('chat', 'discarded', '')
    ),
    EXISTS (
        SELECT FROM chat_turn other WHERE other.conversation_id = turn.conversation_id
        AND other.outcome = 'answered'
    ) AND NOT EXISTS (
        SELECT FROM handoff_handoff WHERE conversation_id = turn.conversation_id
    ),
    ARRAY(SELECT DISTINCT document_id FROM chat_citation
          WHERE message_id = turn.reply_id AND document_id IS NOT NULL)
FROM chat_turn turn
JOIN chat_conversation conversation ON conversation.id = turn.conversation_id
CROSS JOIN LATERAL jsonb_to_record(turn.trace) AS trace (
    first_ms float, steps jsonb, prompts jsonb, sureness jsonb, topic text,
    configuration jsonb, kept jsonb, degraded jsonb, passages jsonb)
LEFT JOIN chat_rating rating ON rating.message_id = turn.reply_id
LEFT JOIN evaluation_verdict verdict ON verdict.turn_id = turn.id
WHERE turn.created_at >= %s AND turn.created_at < %s AND turn.status = 'done'
"""


@dataclass(frozen=True)
class Asked:
    """A turn, as far as it is counted; the columns of `_TURNS`."""

    pk: int
    outcome: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    channel: str
    asked_base: int | None
    conversation: Any
    first_ms: float | None
    steps: dict[str, float]
    prompts: list[dict[str, Any]]
    found_base: int | None
    topic: str | None
    configuration: str | None
    kept: bool
    degraded: list[str]
    chunks: list[int]
    helpful: bool | None
    verdict: str | None
    begins: bool  # the first question of its conversation
    alone: bool  # that was answered, and nobody was ever called to it
    cited: list[int]

    @property
    def whole(self) -> float | None:
        return _ms(self.created_at, self.finished_at)

    @property
    def asking(self) -> dict[str, Any]:
        """The request by which a model answered; empty without one."""
        answering = (one for one in self.prompts if str(one["prompt"]).startswith(ANSWERING))
        return next(answering, {})


def _ms(begun: datetime, ended: datetime | None) -> float | None:
    return (ended - begun).total_seconds() * 1000 if ended else None


# --- which days -------------------------------------------------------------------------


def catch_up() -> int:
    """Task: count today, and every day in which something changed since the last look; how many
    days."""
    now = timezone.now()
    last = Day.objects.aggregate(last=Max("looked_at"))["last"]
    _to_count(_changed(last - OVERLAP) if last else differing(), looked_at=now)
    return count_left()


def recount() -> int:
    """Task: count the days that have not the turns, ratings and verdicts that were counted."""
    _to_count(differing())
    return count_left()


def _to_count(days: Iterable[date], **facts: Any) -> None:
    """Write down, of all or none, that these days are to be counted."""
    facts["counted_at"] = None
    Day.objects.bulk_create(
        [Day(day=day, **facts) for day in sorted(days)],
        update_conflicts=True, unique_fields=["day"], update_fields=list(facts),
    )  # fmt: skip


def count_left() -> int:
    """Task: count the days that have yet to be, the last first; how many. Those that time does not
    suffice for come in another task."""
    until, done = time.monotonic() + SECONDS, 0
    left = list(Day.objects.filter(counted_at=None).values_list("day", flat=True))
    while left and time.monotonic() <= until:
        count(left.pop())
        done += 1
    if left:
        async_task("evaluation.tallying.count_left", cluster="short")
    return done


def _changed(since: datetime) -> set[date]:
    """The days since, and those of turns of which something was said since."""
    today, first = timezone.localdate(), timezone.localdate(since)
    days = {first + timedelta(days=n) for n in range((today - first).days + 1)}
    turns = Turn.objects.order_by()
    for changed in (
        turns.filter(reply__rating__rated_at__gte=since),
        turns.filter(verdict__at__gte=since),
        turns.filter(conversation__handoffs__requested_at__gte=since),
        turns.filter(conversation__turns__created_at__gte=since),
    ):
        days |= set(changed.values_list(TruncDate("created_at"), flat=True).distinct())
    return days


def differing() -> set[date]:
    """Days that have other numbers of turns, ratings or verdicts than were counted."""
    there: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0])
    done = Turn.objects.filter(status=Turn.Status.DONE)
    rated = Turn.objects.filter(reply__in=Rating.objects.values("message"))
    judged = Turn.objects.filter(pk__in=Verdict.objects.values("turn"))
    for place, turns in enumerate((done, rated, judged)):
        by_day = turns.order_by().values_list(TruncDate("created_at")).annotate(Count("pk"))
        for day, number in by_day:
            there[day][place] = number
    known = {day: held for day, *held in Day.objects.values_list("day", "turns", "rated", "judged")}
    return {day for day in there.keys() | known.keys() if known.get(day) != there.get(day)}


# --- a day ------------------------------------------------------------------------------


@transaction.atomic
def count(day: date) -> None:
    """Count a day from its turns, in the place of what was counted before."""
    locking.wait(f"tally:{day}")
    # First: who finds later that something changed waits for this row, and has it counted again.
    held, _new = Day.objects.update_or_create(day=day, defaults={"counted_at": timezone.now()})
    tallies: dict[tuple[Any, ...], _Counting] = defaultdict(_Counting)
    documents, minutes = _Documents(), Counter[datetime]()
    counted = Counter[str]()
    for asked in _asked(day):
        tallies[_corner(asked)].add(asked)
        documents.add(asked)
        minutes[asked.created_at.replace(second=0, microsecond=0)] += 1
        counted["turns"] += 1
        counted["rated"] += asked.helpful is not None
        counted["judged"] += asked.verdict is not None
    Tally.objects.filter(day=day).delete()
    DocumentTally.objects.filter(day=day).delete()
    bases = set(KnowledgeBase.objects.values_list("pk", flat=True))
    made = [(_tally(day, corner, bases, one), one) for corner, one in tallies.items()]
    Tally.objects.bulk_create([tally for tally, _ in made])
    Spending.objects.bulk_create(row for tally, one in made for row in one.spending(tally))
    DocumentTally.objects.bulk_create(documents.rows(day))
    if not counted["turns"]:
        held.delete()
        return
    for name in ("turns", "rated", "judged"):
        setattr(held, name, counted[name])
    held.peak = max(minutes.values())
    held.save(update_fields=["turns", "rated", "judged", "peak"])


def _asked(day: date) -> Iterator[Asked]:
    begin = timezone.make_aware(datetime.combine(day, datetime.min.time()))
    end = timezone.make_aware(datetime.combine(day + timedelta(days=1), datetime.min.time()))
    with connection.cursor() as cursor:
        cursor.execute(_TURNS, [begin, end])
        for row in cursor:
            yield Asked(*map(_read, row, Asked.__annotations__))


def _read(value: Any, name: str) -> Any:
    if name in ("steps", "prompts", "degraded", "chunks", "found_base"):
        value = json.loads(value) if isinstance(value, str) else value
        return value if value is not None or name == "found_base" else {} if name == "steps" else []
    return value


def _corner(asked: Asked) -> tuple[Any, ...]:
    by = asked.asking
    return (
        asked.found_base or asked.asked_base,
        (asked.topic or "")[:200],
        asked.channel,
        str(by.get("model", ""))[:200],
        str(by.get("sha256", ""))[:DIGEST],
        (asked.configuration or "")[:200],
    )


def _tally(day: date, corner: tuple[Any, ...], bases: set[int], held: "_Counting") -> Tally:
    base, *others = corner
    names = ("topic", "channel", "model", "prompt", "configuration")
    tally = Tally(day=day, base_id=base if base in bases else None, degraded=dict(held.degraded),
                  **dict(zip(names, others, strict=True)))  # fmt: skip
    for name in Counted:
        setattr(tally, name, held.counted[name])
    for name in Paces:
        setattr(tally, name, counts(held.times[name]))
    return tally


Counted = (
    "turns", *OUTCOMES.values(), "kept", "conversations", "alone", "rated", "bad", "judged",
    "right",
)  # fmt: skip
Paces = ("waited", "first", "whole", *STEPS)


@dataclass
class _Counting:
    """The turns of one corner of a day."""

    counted: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    requests: dict[tuple[str, str, str], list[dict[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, asked: Asked) -> None:
        answered = asked.outcome == Turn.Outcome.ANSWERED
        self.counted += Counter(
            {
                "turns": 1,
                OUTCOMES.get(Turn.Outcome(asked.outcome or "discarded"), "discarded"): 1,
                "kept": int(asked.kept),
                "conversations": int(asked.begins),
                "alone": int(asked.begins and asked.alone),
                "rated": int(asked.helpful is not None),
                "bad": int(asked.helpful is False),
                "judged": int(answered and asked.verdict in JUDGED),
                "right": int(answered and asked.verdict in RIGHT),
            }
        )
        self.degraded.update(asked.degraded)
        self._time(asked)
        for request in asked.prompts:
            name = str(request["prompt"])[:100]
            key = str(request["model"])[:200], name, str(request["sha256"])[:DIGEST]
            self.requests[key].append(request)

    def _time(self, asked: Asked) -> None:
        if asked.outcome == Turn.Outcome.DISCARDED:
            return
        taken = asked.whole
        times = {"waited": _ms(asked.created_at, asked.started_at), "whole": taken}
        # What was not streamed is shown when it is finished.
        times["first"] = asked.first_ms if asked.first_ms is not None else taken
        times |= {name: asked.steps.get(name) for name in STEPS}
        for name, milliseconds in times.items():
            if milliseconds is not None:
                self.times[name].append(milliseconds)

    def spending(self, tally: Tally) -> Iterator[Spending]:
        for (model, prompt, version), requests in self.requests.items():
            told = [one for one in requests if one.get("tokens_in") is not None]
            yield Spending(
                tally=tally,
                model=model,
                prompt=prompt,
                version=version,
                requests=len(requests),
                told=len(told),
                tokens_in=sum(one["tokens_in"] for one in told),
                tokens_out=sum(one.get("tokens_out") or 0 for one in told),
                took=counts(one["ms"] for one in requests),
            )


class _Documents:
    """What each document did on a day."""

    def __init__(self) -> None:
        self.found: list[set[int]] = []  # passages, by turn
        self.counted: dict[int, Counter[str]] = defaultdict(Counter)

    def add(self, asked: Asked) -> None:
        self.found.append(set(asked.chunks))
        judged = asked.verdict in JUDGED
        for document in asked.cited:
            self.counted[document].update(
                cited=1,
                rated=int(asked.helpful is not None),
                bad=int(asked.helpful is False),
                judged=int(judged),
                wrong=int(judged and asked.verdict not in RIGHT),
            )

    def rows(self, day: date) -> list[DocumentTally]:
        chunks = Chunk.objects.filter(pk__in=set().union(*self.found))
        owners = dict(chunks.values_list("pk", "document"))
        for found in self.found:
            for document in {owners[chunk] for chunk in found if chunk in owners}:
                self.counted[document]["found"] += 1
        there = set(Document.objects.filter(pk__in=self.counted).values_list("pk", flat=True))
        names = ("found", "cited", "rated", "bad", "judged", "wrong")
        return [
            DocumentTally(day=day, document_id=pk, **{name: held[name] for name in names})
            for pk, held in self.counted.items()
            if pk in there
        ]
