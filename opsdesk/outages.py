"""Services that failed, as rows that every process sees, and who is told."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
from django.conf import settings
from django.core.mail import mail_admins
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db import Error as DatabaseError
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from opsdesk.diagnosis import Finding, Level
from opsdesk.models import Outage
from opsdesk.site import Panel, Row

log = logging.getLogger(__name__)

QUIET = timedelta(minutes=10)  # no second message of the same service within
RECENT = timedelta(days=1)  # ended ones that the start page still shows
HOOK_SECONDS = 10
REASON = 500  # characters


def begin(name: str, reason: str) -> None:
    """Write down that `name` fails, or fails still. Whoever waits for an answer goes on waiting
    for it alone: when this cannot be written that is logged."""
    try:
        with transaction.atomic(using=DEFAULT_DB_ALIAS):
            _begin(name, reason[:REASON])
    except DatabaseError as error:
        log.warning("the outage of %s is not written down: %s", name, str(error).strip())


def _begin(name: str, reason: str) -> None:
    rows = Outage.objects.using(DEFAULT_DB_ALIAS)  # also while a replica is read
    now = timezone.now()
    # Nobody asked for long, or a process that knew of it died: another one begins.
    rows.filter(service=name, ended_at=None).stale().update(ended_at=now)
    outage, new = rows.get_or_create(service=name, ended_at=None, defaults={"reason": reason})
    if not new:
        rows.filter(pk=outage.pk).update(seen_at=now, reason=reason)
    elif somebody_listens():
        told = rows.filter(service=name, told=True, seen_at__gt=now - QUIET)
        if not told.exists():
            rows.filter(pk=outage.pk).update(told=True)
            _tell_later(outage.pk)


def end(name: str) -> None:
    """Write down that `name` answers again."""
    try:
        with transaction.atomic(using=DEFAULT_DB_ALIAS):
            rows = Outage.objects.using(DEFAULT_DB_ALIAS).select_for_update()
            for outage in rows.filter(service=name, ended_at=None):
                outage.ended_at = timezone.now()
                outage.save(update_fields=["ended_at"])
                if outage.told and somebody_listens():
                    _tell_later(outage.pk)
    except DatabaseError as error:
        log.warning("the end of the outage of %s is not written down: %s", name, error)


# --- telling ----------------------------------------------------------------------------


def somebody_listens() -> bool:
    """Whether anybody is told of what goes wrong."""
    return bool(settings.ADMINS or settings.ALERT_WEBHOOK)


def _tell_later(pk: int) -> None:
    async_task("opsdesk.outages.tell", pk, cluster="short")


def tell(pk: int) -> None:
    """Mail and post what became of an outage; a task."""
    outage = Outage.objects.filter(pk=pk).first()
    if outage is None:
        return
    say(
        _text(outage),
        service=outage.service,
        down=outage.ended_at is None,
        since=outage.began_at.isoformat(),
    )


def say(text: str, **fields: Any) -> None:
    """Mail `text` to whom settings name, and post it with the `fields`; in a task, which is tried
    again when the address does not take it."""
    if settings.ADMINS:
        mail_admins(text.partition("\n")[0], text)
    if settings.ALERT_WEBHOOK:
        # The form that group robots of WeCom and DingTalk take, and the same as fields.
        body = {"msgtype": "text", "text": {"content": text}, **fields}
        answer = httpx.post(settings.ALERT_WEBHOOK, json=body, timeout=HOOK_SECONDS)
        answer.raise_for_status()


def _text(outage: Outage) -> str:
    values = {"service": outage.label, "reason": outage.reason}
    if outage.ended_at:
        return _("OpsDesk: %(service)s answers again.") % values
    head = _("OpsDesk: %(service)s does not answer; questions are answered without it.") % values
    return f"{head}\n{outage.reason}"


# --- showing ----------------------------------------------------------------------------


def panel(request: HttpRequest) -> Panel | None:
    """What does not answer now, and what did not lately."""
    since = timezone.now() - RECENT
    linked = request.user.has_perm("opsdesk.view_outage")
    rows = [_row(outage, linked) for outage in Outage.objects.filter(seen_at__gt=since)[:10]]
    return {"title": _("Services that failed"), "rows": rows} if rows else None


def _row(outage: Outage, linked: bool) -> Row:
    began = timezone.localtime(outage.began_at).strftime("%m-%d %H:%M")
    url = reverse("admin:opsdesk_outage_change", args=[outage.pk]) if linked else ""
    if outage.lasts:
        value = _("since %(began)s") % {"began": began}
        return {"label": outage.label, "value": value, "url": url, "level": "error"}
    value = _("%(began)s, over again") % {"began": began}
    return {"label": outage.label, "value": value, "url": url}


def diagnose() -> Iterator[Finding]:
    """Services that fail now."""
    failing = Outage.objects.failing()
    if not failing:
        yield Finding("outages", Level.OK, _("no service is left alone"))
    for outage in failing:
        message = _("%(service)s is left alone: %(reason)s")
        values = {"service": outage.label, "reason": outage.reason}
        yield Finding("outages", Level.WARN, message % values, _("It is asked again by itself."))
