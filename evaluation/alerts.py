"""Who is told when a figure misses its goal, a topic is suddenly asked for or a base answers worse:
once, and once more when it is over.

What swings around its goal is one alert: it ends when nothing has been the matter for CALM.
"""

import logging
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from evaluation import figures, operations
from evaluation.charts import shown
from evaluation.models import Alert, Gap, Goal
from opsdesk import outages

log = logging.getLogger(__name__)

LEAST = 20  # of what a figure is of, within DAYS; fewer tell nothing
DAYS = 7
CALM = timedelta(hours=20)  # a look at night, and the one after it
TOPIC, BASE = "gap:", "replay:"


def check() -> None:
    """Task: hold every figure against its goal."""
    held, goals = dict(_figures()), list(Goal.objects.all())
    said = {goal.figure for goal in goals}
    goals += [
        Goal(figure=name, value=share * 100)
        for name, share in settings.GOALS.items()
        if name not in said
    ]
    for goal in goals:
        value = held.get(goal.figure)
        if value is None:
            continue  # nothing is known: what was said of it holds
        if value > goal.measured if goal.at_most else value < goal.measured:
            begin(goal.figure, _missed(goal, value))
        else:
            better(goal.figure)
    lasting = Alert.objects.filter(ended_at=None, name__in=Goal.Figure.values)
    names = [goal.figure for goal in goals]
    for name in lasting.exclude(name__in=names).values_list("name", flat=True):
        end(name)  # its goal was taken back


def _missed(goal: Goal, value: float) -> str:
    values = {
        "figure": goal,
        "value": shown(value, goal.unit),
        "goal": shown(goal.measured, goal.unit),
    }
    if goal.at_most:
        return _("%(figure)s: %(value)s, the goal is at most %(goal)s.") % values
    return _("%(figure)s: %(value)s, the goal is at least %(goal)s.") % values


def _figures() -> Iterator[tuple[str, float | None]]:
    """What is measured: of the latest sample, and of the last DAYS."""
    latest = figures.latest()
    for name in (Goal.Figure.ACCURACY, Goal.Figure.RECALL):
        yield name, latest[name].value if latest[name] else None
    today = timezone.localdate()
    made = operations.overview(operations.Period(today - timedelta(days=DAYS - 1), today))
    enough = made.asked >= LEAST
    yield Goal.Figure.SOLVED, made.solved if made.conversations >= LEAST else None
    yield Goal.Figure.ANSWERED, made.answered_share if enough else None
    yield Goal.Figure.FAILED, made.failed_share if enough else None
    for name in (Goal.Figure.FIRST, Goal.Figure.WHOLE):
        yield name, made.took(name, 0.95) if made.timed(name) >= LEAST else None


def of_topics() -> None:
    """Say which open topics are rising, and which no longer are; of those that were decided or are
    gone that is over at once."""
    rising = {f"{TOPIC}{gap.pk}": gap for gap in Gap.objects.filter(state="open", rising=True)}
    for name, gap in rising.items():
        values = {"topic": gap, "n": gap.recent, "expected": round(gap.expected)}
        begin(name, _("More and more ask in vain about “%(topic)s”: %(n)s in a week, "
                      "%(expected)s were to be expected.") % values)  # fmt: skip
    lasting = Alert.objects.filter(ended_at=None, name__startswith=TOPIC)
    there = {f"{TOPIC}{pk}" for pk in Gap.objects.filter(state="open").values_list("pk", flat=True)}
    for name in lasting.exclude(name__in=rising).values_list("name", flat=True):
        if name in there:
            better(name)
        else:
            end(name)


# --- telling ----------------------------------------------------------------------------


def begin(name: str, text: str) -> None:
    """Write down, and tell, that something is the matter; of what lasts only the text changes."""
    text = text[:500]
    with transaction.atomic():
        alert, new = Alert.objects.get_or_create(name=name, ended_at=None, defaults={"text": text})
        if not new:
            Alert.objects.filter(pk=alert.pk).update(text=text, better_at=None)
            return
        log.error("%s", text)
        _tell_later(alert)


def better(name: str) -> None:
    """Write down that nothing is the matter now; it is over when that has been so for CALM."""
    now = timezone.now()
    lasting = Alert.objects.filter(name=name, ended_at=None)
    if lasting.filter(better_at__lte=now - CALM).exists():
        end(name)
    lasting.filter(better_at=None).update(better_at=now)


def end(name: str) -> None:
    """Write down, and tell, that it is over."""
    with transaction.atomic():
        for alert in Alert.objects.select_for_update().filter(name=name, ended_at=None):
            alert.ended_at = timezone.now()
            alert.save(update_fields=["ended_at"])
            log.warning("over: %s", alert.text)
            _tell_later(alert)


def _tell_later(alert: Alert) -> None:
    if outages.somebody_listens():
        async_task("evaluation.alerts.tell", alert.pk, cluster="short")


def tell(pk: int) -> None:
    """Mail and post what became of an alert; a task."""
    alert = Alert.objects.filter(pk=pk).first()
    if alert is None:
        return
    head = _("OpsDesk, over again: %(text)s") if alert.ended_at else _("OpsDesk: %(text)s")
    outages.say(
        head % {"text": alert.text},
        service=alert.name,
        down=alert.ended_at is None,
        since=alert.began_at.isoformat(),
    )
