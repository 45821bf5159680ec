"""What to fix next: questions that were not answered well, gathered into topics night by night.

A topic goes on being the same while it shares questions with what it was, or asks what it asked;
so what staff decided of it holds until it comes back.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from chat import pasting
from evaluation import alerts, clustering
from evaluation.models import Gap, GapQuestion, Tally
from knowledge import embedding, entries
from knowledge.masking import masked
from knowledge.models import Entry, KnowledgeBase
from opsdesk import locking
from opsdesk.errors import ModelError

log = logging.getLogger(__name__)
Kind = GapQuestion.Kind
State = Gap.State

DAYS, LATELY = 30, 7  # that are looked at; of these the last, which the others are held against
BACK = 2  # new questions by which a solved topic comes back
TEXT = 500  # characters
RISEN = 3  # questions lately: fewer are no news
FALSE_ALARMS = 0.05  # share of all that is called rising
SAMPLED = 300  # questions of a topic that its name is taken from
EXAMPLES, VARIANTS = 20, 10  # questions that go with a draft
ANCHORS = 500  # earlier topics that are known again
PROGRESS, HOUR = "gaps:progress", 3600

# What went wrong. A trace is read once, of the few turns that may be meant.
_PROBLEMS = """
SELECT turn.id, turn.created_at, message.text, trace.query, turn.pending ->> 'question',
    coalesce((trace.sureness ->> 'base')::bigint, conversation.knowledge_base_id) AS base,
    CASE WHEN verdict.kind = 'missed' THEN 'missed'
        WHEN verdict.kind IN ('wrong', 'partly', 'unanswerable') THEN 'wrong'
        WHEN rating.helpful = false THEN 'bad'
        WHEN trace.policy #>> '{facts,unsure}' = 'true' THEN 'unanswered'
        WHEN trace.topic IS NULL AND turn.outcome = 'clarifying' AND (
            SELECT outcome FROM chat_turn before
            WHERE before.conversation_id = turn.conversation_id AND before.id < turn.id
            ORDER BY before.id DESC LIMIT 1) = 'clarifying' THEN 'asked_back'
    END AS kind
FROM chat_turn turn
JOIN chat_message message ON message.id = turn.message_id
JOIN chat_conversation conversation ON conversation.id = turn.conversation_id
LEFT JOIN chat_rating rating ON rating.message_id = turn.reply_id
LEFT JOIN evaluation_verdict verdict ON verdict.turn_id = turn.id
CROSS JOIN LATERAL jsonb_to_record(turn.trace) AS trace (
    query text, sureness jsonb, policy jsonb, topic text)
WHERE turn.created_at >= %s AND turn.status = 'done'
    AND (turn.outcome IN ('handoff', 'clarifying') OR rating.helpful = false
         OR verdict.kind IN ('wrong', 'partly', 'unanswerable', 'missed'))
    AND verdict.kind IS DISTINCT FROM 'refused'
"""


@dataclass(frozen=True)
class Problem:
    turn: int
    asked_at: datetime
    kind: str
    text: str  # masked


@dataclass
class Cluster:
    problems: list[Problem]
    known: Counter[int] = field(default_factory=Counter)  # gaps that it may be, with how many say


# --- looking ----------------------------------------------------------------------------


def enqueue() -> None:
    """Look again now; `progress` tells how far that is."""
    cache.set(PROGRESS, {"done": 0, "of": 0}, HOUR)
    name = settings.Q_CLUSTER["name"]
    async_task("evaluation.gaps.find_all", cluster=name, timeout=HOUR)


def progress() -> dict[str, int] | None:
    """{"done", "of"}: bases, while they are looked through."""
    held: dict[str, int] | None = cache.get(PROGRESS)
    return held


def find_all() -> int:
    """Nightly: find the topics of every base; how many. Nothing while another process is at it."""
    with locking.held("gaps") as alone:
        if not alone:
            return 0
        try:
            return _find_all()
        finally:
            cache.delete(PROGRESS)


def _find_all() -> int:
    since = timezone.now() - timedelta(days=DAYS)
    by_base: dict[int | None, list[Problem]] = defaultdict(list)
    for base, problem in _problems(since):
        by_base[base].append(problem)
    for base in Gap.objects.order_by().values_list("base", flat=True).distinct():
        by_base.setdefault(base, [])  # what is no longer asked
    there = set(KnowledgeBase.objects.values_list("pk", flat=True)) | {None}
    found = 0
    for done, (base, problems) in enumerate(by_base.items()):
        cache.set(PROGRESS, {"done": done, "of": len(by_base)}, HOUR)
        if base in there:
            found += find(base, problems)
    rising()
    alerts.of_topics()
    return found


def _problems(since: datetime) -> Iterator[tuple[int | None, Problem]]:
    with connection.cursor() as cursor:
        cursor.execute(_PROBLEMS, [since])
        for turn, at, said, query, pending, base, kind in cursor.fetchall():
            text = query or pending or pasting.read(said).gist
            text = " ".join(masked(text).split())[:TEXT]
            if kind and text:
                yield base, Problem(turn, at, kind, text)


@transaction.atomic
def find(base: int | None, problems: Sequence[Problem]) -> int:
    """Gather what went wrong with questions to a base into its topics; how many."""
    gaps = {gap.pk: gap for gap in Gap.objects.select_for_update().filter(base=base)}
    clusters = _clusters(base, problems, list(gaps.values()))
    common = clustering.words(problem.text for problem in problems)
    rows, kept = [], set()
    for cluster, known in _matched(clusters):
        gap = gaps[known] if known else Gap(base_id=base)
        _describe(gap, cluster, common, len(problems))
        gap.save()
        kept.add(gap.pk)
        rows += [
            GapQuestion(gap=gap, turn_id=one.turn, kind=one.kind, text=one.text,
                        asked_at=one.asked_at)
            for one in cluster.problems
        ]  # fmt: skip
    GapQuestion.objects.filter(turn__in=[row.turn_id for row in rows]).delete()
    gone = gaps.keys() - kept
    # Nobody asks it any more; what was decided is remembered.
    Gap.objects.filter(pk__in=gone, state=State.OPEN).delete()
    Gap.objects.filter(pk__in=gone).update(recent=0, rising=False)
    GapQuestion.objects.bulk_create(rows, batch_size=1000)
    return len(clusters)


def _clusters(base: int | None, problems: Sequence[Problem], gaps: Sequence[Gap]) -> list[Cluster]:
    """What went wrong by topic, each with the earlier topics that it may be."""
    by_text: dict[str, list[Problem]] = defaultdict(list)
    for problem in sorted(problems, key=lambda one: (one.asked_at, one.turn), reverse=True):
        by_text[problem.text.casefold()].append(problem)
    latest = sorted(gaps, key=lambda gap: gap.last_at, reverse=True)[:ANCHORS]
    anchors: dict[str, list[int]] = defaultdict(list)
    for gap in latest:
        anchors[gap.question.casefold()].append(gap.pk)
    texts = list(dict.fromkeys([*anchors, *by_text]))
    if len(texts) > clustering.MOST:
        log.warning("%s questions of a base are too many: the latest count", len(texts))
    texts = texts[: clustering.MOST]
    before = dict(GapQuestion.objects.filter(gap__in=gaps).values_list("turn", "gap"))
    made: dict[int, Cluster] = defaultdict(lambda: Cluster([]))
    for text, topic in zip(texts, clustering.gathered(texts, _meanings(base, texts)), strict=True):
        cluster = made[topic]
        cluster.problems += by_text.get(text, [])
        cluster.known.update(anchors.get(text, []))
        cluster.known.update(
            before[one.turn] for one in by_text.get(text, []) if one.turn in before
        )
    return [cluster for cluster in made.values() if cluster.problems]


def _meanings(base: int | None, texts: Sequence[str]) -> clustering.Matrix | None:
    """The texts as vectors, where an index answers for the base."""
    index = next(iter(embedding.answering([base])), None) if base and texts else None
    if index is None:
        return None
    try:
        embedder = embedding.embedder_of(index)
        made = np.array([one.vector for one in embedder.passages(texts)], np.float64)
    except ModelError as error:
        log.warning("Topics are found by words alone: %s", error)
        return None
    lengths = np.linalg.norm(made, axis=1, keepdims=True)
    return made / np.where(lengths, lengths, 1)


def _matched(clusters: Sequence[Cluster]) -> Iterator[tuple[Cluster, int | None]]:
    """Each cluster with the earlier topic that it goes on, each of these once."""
    votes = [
        (-said, gap, place)
        for place, cluster in enumerate(clusters)
        for gap, said in cluster.known.items()
    ]
    chosen: dict[int, int] = {}
    for _said, gap, place in sorted(votes):
        if place not in chosen and gap not in chosen.values():
            chosen[place] = gap
    return ((cluster, chosen.get(place)) for place, cluster in enumerate(clusters))


def _describe(gap: Gap, cluster: Cluster, common: Counter[str], of: int) -> None:
    asked = [one.asked_at for one in cluster.problems]
    texts = [one.text for one in cluster.problems][:SAMPLED]
    lately = timezone.now() - timedelta(days=LATELY)
    gap.words = [word[:64] for word in clustering.label(texts, common, of)]
    gap.question = texts[clustering.typical(texts)]
    gap.count, gap.recent = len(asked), sum(at >= lately for at in asked)
    gap.first_at = min([*asked, *([gap.first_at] if gap.pk else [])])
    gap.last_at = max(asked)
    if gap.state != State.OPEN and gap.decided_at:
        new = sum(at > gap.decided_at for at in asked)
        enough = BACK if gap.state == State.SOLVED else max(BACK, gap.decided_count)
        if new >= enough:
            gap.state, gap.back_at = State.OPEN, timezone.now()


# --- rising -----------------------------------------------------------------------------


def rising() -> int:
    """Mark the open topics that are asked more than before, measured against all questions; how
    many. Of what is marked no more than FALSE_ALARMS are chance (Benjamini and Hochberg)."""
    from scipy.stats import binomtest, false_discovery_control  # takes a second

    gaps = list(Gap.objects.filter(state=State.OPEN))
    if not gaps:
        return 0
    shares = _lately(timezone.localdate())
    chances = []
    for gap in gaps:
        share = shares.get(gap.base_id, shares[None])
        gap.expected = (gap.count - gap.recent) * share / (1 - share) if share < 1 else gap.recent
        chances.append(binomtest(gap.recent, gap.count, share, alternative="greater").pvalue)
    for gap, chance in zip(gaps, false_discovery_control(chances), strict=True):
        gap.rising = bool(chance <= FALSE_ALARMS and gap.recent >= RISEN)
    Gap.objects.bulk_update(gaps, ["rising", "expected"], batch_size=500)
    return sum(gap.rising for gap in gaps)


def _lately(today: Any) -> dict[int | None, float]:
    """Which share of a month's questions to each base came in the last week; None: to all."""
    week = today - timedelta(days=LATELY)
    rows = Tally.objects.filter(day__gt=today - timedelta(days=DAYS))
    counts: dict[int | None, list[int]] = defaultdict(lambda: [0, 0])
    for day, base, turns in rows.values_list("day", "base").annotate(Sum("turns")):
        for one in {base, None}:
            counts[one][0] += turns if day > week else 0
            counts[one][1] += turns
    shares = {base: lately / turns for base, (lately, turns) in counts.items() if turns}
    return {None: 1.0, **shares}  # of nothing earlier nothing can rise


# --- deciding ---------------------------------------------------------------------------


def decide(gap: Gap, state: str, user: Any) -> None:
    """Set a topic aside as solved or dismissed, or open it again."""
    gap.state = State(state)
    gap.decided_at, gap.decided_by = timezone.now(), user
    gap.decided_count = gap.count
    gap.back_at = None
    if gap.state != State.OPEN:
        gap.rising = False
        alerts.end(f"{alerts.TOPIC}{gap.pk}")
    gap.save()


def draft(gap: Gap, base: KnowledgeBase, user: Any) -> Entry:
    """The FAQ entry that is to be written for a topic: its questions are there, the answer is
    missing. The same again while that entry is there."""
    if gap.entry:
        return gap.entry
    asked = gap.questions.values_list("text", "asked_at")[:EXAMPLES]
    context = [
        {"who": _("customer"), "at": f"{timezone.localtime(at):%Y-%m-%d %H:%M}", "text": text}
        for text, at in asked
    ]
    reference = _("What to fix next: %(topic)s") % {"topic": gap}
    with transaction.atomic():
        entry = entries.draft(
            base, gap.question, "", origin=Entry.Origin.STAFF, reference=reference,
            context=context, user=user,
        )  # fmt: skip
        if not entry.variants and not entry.answer:
            texts = dict.fromkeys(text for text, _at in asked if text != entry.question)
            entry.variants = list(texts)[:VARIANTS]
            entry.save(update_fields=["variants"])
        Gap.objects.filter(pk=gap.pk).update(entry=entry)
    return entry
