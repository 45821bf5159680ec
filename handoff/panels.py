"""What the administration says of the desk, and its ways there."""

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from handoff.access import may_serve
from handoff.models import Agent, Handoff
from handoff.overview import may_see
from opsdesk.site import Panel, Row


def doors(request: HttpRequest) -> list[tuple[str, str]]:
    """The console, and the overview for who leads a team."""
    if not may_serve(request.user):
        return []
    overview = [(_("Overview"), reverse("console-overview"))] if may_see(request.user) else []
    return [(_("Console"), reverse("console")), *overview]


def waiting(request: HttpRequest) -> Panel | None:
    """Who waits for a person, and who is there for them."""
    if not (request.user.has_perm("handoff.view_handoff") or may_serve(request.user)):
        return None
    console, theirs = reverse("console"), may_serve(request.user)
    url = reverse("admin:handoff_handoff_changelist")
    if theirs:
        url = reverse("console-overview") if may_see(request.user) else console
    count = Handoff.objects.waiting().count()
    mine = Handoff.objects.filter(status=Handoff.Status.TAKEN, taken_by_id=request.user.pk).count()
    on_duty = Agent.objects.available().count()
    rows: list[Row] = [
        {
            "label": _("Waiting for a person"),
            "value": count,
            "url": url,
            "level": "warning" if count else "ok",
        },
        {"label": _("Taken by you"), "value": mine, "url": console if theirs else ""},
        {
            "label": _("Agents on duty"),
            "value": on_duty,
            "url": url,
            "level": "ok" if on_duty else "warning",
        },
    ]
    return {"title": _("Handoff"), "rows": rows}
