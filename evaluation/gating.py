"""The gate before a change, and the watch behind documents: golden questions and yesterday's.

What is replayed is compared, question by question, with the same as it is answered now. A change
of configuration or threshold waits for its run in the background and is put to use when it has
passed; documents of a gated base are tried inside a transaction that is undone. Documents of other
bases answer at once, are replayed then, and raise an alert.
"""

import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat import configurations
from chat.models import Configuration
from evaluation import alerts, comparing, golden, running
from evaluation.comparing import Comparison
from evaluation.models import Alert, GoldenQuestion, Run
from knowledge import calibrating
from knowledge.models import Calibration, Document, KnowledgeBase
from opsdesk.gates import Change, Refusal

SIGNIFICANT = 0.05
LASTS = timedelta(days=1)  # what a run said, where its versions still hold
TRIED_SECONDS = 20.0  # of a document's trial: what answers from its base waits as long to change
SETTLED = 900  # seconds after which a base that keeps changing is replayed all the same
RECENT = 20  # runs that are looked through for the same questions
NAMED = 3  # lost questions that a refusal names


def gate(change: Change) -> Refusal | None:
    """`settings.GATES`: what golden questions and yesterday's say of a change."""
    if settings.GATE == "off":
        return None
    return _document(change) if change.tried else _in_background(change)


def _plan(change: Change, overrides: Any) -> running.Plan:
    return running.plan(overrides, base=change.base, yesterday=settings.GATE_YESTERDAY)


# --- in the background ------------------------------------------------------------------


@transaction.atomic
def _in_background(change: Change) -> Refusal | None:
    """What the latest run for these very settings and versions says; begins one without."""
    now = configurations.overrides()
    after = _plan(change, {**(now if change.kind == "threshold" else {}), **change.overrides})
    if not after.questions:
        return None
    subject = f"{change.kind}:{change.subject}"
    run = _same(after).filter(subject=subject).first() or _begin(change, subject, after, now)
    url = reverse("admin:evaluation_run_change", args=[run.pk])
    if run.state != Run.State.DONE:
        n = run.total
        said = ngettext(
            "It is replayed on %(n)d question first, and used when it has passed.",
            "It is replayed on %(n)d questions first, and used when it has passed.",
            n,
        )
        return Refusal(said % {"n": n}, url, waiting=True)
    if run.verdict == Run.Verdict.REFUSED and settings.GATE == "block":
        return Refusal(" ".join(run.reasons), url)
    return None


def _begin(change: Change, subject: str, after: running.Plan, now: Any) -> Run:
    if change.kind == "configuration":
        used = Configuration.objects.filter(pk=change.subject).first()
        after = replace(after, configuration=used)
    before = replace(after, overrides=now, configuration=configurations.active())
    baseline = _measured(before) or running.start(
        before, kind=Run.Kind.GATE, by_id=change.by, name=_("as it is now")
    )
    return running.start(
        after, kind=Run.Kind.GATE, subject=subject, baseline=baseline, by_id=change.by,
        name=str(after.configuration if change.kind == "configuration" else _("new threshold")),
    )  # fmt: skip


def _measured(wanted: running.Plan) -> Run | None:
    """A run that asked just these questions, or is about to."""
    keys = {one.key for one in wanted.questions}
    return next(
        (run for run in _same(wanted)[:RECENT]
         if keys == set(run.results.values_list("key", flat=True))),
        None,
    )  # fmt: skip


def _same(wanted: running.Plan) -> QuerySet[Run]:
    """What came lately of the same versions and golden questions, the latest first."""
    rows = Run.objects.filter(
        fingerprint=running.fingerprint(wanted), created_at__gte=timezone.now() - LASTS
    )
    return rows.exclude(state=Run.State.CANCELLED).order_by("-pk")


def finished(run: Run) -> None:
    """What a run that has just ended means: a verdict, then the change or an alert."""
    if run.baseline is None or run.baseline.state != Run.State.DONE:
        return
    judge(run, comparing.compare(run.baseline, run))
    if run.kind == Run.Kind.GATE:
        settle(run)
    elif run.kind == Run.Kind.WATCH:
        alert(run)


def judge(run: Run, comparison: Comparison) -> None:
    run.reasons = reasons(comparison)
    run.verdict = Run.Verdict.REFUSED if run.reasons else Run.Verdict.PASSED
    run.save(update_fields=["reasons", "verdict"])


def reasons(comparison: Comparison) -> list[str]:
    """Why the second run is worse, in sentences; none when it is not."""
    lost = comparison.golden.of(comparing.LOST)
    must = [pair.after for pair in lost if pair.after.golden and pair.after.golden.must]
    found = [
        _("Lost, though it must not be: %(question)s.") % {"question": one.question[:80]}
        for one in must[:NAMED]
    ]
    for part, allowed, text in (
        (comparison.golden, settings.GATE_LOSS, _("of the golden questions")),
        (comparison.traffic, settings.GATE_TRAFFIC_LOSS, _("of yesterday's questions")),
    ):
        apart = part.difference
        net = apart.lost - apart.won
        if net <= 0:
            continue
        if 100 * net > allowed * apart.n or apart.p < SIGNIFICANT:
            said = _("%(lost)d %(part)s are lost and %(won)d won, of %(n)d (p = %(p).3f).")
            facts = {"lost": apart.lost, "won": apart.won, "n": apart.n, "p": apart.p}
            found.append(said % {**facts, "part": text})
    return found


@transaction.atomic
def settle(run: Run) -> None:
    """Put what passed to use, for whoever wanted it; what did not, or was cancelled, waits no
    more. What was taken back or changed meanwhile stays so."""
    warned = settings.GATE == "warn" and run.state == Run.State.DONE
    passed = run.verdict == Run.Verdict.PASSED or warned
    kind, _colon, number = run.subject.partition(":")
    if kind == "configuration":
        rows = Configuration.objects.select_for_update().order_by("pk")  # all, as `use` does
        row = next((one for one in rows if one.pk == int(number)), None)
        if row is None or row.overrides != run.overrides:
            return
        if passed and row.state == Configuration.State.CHECKING:
            configurations.use(row, run.by)
        configurations.withdraw(row.pk)
    elif kind == "threshold":
        list(KnowledgeBase.objects.select_for_update().filter(pk=run.knowledge_base_id or 0))
        held = Calibration.objects.filter(pk=number, waiting=True)
        if passed and (made := held.select_related("knowledge_base").first()):
            calibrating.use(made.knowledge_base, made)
        held.update(waiting=False)


def forget(kind: str, subject: int, **kwargs: Any) -> None:
    """`gates.withdrawn`: nobody waits for what is still being replayed."""
    for run in Run.objects.unfinished().filter(subject=f"{kind}:{subject}"):
        running.cancel(run)


# --- documents of a gated base ----------------------------------------------------------


def _document(change: Change) -> Refusal | None:
    """Before and with the document, without a model: what is found has changed, not its words."""
    assert change.tried is not None  # noqa: S101
    overrides = {**configurations.overrides(), "LLM": False}
    wanted = _plan(change, overrides)
    if not wanted.questions:
        return None
    subject = f"{change.kind}:{change.subject}"
    before = _measured(wanted)
    if before is None or before.state != Run.State.DONE:
        before = running.prepare(
            wanted, kind=Run.Kind.GATE, by_id=change.by, name=_("as it is now")
        )  # fmt: skip
        _now(before)
    with change.tried():
        results, versions = _answers(before), running.versions(wanted)
    after = _kept(before, results, versions, subject, change)
    finished(after)
    if after.verdict == Run.Verdict.REFUSED and settings.GATE == "block":
        return Refusal(
            " ".join(after.reasons), reverse("admin:evaluation_run_change", args=[after.pk])
        )
    return None


def _now(run: Run) -> None:
    """Ask within the time that a trial has; what there was no time for is not compared."""
    running.work(run, time.monotonic() + TRIED_SECONDS)
    run.results.filter(outcome="").delete()
    asked = run.results.count()
    Run.objects.filter(pk=run.pk).update(
        state=Run.State.DONE, finished_at=timezone.now(), total=asked, done=asked
    )
    run.refresh_from_db()


def _answers(before: Run) -> list[Any]:
    """What comes of the same questions now, in no row: what is written here is undone."""
    rows = list(before.results.select_related("golden", "knowledge_base"))
    for row in rows:
        running.ask(before, row)
    return rows


def _kept(before: Run, results: list[Any], versions: Any, subject: str, change: Change) -> Run:
    with transaction.atomic():
        run = Run.objects.create(
            kind=Run.Kind.GATE, state=Run.State.DONE, finished_at=timezone.now(),
            subject=subject, baseline=before, overrides=before.overrides, versions=versions,
            knowledge_base_id=change.base, total=len(results), done=len(results),
            by_id=change.by, name=str(Document.objects.get(revisions=change.subject))[:200],
        )  # fmt: skip
        for row in results:
            row.pk, row.run = None, run
        run.results.bulk_create(results)
    return run


# --- behind documents that went live ----------------------------------------------------


def watch() -> int:
    """Replay bases that may answer otherwise than when they were replayed last; a task. How many.

    Documents, golden questions, and whatever else counts: a release, a model in the environment.
    One that keeps changing, as while much is brought in, is left alone until it stands still for
    the time between two looks, but for no longer than SETTLED.
    """
    golden.find_again()
    approved = GoldenQuestion.objects.approved().values("knowledge_base")
    bases = KnowledgeBase.objects.filter(pk__in=approved) if settings.GATE != "off" else ()
    _no_more({f"{alerts.BASE}{base.pk}" for base in bases})
    return sum(_look(base) for base in bases)


def _no_more(names: set[str]) -> None:
    """End the alerts of bases that are looked at no more."""
    lasting = Alert.objects.filter(ended_at=None, name__startswith=alerts.BASE)
    for name in lasting.exclude(name__in=names).values_list("name", flat=True):
        alerts.end(name)


def _look(base: KnowledgeBase) -> bool:
    runs = Run.objects.filter(kind=Run.Kind.WATCH, knowledge_base=base)
    last = runs.exclude(state=Run.State.CANCELLED).first()
    if last and last.unfinished:
        return False
    used = configurations.active()
    overrides = used.overrides if used else {}
    plan = partial(running.plan, overrides, base=base.pk, configuration=used)
    fingerprint = running.fingerprint(plan())
    if last and last.fingerprint == fingerprint:
        return False
    key, now = f"watch:{base.pk}", timezone.now()
    before, since = cache.get(key, (None, now))
    if last and before != fingerprint and (now - since).total_seconds() < SETTLED:
        cache.set(key, (fingerprint, since), None)
        return False
    cache.delete(key)
    baseline, most = _last_good(base), settings.GATE_YESTERDAY
    wanted = plan(yesterday=most)
    if baseline:  # of other questions than these nothing is lost and nothing won
        wanted = running.beside(wanted, running.asked_by(baseline, most))
    running.start(wanted, kind=Run.Kind.WATCH, subject=f"base:{base.pk}", baseline=baseline)
    return True


def _last_good(base: KnowledgeBase) -> Run | None:
    """The last that was no worse than the one before: what is lost stays lost until it is found."""
    runs = Run.objects.filter(
        kind=Run.Kind.WATCH, knowledge_base=base, state=Run.State.DONE
    ).exclude(verdict=Run.Verdict.REFUSED)
    return runs.first()


def accept(run: Run) -> bool:
    """Hold later changes against what this replay brought, though it was worse, those too that are
    replayed just now; whether it is what was said last of its base."""
    if run.pk != worse_now(run.knowledge_base_id):
        return False
    Run.objects.filter(pk=run.pk).update(verdict=Run.Verdict.ACCEPTED)
    following = Run.objects.unfinished().filter(kind=Run.Kind.WATCH)
    following.filter(knowledge_base=run.knowledge_base_id).update(baseline=run)
    alerts.end(f"{alerts.BASE}{run.knowledge_base_id}")
    return True


def worse_now(base: int | None) -> int | None:
    """The id of the latest replay after a change of a base, if that was worse."""
    runs = Run.objects.filter(kind=Run.Kind.WATCH, knowledge_base=base, state=Run.State.DONE)
    last = runs.first()
    return last.pk if last and last.verdict == Run.Verdict.REFUSED else None


def alert(run: Run) -> None:
    """Begin or end the alert of a base by what its latest replay said."""
    name = f"{alerts.BASE}{run.knowledge_base_id}"
    if run.verdict == Run.Verdict.PASSED:
        alerts.end(name)
        return
    said = _("%(base)s answers worse than before: %(reasons)s")
    alerts.begin(name, said % {"base": run.knowledge_base, "reasons": " ".join(run.reasons)})
