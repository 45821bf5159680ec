"""What the start page and the doctor say of the chat."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, Min
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import runner
from chat.models import Turn
from opsdesk.diagnosis import Finding, Level
from opsdesk.site import Panel, Row

LATE = timedelta(minutes=2)  # a question that waits longer


def questions(request: HttpRequest) -> Panel | None:
    """The last day's questions by what they came to."""
    if not request.user.has_perm("chat.view_turn"):
        return None
    since = timezone.now() - timedelta(days=1)
    url = reverse("admin:chat_turn_changelist")
    counted = (
        Turn.objects.filter(created_at__gte=since, status=Turn.Status.DONE)
        .order_by()
        .values_list("outcome")
        .annotate(Count("pk"))
    )
    counts = dict(counted)
    rows: list[Row] = [
        {"label": str(label), "value": counts[value], "url": f"{url}?outcome__exact={value}"}
        for value, label in Turn.Outcome.choices
        if counts.get(value)
    ]
    waiting = Turn.objects.unfinished().count()
    if waiting:
        rows.append({"label": _("being answered"), "value": waiting, "url": url})
    if not runner.alive():
        rows.append(
            {"label": _("Nothing answers: is `serve` running?"), "value": "", "level": "error"}
        )
    return {"title": _("Questions of the last 24 hours"), "rows": rows}


def diagnose() -> Iterator[Finding]:
    """Whether questions get answered."""
    if runner.alive():
        yield Finding("turns", Level.OK, _("a runner is alive"))
    else:
        yield Finding(
            "turns", Level.FAIL, _("No runner is alive: questions wait."), "manage.py serve"
        )
    oldest = Turn.objects.unfinished().aggregate(oldest=Min("created_at"))["oldest"]
    if oldest and timezone.now() - oldest > LATE:
        age = timedelta(seconds=round((timezone.now() - oldest).total_seconds()))
        message = _("A question waits for %(age)s.") % {"age": age}
        yield Finding("turns", Level.WARN, message, _("More of OPSDESK_TURN_THREADS."))
