"""Whether this installation is up (`/healthz`) and can do its work (`/readyz`)."""

import time
from collections.abc import Callable

from django.conf import settings
from django.core.cache import cache
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.utils.module_loading import import_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_q.status import Stat

from opsdesk.installing import unapplied
from opsdesk.models import Outage
from opsdesk.postgres import PostgresError

Check = Callable[[], str]  # "ok", or what is wrong

BEAT_SECONDS = 30


def beat(name: str) -> None:
    """Say that the process `name` of this installation lives; call it every few seconds."""
    cache.set(f"beat:{name}", time.time(), BEAT_SECONDS)


def beating(name: str) -> bool:
    return cache.get(f"beat:{name}") is not None


def database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def migrations() -> str:
    waiting = unapplied()
    return f"{len(waiting)} not applied" if waiting else "ok"


def worker() -> str:
    return "ok" if Stat.get_all() else "not seen lately"


def turns() -> str:
    return "ok" if beating("turns") else "not seen lately"


def readiness() -> dict[str, str]:
    """What each of `settings.READINESS` says, in their order."""
    checks: list[Check] = [import_string(name) for name in settings.READINESS]
    return {check.__name__: _said(check) for check in checks}


def _said(check: Check) -> str:
    try:
        return check()
    except (Error, PostgresError):
        return "no database"


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    checks = readiness()
    ready = all(said == "ok" for said in checks.values())
    body: dict[str, object] = {"status": "ok" if ready else "not ready", "checks": checks}
    if ready and (failing := list(Outage.objects.failing().values_list("service", flat=True))):
        body["degraded"] = failing  # answers go on, without these
    return JsonResponse(body, status=200 if ready else 503)
