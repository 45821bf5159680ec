"""Today at a glance, on the start page: what was asked and came of it, how sure that is proven, who
waits, what fails, and what to do next.

Everybody sees what they may see elsewhere. What is counted is kept for a minute.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Count, Min, Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.models import ToolCall, Turn
from evaluation import alerts, figures, gating, operations, trends
from evaluation.charts import Chart, Series, shown
from evaluation.estimating import NOTHING
from evaluation.models import Alert, Day, Gap, Goal, Sample
from evaluation.operations import Figures, Period
from handoff.access import may_serve
from handoff.models import Agent, Handoff
from knowledge import demo, permissions
from knowledge.models import Document
from opsdesk.models import Outage

SECONDS = 60  # that figures are kept
DAYS = 14  # of the charts
SAMPLES = 8  # of the chart of accuracy
TOPICS = 3
ALERTS = 5
BEGINNING = 7  # days with questions, after which nobody is told how to begin


@dataclass
class Now:
    """What is counted for all who see the same bases; plain, so that a cache keeps it."""

    today: dict[str, int]
    yesterday: int
    half: float | None  # milliseconds of today's answers
    most: float | None  # 95 of 100
    first: float | None  # of the last days: their first sentence
    days: dict[date, Figures] = field(default_factory=dict)
    asked_ever: bool = True
    failed_tools: int = 0
    failing: int = 0  # services


def section(request: HttpRequest) -> str:
    """The top of the start page (`settings.START_SECTIONS`); "" for whom there is nothing."""
    user: Any = request.user
    everything = operations.may_view_all(user)
    seen = operations.bases(user).order_by("pk").values_list("pk", flat=True)
    bases = None if everything else tuple(seen)
    serves = user.has_perm("handoff.view_handoff") or may_serve(user)
    if bases == () and not serves:
        return ""
    context: dict[str, Any] = {"queue": _queue() if serves else None, "everything": everything}
    if bases != ():
        now = _kept(bases)
        context |= {"steps": steps(user), "asked_ever": now.asked_ever}
        if now.asked_ever:
            context |= _figures(now, bases)
        context["topics"] = _topics(bases)
        context["alerts"] = _alerts(bases)
        if everything and now.asked_ever:
            context |= _proven(user)
    return render_to_string("admin/evaluation/dashboard.html", context, request)


# --- counting ---------------------------------------------------------------------------


def _kept(bases: tuple[int, ...] | None) -> Now:
    digest = hashlib.sha256(repr(bases).encode()).hexdigest()[:20]
    key = f"dashboard:{timezone.localdate()}:{digest}"
    made: Now | None = cache.get(key)
    if made is None:
        made = counted(bases)
        if made.asked_ever:  # who asks the first question comes back to see it
            cache.set(key, made, SECONDS)
    return made


def counted(bases: tuple[int, ...] | None) -> Now:
    """What stands in the tallies, and for who sees everything today's turns as they are."""
    today = timezone.localdate()
    period = trends.last(DAYS, today, bases)
    days = operations.daily(period)
    half = most = None
    if bases is None:
        now = operations.today()
        half, most = _took(Period(today, today))
    else:
        now = days.get(today) or Figures(dict.fromkeys(operations.COUNTED, 0))
        half, most = now.took("whole"), now.took("whole", 0.95)
    week = trends.last(7, today, bases)
    yesterday = days.get(today - timedelta(days=1))
    made = Now(
        {**now.counted, "asked": now.asked},
        yesterday.asked if yesterday else 0,
        half,
        most,
        operations.overview(week).took("first"),
        days,
        asked_ever=bool(days) or Turn.objects.exists(),
    )
    if bases is None:
        made.failed_tools = ToolCall.objects.filter(
            created_at__gte=week.ends() - timedelta(days=1), trial=False,
            status__in=[ToolCall.Status.FAILED, ToolCall.Status.UNKNOWN],
        ).count()  # fmt: skip
        made.failing = Outage.objects.failing().count()
    return made


def _took(period: Period) -> tuple[float | None, float | None]:
    """Milliseconds until the whole answer, for half and for 95 of 100 of its turns."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT percentile_disc(array[0.5, 0.95]) WITHIN GROUP (ORDER BY"
            " extract(epoch FROM finished_at - created_at) * 1000) FROM chat_turn"
            " WHERE created_at >= %s AND created_at < %s AND status = 'done'"
            " AND outcome <> 'discarded'",
            [period.begins(), period.ends()],
        )
        row = cursor.fetchone()[0]
    return (float(row[0]), float(row[1])) if row else (None, None)


# --- showing ----------------------------------------------------------------------------


def _figures(now: Now, bases: tuple[int, ...] | None) -> dict[str, Any]:
    asked = now.today["asked"]
    turns = reverse("admin:chat_turn_changelist") if bases is None else ""
    day = timezone.localdate()
    begins = Period(day, day).begins().isoformat()

    def of(label: str, name: str, level: str = "") -> dict[str, Any]:
        count = now.today[name]
        share = shown(count / asked, "share") if asked else ""
        wanted = {"outcome__exact": LINKS[name].value, "created_at__gte": begins}
        url = f"{turns}?{urlencode(wanted)}" if turns else ""
        return {"label": label, "value": count, "note": share, "url": url,
                "level": level if count else ""}  # fmt: skip

    numbers = [
        {"label": _("questions today"), "value": asked,
         "note": _("yesterday %(n)s") % {"n": now.yesterday}},
        of(_("answered"), "answered"),
        of(_("asked back"), "clarified"),
        of(_("handed off"), "handed"),
        of(_("failed"), "failed", "error"),
        {"label": _("whole answer, median"), "value": shown(now.half, "ms"),
         "note": _("95 of 100: %(time)s") % {"time": shown(now.most, "ms")}},
        {"label": _("first sentence, median"), "value": shown(now.first, "ms"),
         "note": _("of seven days")},
    ]  # fmt: skip
    if bases is None:
        numbers.append(
            {"label": _("failures of tools and services"),
             "value": now.failed_tools + now.failing,
             "note": _("calls %(calls)s, services %(services)s")
             % {"calls": now.failed_tools, "services": now.failing},
             "level": "error" if now.failed_tools or now.failing else ""}
        )  # fmt: skip
    period = trends.last(DAYS, day, bases)
    return {"numbers": numbers, "charts": trends.recent(now.days, period) if now.days else []}


LINKS = {
    "answered": Turn.Outcome.ANSWERED,
    "clarified": Turn.Outcome.CLARIFYING,
    "handed": Turn.Outcome.HANDOFF,
    "failed": Turn.Outcome.FAILED,
}


def _proven(user: Any) -> dict[str, Any]:
    """Accuracy and recall as the latest sample has them, and as they were."""
    latest = figures.latest()
    goals = {name: share * 100 for name, share in settings.GOALS.items()}
    goals |= dict(Goal.objects.values_list("figure", "value"))
    rows = []
    for name, label in ((Goal.Figure.ACCURACY, _("accuracy")), (Goal.Figure.RECALL, _("recall"))):
        estimate, goal = latest[name] or NOTHING, goals.get(name)
        row: dict[str, Any] = {"label": label, "value": shown(estimate.value, "share")}
        if estimate.value is not None:
            row["note"] = _("%(low)s to %(high)s, of %(n)s") % {
                "low": shown(estimate.low, "share"),
                "high": shown(estimate.high, "share"),
                "n": estimate.n,
            }
            if goal is not None and estimate.value < goal / 100:
                row["level"] = "error"
        else:
            row["note"] = _("not measured yet")
        rows.append(row)
    chart = proven_over_time()
    may_sample = user.has_perm("evaluation.add_sample")
    unproven = not latest.get(Goal.Figure.ACCURACY)
    return {
        "proven": rows,
        "proven_chart": chart,
        "draw": reverse("admin:evaluation_sample_changelist") if may_sample and unproven else "",
        "sample": latest.get("sample"),
    }


def proven_over_time() -> Chart | None:
    """Accuracy and recall of the last samples of all traffic; None of fewer than two."""
    labelled = Count("items", filter=Q(items__kind__isnull=False))
    samples = Sample.objects.annotate(n=labelled).filter(n__gte=figures.FEWEST)
    whole = [one for one in samples.order_by("-drawn_at")[:SAMPLES] if not figures.narrowed(one)]
    if len(whole) < 2:
        return None
    held = [(sample, figures.of(sample)) for sample in reversed(whole)]
    labels = [f"{timezone.localtime(sample.drawn_at):%m-%d}" for sample, _made in held]
    series = [
        Series(label, [getattr(made, name).value for _sample, made in held],
               [(getattr(made, name).low, getattr(made, name).high) for _sample, made in held])
        for name, label in (("accuracy", _("accuracy")), ("recall", _("recall")))
    ]  # fmt: skip
    goal = Goal.objects.filter(figure=Goal.Figure.ACCURACY).first()
    return Chart(_("Accuracy and recall, with 95 % intervals"), labels, series, "line", "share",
                 goal.measured if goal else None, _("sample of"))  # fmt: skip


def _queue() -> dict[str, Any]:
    """Who waits for a person, and since when."""
    waiting = Handoff.objects.waiting()
    count, first = waiting.count(), waiting.aggregate(first=Min("requested_at"))["first"]
    minutes = round((timezone.now() - first).total_seconds() / 60) if first else 0
    return {"count": count, "minutes": minutes, "url": reverse("console")}


def _topics(bases: tuple[int, ...] | None) -> list[Gap]:
    found = Gap.objects.filter(state=Gap.State.OPEN)
    if bases is not None:
        found = found.filter(base__in=bases)
    return list(found.select_related("base")[:TOPICS])


def _alerts(bases: tuple[int, ...] | None) -> list[tuple[Alert, str]]:
    """What is the matter; of topics and replays alone to who sees some bases."""
    lasting = Alert.objects.filter(ended_at=None)
    if bases is not None:
        own = Gap.objects.filter(base__in=bases).values_list("pk", flat=True)
        names = [f"{alerts.TOPIC}{pk}" for pk in own] + [f"{alerts.BASE}{pk}" for pk in bases]
        lasting = lasting.filter(name__in=names)
    return [(alert, leads_to(alert)) for alert in lasting[:ALERTS]]


def leads_to(alert: Alert) -> str:
    """Where it is seen what an alert is about."""
    kind, _colon, number = alert.name.rpartition(":")
    if kind == "gap":
        return reverse("admin:evaluation_gap_change", args=[number])
    if kind == "replay":
        run = gating.worse_now(int(number))
        return reverse("admin:evaluation_run_change", args=[run]) if run else (
            reverse("admin:evaluation_run_changelist"))  # fmt: skip
    if alert.name in (Goal.Figure.ACCURACY, Goal.Figure.RECALL):
        return reverse("admin:evaluation_sample_changelist")
    return reverse("admin:evaluation_tally_changelist")


def steps(user: Any) -> list[dict[str, Any]]:
    """The three things to do first, for as far as `user` may; none once they are done, or when
    OpsDesk has been in use for some days."""
    if Day.objects.filter(turns__gt=0).count() > BEGINNING:
        return []
    made = []
    if user.has_perm("knowledge.add_document") or permissions.bases(user, "add").exists():
        own = Document.objects.exclude(knowledge_base__slug=demo.SLUG)
        made.append({"title": _("Bring your documents in"),
                     "text": _("PDF, Word, Excel, web pages … Answers cite them. Until then there "
                               "is a demo to try it with."),
                     "done": own.filter(current__isnull=False).exists(),
                     "url": reverse("admin:knowledge_document_add")})  # fmt: skip
    made.append({"title": _("Ask a question"),
                 "text": _("On the chat page, as a customer would. What comes of it stands here."),
                 "done": Turn.objects.exists(), "url": reverse("chat")})  # fmt: skip
    if user.has_perm("handoff.add_agent") or may_serve(user):
        staffed = Agent.objects.exists() or not user.has_perm("handoff.add_agent")
        made.append({"title": _("Have people on duty"),
                     "text": _("They take over what OpsDesk cannot answer: name them, then they "
                               "open the console and go on duty."),
                     "done": Agent.objects.filter(on_duty=True).exists(),
                     "url": reverse("console" if staffed else "admin:handoff_agent_add"),
                     })  # fmt: skip
    return [] if all(step["done"] for step in made) else made
