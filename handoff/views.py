"""The supervisors' page; what it shows comes over its socket (`handoff.overseeing`)."""

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from handoff import overview
from handoff.console import STRINGS as CONSOLE

STRINGS = {
    "all": _("Without a team"),
    "closed": _("closed until %(time)s"),
    "waits": _("waiting %(time)s"),
    "offered": _("on offer: %(agent)s"),
    "there": _("on duty"),
    "away": _("on duty, but away since %(time)s"),
    "never": _("on duty, never seen"),
    "off": _("off duty"),
    "duty.call": _("Put on duty"),
    "duty.release": _("Take off duty"),
    "assign": _("Assign"),
    "reassign": _("Reassign"),
    "requeue": _("Back to the queue"),
    "nobody.waits": _("Nobody is waiting."),
    "no.agents": _("No agents in your teams."),
    "nothing": _("–"),
    "minutes": _("%(n)s min"),
    "of": "%(part)s / %(whole)s",
    "reconnecting": _("Connection lost. Reconnecting…"),
    "refused.4403": _("You lead no team any more."),
}
SHARED = ("refused.4401", "visitor", "absent", "load")  # with the console; and all its timers


@never_cache
@require_safe
@login_required(login_url="admin:login")
def overview_page(request: HttpRequest) -> HttpResponse:
    if not overview.may_see(request.user):
        raise PermissionDenied
    shared = {k: v for k, v in CONSOLE.items() if k in SHARED or k.startswith("timer.")}
    config = {"strings": {**shared, **STRINGS}, "console": reverse("console")}
    return render(request, "handoff/overview.html", {"config": config})
