"""Bringing documents in gives way to answering: who asks should not notice that much is read."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.backends.signals import connection_created
from django.utils.module_loading import import_string
from django_q.conf import Conf

NICENESS = 10  # of what reads documents; more, and what it holds in the database is held too long
LONGEST = 1.0  # seconds that one step of reading waits at most
LOOK = 0.1  # seconds; to look costs those who answer a little, too
HOLDS = 0.01  # seconds that it is believed for that nobody waits
LATELY = 60.0  # seconds

_nobody = -HOLDS  # when nobody waited, by the monotonic clock
_somebody = -LATELY  # when somebody did


def give_way(longest: float = LONGEST) -> None:
    """Wait while `settings.BUSY` says that someone waits for an answer, at most so many seconds."""
    global _nobody, _somebody
    start = time.monotonic()
    if start < _nobody + HOLDS:
        return
    busy = [import_string(name) for name in settings.BUSY]
    while any(asked() for asked in busy):
        _somebody = time.monotonic()
        if time.monotonic() >= start + longest:
            return
        time.sleep(LOOK)
    _nobody = time.monotonic()


def asked_lately() -> bool:
    """Whether this process has seen someone wait for an answer in the last minute."""
    return time.monotonic() < _somebody + LATELY


@contextmanager
def unflushed() -> Iterator[None]:
    """Inside, what is written waits for no disk; not to be begun inside a transaction.

    A crash of the machine takes back the last moment of it, the latest first, and nothing that
    another has flushed meanwhile. So it is for work that is then found undone and done again.
    """
    _execute("SET synchronous_commit = off")
    try:
        yield
    finally:
        if connection.connection and not connection.connection.closed:
            _execute("RESET synchronous_commit")


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def be_nice_when_worker_starts(**kwargs: Any) -> None:
    """Receives django-q's `post_spawn`. Short work keeps its place."""
    if settings.Q_CLUSTER["name"] == Conf.CLUSTER_NAME:
        be_nice()


def be_nice() -> None:
    """Step behind who answers, for the rest of this process and in its later connections."""
    os.nice(NICENESS)
    connection_created.connect(_be_nice_in_the_database)


def _be_nice_in_the_database(connection: Any, **kwargs: Any) -> None:
    """Half the work of indexing is done there; on another machine it is not ours to say."""
    if not settings.DATABASE_URL:
        with suppress(PermissionError, ProcessLookupError):
            pid = connection.connection.info.backend_pid
            os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
