"""What `manage.py doctor` finds out. Apps add theirs to `settings.DOCTOR`."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum

import httpx
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django_q.models import OrmQ
from django_q.status import Stat

from opsdesk.installing import unapplied
from opsdesk.postgres import PostgresError

EXTENSIONS = ("vector",)
OLDEST_TASK = timedelta(minutes=10)
LOW_BYTES, NO_BYTES = 2 << 30, 200 << 20
MODEL_SECONDS = 5


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it."""

    subject: str
    level: Level
    message: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def examine() -> Iterator[Finding]:
    """What every check of `settings.DOCTOR` finds, in their order."""
    for name in settings.DOCTOR:
        check: Callable[[], Iterable[Finding]] = import_string(name)
        try:
            yield from check()
        except (DatabaseError, PostgresError) as error:
            yield Finding(
                name.rpartition(".")[2],
                Level.FAIL,
                str(error).strip(),
                _("See the database's log; correct DATABASE_URL."),
            )


def database() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0]
        cursor.execute("SELECT extname, extversion FROM pg_extension")
        installed = dict(cursor.fetchall())
    kind = _("external server") if settings.DATABASE_URL else _("embedded server")
    yield Finding("database", Level.OK, f"PostgreSQL {version}, {kind}")
    for name in EXTENSIONS:
        if name in installed:
            yield Finding("extension", Level.OK, f"{name} {installed[name]}")
        else:
            yield Finding(
                "extension",
                Level.FAIL,
                _("%(name)s is missing.") % {"name": name},
                f"CREATE EXTENSION {name}",
            )


def migrations() -> Iterator[Finding]:
    if waiting := unapplied():
        message = _("Not applied: %(names)s") % {"names": ", ".join(waiting)}
        yield Finding("migrations", Level.FAIL, message, "manage.py migrate")
    else:
        yield Finding("migrations", Level.OK, _("all applied"))


def workers() -> Iterator[Finding]:
    alive = Stat.get_all()
    if alive:
        count = sum(len(stat.workers) for stat in alive)
        message = _("%(clusters)s clusters with %(workers)s processes")
        yield Finding("workers", Level.OK, message % {"clusters": len(alive), "workers": count})
    else:
        yield Finding(
            "workers", Level.FAIL, _("No worker is alive: uploads wait."), "manage.py serve"
        )


def queues() -> Iterator[Finding]:
    waiting = OrmQ.objects.order_by("id")
    count, oldest = waiting.count(), waiting.first()
    if oldest is None:
        yield Finding("queue", Level.OK, _("empty"))
        return
    if (enqueued := oldest.task.get("started")) is None:
        message = _("Task %(id)s was signed with another secret key.") % {"id": oldest.pk}
        yield Finding("queue", Level.WARN, message, _("Delete it in the administration."))
        return
    age = timezone.now() - enqueued
    message = _("%(count)s tasks, the oldest for %(age)s") % {
        "count": count,
        "age": timedelta(seconds=round(age.total_seconds())),
    }
    if age < OLDEST_TASK:
        yield Finding("queue", Level.OK, message)
    else:
        remedy = _("More of OPSDESK_WORKERS, or see the failed tasks in the administration.")
        yield Finding("queue", Level.WARN, message, remedy)


def model_server() -> Iterator[Finding]:
    if not settings.OPENAI_BASE_URL:
        yield Finding("model", Level.OK, _("none configured: answers are extracts"))
        return
    address = f"{settings.OPENAI_BASE_URL}/models"
    try:
        answer = httpx.get(
            address,
            headers={"Authorization": f"Bearer {settings.OPENAI_API_KEY}"},
            timeout=MODEL_SECONDS,
        )
        answer.raise_for_status()
        names = [model["id"] for model in answer.json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        remedy = _("Start the model server, or correct OPENAI_BASE_URL and OPENAI_API_KEY.")
        yield Finding("model", Level.FAIL, f"{address}: {error}", remedy)
        return
    if settings.OPENAI_MODEL in names:
        yield Finding("model", Level.OK, f"{settings.OPENAI_MODEL} @ {settings.OPENAI_BASE_URL}")
    else:
        message = _("%(model)s is not among the server's models.") % {
            "model": settings.OPENAI_MODEL
        }
        yield Finding("model", Level.WARN, message, ", ".join(names[:10]))


def disk() -> Iterator[Finding]:
    free = shutil.disk_usage(settings.HOME).free
    message = _("%(free).1f GB free for %(home)s") % {"free": free / 1e9, "home": settings.HOME}
    if free >= LOW_BYTES:
        yield Finding("disk", Level.OK, message)
    else:
        level = Level.WARN if free >= NO_BYTES else Level.FAIL
        yield Finding("disk", level, message, _("Make room, or move OPSDESK_HOME."))
