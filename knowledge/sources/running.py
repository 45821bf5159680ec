"""A look at a source: what is new comes in, what changed is replaced, what vanished is retired.

A look may take hours and is done in slices. All it must remember is in the database: what is
still to be fetched (`SourceItem.waiting`), and what it brought so far (`SourceRun`); whoever
takes it up next goes on from there.

"Vanished" is never guessed: the server says so of one item (404, 410), or a listing that came
to its end lacks it, and lacks it again the next time (`Backend.patience`).
"""

import hashlib
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import IO, Any

from django.core.files.base import File
from django.db import transaction
from django.db.models import F
from django.db.utils import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from knowledge import indexing, sources, uploading
from knowledge.models import Document, Source, SourceItem, SourceRun, Status
from knowledge.sources.base import Backend, Content, Found
from knowledge.sources.fetching import Gone
from opsdesk import locking
from opsdesk.errors import FetchError

log = logging.getLogger(__name__)

SLICE_SECONDS = 30  # then other work of the queue has its turn
LEASE = timedelta(minutes=5)  # after which a look that nobody goes on with is taken up again
AGAIN = timedelta(minutes=30)  # after a look that failed, if its time is not sooner
TRIES = 3  # at an item that the worker did not survive
UNREACHABLE = 5  # failures in a row after which the rest is not tried
BATCH = 500
RUNS_KEPT = 50
KEPT = {"version", "title", "links"}  # of an item's data, from one run to the next


def run(source_id: int, seconds: float = SLICE_SECONDS) -> bool:
    """Look at a source that is queued, for about `seconds`; whether there is more to do."""
    with locking.held(f"source:{source_id}") as held:
        source = Source.objects.select_related("knowledge_base").filter(pk=source_id).first()
        busy = {Source.State.QUEUED, Source.State.RUNNING}
        if not held or source is None or not source.enabled or source.state not in busy:
            return False
        _set(source, state=Source.State.RUNNING, next_at=timezone.now() + LEASE)
        return _Look(source, sources.backend(source)).go(time.monotonic() + seconds)


def _set(source: Source, **values: Any) -> None:
    Source.objects.filter(pk=source.pk).update(**values)
    for name, value in values.items():
        setattr(source, name, value)


class _Unreachable(Exception):
    """Not worth trying the rest; holds the sentence that says why."""


class _Look:
    def __init__(self, source: Source, backend: Backend) -> None:
        self.source, self.backend = source, backend
        self.run = source.runs.filter(finished_at=None).first() or SourceRun(source=source)
        self.failures = 0  # in a row

    def go(self, until: float) -> bool:
        settled = False
        try:
            with self.backend.opened():
                more = self._go(until)
            settled = True
        except FetchError as error:  # of the listing, or of signing in
            settled = True
            return self._end(str(error))
        except _Unreachable as error:
            settled = True
            return self._end(str(error))
        except (OperationalError, InterfaceError):  # the database went away: to be gone on with
            settled = True
            raise
        finally:
            if not settled:
                with suppress(DatabaseError):
                    self._end(_("Something unexpected went wrong."))
        return more or self._end()

    def _go(self, until: float) -> bool:
        if not self.run.listed and not self._list():
            return False
        waiting = self.source.items.filter(waiting=True).order_by("id")
        while item := waiting.first():
            self._take(item)
            if time.monotonic() > until:
                return waiting.exists()
        return False

    # --- what there is ------------------------------------------------------------

    def _list(self) -> bool:
        """Write down all there is; False when a folder is just as it was, and no run is made."""
        found = self.backend.items()
        if self.backend.watched and not self.run.pk:
            listed = list(found)
            if self._as_it_was(listed):
                return False
            found = iter(listed)
        if not self.run.pk:
            self.run.save()
        while batch := list(islice(found, BATCH)):
            self._write_down(batch)
        self.run.listed = True
        self._note(self.backend.incomplete)
        self.run.save()
        return True

    def _as_it_was(self, listed: list[Found]) -> bool:
        items = self.source.items.all()
        there = items.filter(waiting=False, missing=0)
        known = dict(there.values_list("key", "data__version"))
        if items.exclude(pk__in=there).filter(missing__lt=self.backend.patience).exists():
            return False
        return not self.backend.incomplete and known == {f.key: f.version for f in listed}

    def _write_down(self, found: Iterable[Found]) -> None:
        """Each as an item that was seen; those that may have changed wait to be fetched."""
        now, by_key = timezone.now(), {each.key: each for each in found}
        room = self.backend.max_items - self._seen().count()
        with transaction.atomic():
            known = {item.key: item for item in self.source.items.filter(key__in=by_key)}
            seen = {key for key, item in known.items() if self._is_seen(item)}
            fresh = [each for key, each in by_key.items() if key not in seen]
            if len(fresh) > room:
                limit = {"n": self.backend.max_items}
                self._note(_("There are more than %(n)d; the rest was not fetched.") % limit)
            new: list[SourceItem] = []
            differing: list[SourceItem] = []
            same: list[SourceItem] = []
            for each in fresh[: max(0, room)]:
                item = known.get(each.key) or SourceItem(source=self.source, key=each.key)
                item.waiting = not item.pk or _may_differ(item, each)
                kept = {k: v for k, v in item.data.items() if k in KEPT}
                item.data = {**each.data, **kept, "found": each.version}
                item.seen_at = now
                (new if not item.pk else differing if item.waiting else same).append(item)
            SourceItem.objects.bulk_create(new)
            SourceItem.objects.bulk_update(differing, ["waiting", "data", "seen_at"])
            SourceItem.objects.filter(pk__in=[item.pk for item in same]).update(seen_at=now)
            self._count(unchanged=len(same))

    def _seen(self) -> Any:
        return self.source.items.filter(seen_at__gte=self.run.started_at)

    def _is_seen(self, item: SourceItem) -> bool:
        return bool(item.seen_at and item.seen_at >= self.run.started_at)

    def _note(self, sentence: str) -> None:
        """Something is lacking in what was found: so nothing counts as vanished."""
        if sentence and self.run.complete:
            self.run.complete, self.run.error = False, sentence
            self.run.save()

    # --- one item -----------------------------------------------------------------

    def _take(self, item: SourceItem) -> None:
        item.data["tries"] = tries = item.data.get("tries", 0) + 1
        item.save(update_fields=["data"])
        try:
            if tries > TRIES:
                message = _("Fetching it stopped the worker several times.")
                raise FetchError(message, permanent=True)
            content = self.backend.fetch(item)
        except Gone as error:
            self._gone(item, str(error))
        except FetchError as error:
            self._failed(item, error)
        else:
            self.failures = 0
            if content is None:
                self._unchanged(item)
            elif content.file is None:
                self._only_leads_on(item, content)
            else:
                with content.file:
                    self._put(item, content, content.file)
        links = [Found(key, data=data) for key, data in item.data.get("links", [])]
        if links:
            self._write_down(links)

    def _only_leads_on(self, item: SourceItem, content: Content) -> None:
        item.data["links"] = _links(content)
        documents = Document.objects.filter(pk=item.document_id or 0)
        with transaction.atomic():
            self._settle(item, retired=uploading.retire(documents, _("It moved.")))

    def _put(self, item: SourceItem, content: Content, file: IO[bytes]) -> None:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.seek(0)
        title = content.title[:500]
        item.data["links"] = _links(content)
        item.etag, item.modified = content.etag, content.modified
        if sha256 == item.sha256:
            return self._unchanged(item)
        with transaction.atomic():
            if not item.sha256:
                self._moved(item, sha256, content)
            new, item.sha256 = item.document_id is None, sha256
            added = uploading.add(
                self.source.knowledge_base,
                file=File(file),
                name=content.name,
                title=title if title != item.data.get("title", "") else "",
                external_id=external_id(item.source_id, item.key),
                user=self.source.created_by,
                origin=Document.Origin.SOURCE,
                approved=self.source.approve,
                source=self.source,
                url=content.url[:2000] if content.url.startswith(("https://", "http://")) else "",
            )
            item.data["title"] = title
            item.document = added.document
            if added.revision.status == Status.FAILED:  # refused, until it is another file
                self._settle(item, error=added.revision.error, failed=1)
            elif new:
                self._settle(item, added=1)
            else:
                self._settle(item, changed=1)

    def _moved(self, item: SourceItem, sha256: str, content: Content) -> None:
        """The same file under another address: its document goes along, with all its edits."""
        if self.backend.crawls or not self.run.complete:
            return
        gone = self.source.items.filter(
            sha256=sha256, document__isnull=False, seen_at__lt=self.run.started_at
        )
        before = gone.select_related("document").first()
        if before is None or before.document is None:
            return
        item.document = document = before.document
        before.delete()
        document.external_id = external_id(item.source_id, item.key)
        document.title = (content.title or content.name.rpartition(".")[0])[:500]
        document.save(update_fields=["external_id", "title"])
        indexing.update_chunks(document.chunks.all())  # the title counts for every passage

    def _unchanged(self, item: SourceItem) -> None:
        with transaction.atomic():
            if item.missing and item.document_id:
                uploading.restore(Document.objects.filter(pk=item.document_id))
            self._settle(item, unchanged=1)

    def _gone(self, item: SourceItem, reason: str) -> None:
        self.failures = 0
        with transaction.atomic():
            documents = Document.objects.filter(pk=item.document_id or 0)
            retired = uploading.retire(documents, reason)
            failed = not item.document_id  # never was there: most likely a wrong address
            missing = self.backend.patience
            self._settle(item, reason, missing, retired=retired, failed=int(failed))

    def _failed(self, item: SourceItem, error: FetchError) -> None:
        self.failures = 0 if error.permanent else self.failures + 1
        with transaction.atomic():
            item.data.pop("found", None)  # to be fetched the next time, changed or not
            self._settle(item, str(error), item.missing, failed=1)
        if self.failures >= UNREACHABLE:
            raise _Unreachable(str(error))

    def _settle(self, item: SourceItem, error: str = "", missing: int = 0, **counts: int) -> None:
        """The item's turn is over."""
        item.waiting, item.error, item.missing = False, error, missing
        item.data["version"] = item.data.pop("found", "")
        item.data.pop("tries", None)
        item.save()
        self._count(**counts)

    def _count(self, **counts: int) -> None:
        for name, more in counts.items():
            setattr(self.run, name, getattr(self.run, name) + more)
        self.run.save(update_fields=counts)

    # --- the end --------------------------------------------------------------------

    def _end(self, error: str = "") -> bool:
        now = timezone.now()
        with transaction.atomic():
            if self.run.pk or error:
                self.run.error = error or self.run.error
                self.run.finished_at = now
                if not self.run.pk:
                    self.run.save()
                if self.run.listed and self.run.complete and not error:
                    self._retire_vanished()
                self.run.save()
                self.source.items.filter(waiting=True).update(waiting=False)
                self._forget_old_runs()
            failed = error or self._all_failed()
            _set(
                self.source,
                state=Source.State.FAILED if failed else Source.State.IDLE,
                error=failed or (self.run.error if self.run.pk else ""),
                next_at=self._next(now, bool(failed)),
            )
        log.info("source %s: %s", self.source.pk, failed or "done")
        return False

    def _next(self, now: datetime, failed: bool) -> datetime | None:
        if self.backend.again:
            return now + timedelta(seconds=self.backend.again)
        if not self.source.every:
            return None
        every = timedelta(minutes=self.source.every)
        return now + (min(every, AGAIN) if failed else every)

    def _all_failed(self) -> str:
        run = self.run
        if not run.failed or run.added + run.changed + run.unchanged:
            return ""
        errors = self._seen().exclude(error="").values_list("error", flat=True)
        if len(errors) == 1:
            return str(errors[0])
        text = ngettext("%(n)d could not be read.", "None of %(n)d could be read.", run.failed)
        return text % {"n": run.failed}

    def _retire_vanished(self) -> None:
        absent = self.source.items.filter(seen_at__lt=self.run.started_at)
        absent.filter(missing__lt=self.backend.patience).update(missing=F("missing") + 1)
        vanished = absent.filter(missing__gte=self.backend.patience)
        vanished.filter(document=None).delete()
        documents = Document.objects.filter(pk__in=vanished.values("document"))
        reason = _("%(source)s no longer has it.") % {"source": self.source}
        self.run.retired += uploading.retire(documents, reason)

    def _forget_old_runs(self) -> None:
        """Of looks in a row that brought nothing, the last one; of the others, a number."""
        runs = self.source.runs.exclude(finished_at=None)
        if _brought_nothing(self.run):
            before = runs.filter(pk__lt=self.run.pk).first()
            if before and _brought_nothing(before) and _said(before) == _said(self.run):
                before.delete()
        runs.filter(pk__in=list(runs.values_list("pk", flat=True)[RUNS_KEPT:])).delete()


def _may_differ(item: SourceItem, found: Found) -> bool:
    if not found.ready:
        return False
    if item.waiting or item.missing or not found.version:
        return True
    return bool(item.data.get("version") != found.version)


def _links(content: Content) -> list[list[Any]]:
    return [[link.key, link.data] for link in content.links]


def _brought_nothing(run: SourceRun) -> bool:
    return not (run.added or run.changed or run.retired)


def _said(run: SourceRun) -> tuple[int, str]:
    return run.failed, run.error


def external_id(source_id: int, key: str) -> str:
    """The name of the document that a source's item becomes."""
    whole = f"source:{source_id}:{key}"
    if len(whole) <= 500:
        return whole
    return f"source:{source_id}:{hashlib.sha256(key.encode()).hexdigest()}"


def preview(backend: Backend, count: int = 5) -> tuple[list[Found], Content | None]:
    """The first that `backend` finds, and the first of them as it would be fetched."""
    with backend.opened(hurried=True):
        found = list(islice(backend.items(), count))
        if not found:
            return [], None
        item = SourceItem(source=backend.source, key=found[0].key, data=found[0].data)
        return found, backend.fetch(item)
