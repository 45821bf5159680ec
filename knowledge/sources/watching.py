"""`manage.py watch`: looks at watched folders as soon as something happens in them.

The kernel says that something happened; what it was, `running` finds by looking. What the
kernel does not say (network file systems, a watcher that was off) shows every minute.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import watchfiles
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone
from django.utils.translation import gettext as _

from knowledge import sources
from knowledge.models import KnowledgeBase, Source
from knowledge.sources import running, tasks
from knowledge.sources.folder import SETTLED, drop_folder
from opsdesk import health
from opsdesk.postgres import PostgresError

log = logging.getLogger(__name__)

TICK = 0.5  # seconds between looks at what is due
REVIEW = 2.0  # seconds between looks at which folders there are
PATIENCE = 10.0  # seconds that a folder in which something happens all the time may wait
PAUSES = 0.2, 5.0  # first and longest wait for a database that went away
GONE = (DatabaseError, InterfaceError, PostgresError)


class Watcher:
    """Watches until `stop` is called."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._folders: dict[int, Path] = {}  # by source
        self._watched: dict[Path, tuple[int, int]] = {}
        self._first: dict[int, float] = {}  # when something began to happen in a folder
        self._last: dict[int, float] = {}
        self._reviewed = 0.0

    def stop(self, *args: object) -> None:
        self._stopping.set()

    def run(self) -> None:
        pause = PAUSES[0]
        while not self._stopping.is_set():
            try:
                self._review()
                pause = PAUSES[0]
                self._notice(set(self._folders.values()))  # what happened before we watched
                for changes in self._changes():
                    self._notice(changes)
                    self._look()
                    if self._review():
                        break  # other folders than before: watch those
            except GONE as error:
                log.warning("Database away: %s", str(error).strip())
                connection.close()
                self._stopping.wait(pause)
                pause = min(pause * 2, PAUSES[1])

    def _changes(self) -> Iterator[set[Path]]:
        """What happened in the folders; every TICK, also when nothing did."""
        self._watched = _present(self._folders.values())
        try:
            if not self._watched:
                raise FileNotFoundError("no folder")
            for changes in watchfiles.watch(
                *self._watched,
                watch_filter=None,
                debounce=200,
                step=50,
                stop_event=self._stopping,
                rust_timeout=int(TICK * 1000),
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                yield {Path(path) for _change, path in changes}
        except (OSError, RuntimeError) as error:  # the kernel has no more watches for us, too
            if self._watched:
                log.warning("Folders are looked at every minute only: %s", error)
            while not self._stopping.wait(TICK):
                yield set()

    def _notice(self, paths: set[Path]) -> None:
        now = time.monotonic()
        for source, folder in self._folders.items():
            if any(path.is_relative_to(folder) for path in paths):
                self._first.setdefault(source, now)
                self._last[source] = now

    def _look(self) -> None:
        """Look at the folders in which all is quiet again, and at those whose time has come."""
        now = time.monotonic()
        for source, last in list(self._last.items()):
            quiet = now - last > SETTLED + 0.1
            if quiet or now - self._first[source] > PATIENCE:
                del self._first[source], self._last[source]
                self._run(source)

    def _run(self, source: int) -> None:
        row = Source.objects.filter(pk=source, enabled=True).first()
        if row is None:
            return
        broken_off = row.state == Source.State.RUNNING
        tasks.refresh(row)
        while running.run(source, seconds=10) and not self._stopping.is_set():
            health.beat("watch")
        if broken_off:  # it went on with what there was when it began
            Source.objects.filter(pk=source).update(next_at=timezone.now())

    def _review(self) -> bool:
        """Find the folders to watch, look at those that are due; whether they are others."""
        now = time.monotonic()
        if now - self._reviewed < REVIEW:
            return False
        self._reviewed = now
        health.beat("watch")
        _open_inboxes()
        kinds = [name for name, kind in sources.kinds().items() if kind.watched]
        rows = Source.objects.filter(kind__in=kinds, enabled=True)
        due = rows.filter(next_at__lte=timezone.now()).values_list("pk", flat=True)
        for source in list(due):
            self._run(source)
        self._folders = {row.pk: Path(row.options["path"]).resolve() for row in rows}
        return _present(self._folders.values()) != self._watched


def _present(folders: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Those of `folders` that are there, and what each is: a new one of its name is another."""
    present = {}
    for folder in folders:
        with suppress(OSError):
            status = folder.stat()
            present[folder] = (status.st_dev, status.st_ino)
    return present


def _leave_behind(source: Source) -> None:
    """The inbox of another machine, whose backup was restored here: its documents stay, as if
    somebody had uploaded them, and the folder begins anew."""
    source.documents.update(source=None)
    source.delete()


def _open_inboxes() -> None:
    """A folder in the inbox, and the source that watches it, for each base that has none.

    A folder that is gone is never made anew: an empty one would say that all its files are gone.
    """
    for source in Source.objects.filter(memory__inbox=True):
        if not Path(source.options["path"]).is_relative_to(settings.INBOX):
            _leave_behind(source)
    for base in KnowledgeBase.objects.exclude(sources__memory__inbox=True):
        folder = drop_folder(base)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o770)
        except OSError as error:
            log.warning("%s: %s", folder, error)
            continue
        Source.objects.create(
            knowledge_base=base,
            kind="folder",
            name=_("Inbox of %(base)s") % {"base": base},
            options={"path": str(folder)},
            memory={"inbox": True},
            every=1,
            next_at=timezone.now(),
        )
