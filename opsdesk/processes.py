"""The processes of an installation, started, watched and stopped together.

Each child leads its own session, so that one signal from the terminal reaches `serve`
alone, which ends them in order. Children die with their parent, however it dies.
"""

import ctypes
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from django_q.models import OrmQ

from opsdesk import postgres

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
TICK_SECONDS = 0.3
STOP_SECONDS = 10
BACKOFF_SECONDS = 1, 30  # before a dead process is started again: first, longest
STEADY_SECONDS = 60  # after so long a life, the first again
libc = ctypes.CDLL(None, use_errno=True)


class AlreadyRunning(Exception):
    """Another process holds what only one may have."""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold `path`, or raise AlreadyRunning with the id of the process that does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise AlreadyRunning(file.read()) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when its parent (the thread that forked it) ends."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:  # too late to be told
        os._exit(1)


def end_forks_with_parents() -> None:
    """From now on in this process and its forks: no fork outlives the one that made it."""
    os.register_at_fork(after_in_child=die_with_parent)


@dataclass
class Child:
    """A management command kept alive."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float = 0.0
    pause: float = field(default=BACKOFF_SECONDS[0])

    def start(self) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, str(settings.BASE_DIR / "manage.py"), *self.command, "--skip-checks"],
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | self.environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid()),
        )

    @property
    def queue(self) -> str | None:
        """The task queue it works on, if it is a cluster of django-q."""
        if self.command != ["qcluster"]:
            return None
        return self.environment.get("Q_CLUSTER_NAME", settings.Q_CLUSTER["name"])

    def bury(self) -> bool:
        """Whether it has just been found dead; ends what it left, plans its next start."""
        if self.process is None or self.process.poll() is None:
            return False
        now = time.monotonic()
        if now - self.started > STEADY_SECONDS:
            self.pause = BACKOFF_SECONDS[0]
        code = self.process.returncode
        logger.error("Process %s ended (%s); again in %s s.", self.name, code, self.pause)
        self.signal(signal.SIGKILL)  # what it left of its session
        self.process, self.due = None, now + self.pause
        self.pause = min(self.pause * 2, BACKOFF_SECONDS[1])
        return True

    def signal(self, number: signal.Signals, group: bool = True) -> None:
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            if group:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)


def configured() -> list[Child]:
    """The children that `settings.PROCESSES` names."""
    return [
        Child(
            name,
            process["COMMAND"],
            {"OPSDESK_ROLE": process.get("ROLE", "worker"), **process.get("ENVIRONMENT", {})},
        )
        for name, process in settings.PROCESSES.items()
    ]


def supervise(children: list[Child], stop: Event) -> None:
    """Start `children` and keep them, and the embedded server, alive until `stop` is set."""
    try:
        while not stop.is_set():
            keep_database()
            for child in children:
                if child.bury() and child.queue:
                    release_tasks(child.queue)
                if child.process is None and time.monotonic() >= child.due:
                    child.start()
            stop.wait(TICK_SECONDS)
    finally:
        end(children)


def keep_database() -> None:
    """Start the embedded server again when it died under us."""
    if settings.DATABASE_URL:
        return
    try:
        postgres.server().use()
    except postgres.PostgresError as error:
        logger.error("%s", error)


def release_tasks(queue: str) -> None:
    """Hand out again what a killed worker had taken, without waiting for its time to run out.

    Only beside the embedded database: nobody else works on its queues.
    """
    if settings.DATABASE_URL:
        return
    now = timezone.now()
    try:
        OrmQ.objects.filter(key=queue, lock__gt=now).update(lock=now)
    except (DatabaseError, postgres.PostgresError) as error:
        logger.error("Queue %s: %s", queue, error)


def end(children: list[Child]) -> None:
    """Ask all to stop, wait, and kill what does not."""
    for child in children:
        child.signal(signal.SIGTERM, group=False)
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        if child.process is None:
            continue
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))
        child.signal(signal.SIGKILL)
        child.process.wait()


def stop_on_signals(stop: Event) -> None:
    """The first Ctrl-C or SIGTERM sets `stop`; a second one does not wait for anybody."""

    def react(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, react)
