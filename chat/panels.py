"""What the start page and the doctor say of the chat."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, Min, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import runner
from chat.models import Citation, Turn
from knowledge.models import KnowledgeBase
from opsdesk.diagnosis import Finding, Level
from opsdesk.site import Panel, Row

MONTH = timedelta(days=30)
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
    if not rows:
        rows.append({"label": _("Nobody has asked anything."), "value": ""})
    return {"title": _("Questions of the last 24 hours"), "rows": rows}


def asked_of(request: HttpRequest, base: KnowledgeBase) -> Panel | None:
    """The last month's answers out of a base, and what of it none of them cited."""
    since = timezone.now() - MONTH
    shown = Citation.objects.of_answers()
    cited = shown.filter(document__knowledge_base=base, message__created_at__gte=since).aggregate(
        answers=Count("message", distinct=True), documents=Count("document", distinct=True)
    )
    asked = Turn.objects.filter(
        conversation__knowledge_base=base, created_at__gte=since, status=Turn.Status.DONE
    ).aggregate(all=Count("pk"), handed=Count("pk", filter=Q(outcome=Turn.Outcome.HANDOFF)))
    there = base.documents.filter(current__isnull=False).count()
    rows: list[Row] = [
        {"label": _("answers that cite it"), "value": cited["answers"]},
        {"label": _("questions to it alone"), "value": asked["all"]},
        {"label": _("handed off of these"), "value": asked["handed"]},
        {"label": _("documents cited"), "value": cited["documents"]},
        {"label": _("documents never cited"), "value": max(0, there - cited["documents"])},
    ]
    return {"title": _("Questions of the last 30 days"), "rows": rows}


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
