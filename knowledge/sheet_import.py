"""FAQ sheets as imports: kept, confirmed by a person, stored row by row by a worker."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import File
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from knowledge import entries, sheets
from knowledge.models import Entry, Import, KnowledgeBase
from opsdesk.errors import ParseError

ERRORS = 1000  # kept on the import
BATCH = 500
SECONDS = 120  # of one task; a longer import goes on in the next


def receive(base: KnowledgeBase, file: File, name: str, user: User | None) -> Import:
    """Keep a sheet with a guess of what its columns mean, for a person to look at.

    Raises ParseError when it cannot be read.
    """
    row = Import(knowledge_base=base, kind=Import.Kind.FAQ, name=name, user=user)
    with sheets.copied(file) as path:
        row.mapping = sheets.guess(sheets.read(path, name)).to_json()
    row.file.save(name, file, save=False)
    row.save()
    return row


def start(row: Import) -> bool:
    """Queue a confirmed or stopped import; False when it is under way or done."""
    waiting = [Import.State.PREVIEW, Import.State.FAILED]
    with transaction.atomic():
        queued = Import.objects.filter(pk=row.pk, state__in=waiting).update(
            state=Import.State.QUEUED, error=""
        )
        if queued:
            enqueue(row)
    return bool(queued)


def enqueue(row: Import) -> None:
    task = {
        Import.Kind.FAQ: "knowledge.sheet_import.run",
        Import.Kind.WECOM: "knowledge.wecom_import.run",
    }
    async_task(task[Import.Kind(row.kind)], row.pk, cluster=settings.Q_CLUSTER["name"])


def run(import_id: int) -> None:
    """Task: import the rows that are not yet, for SECONDS; then the next task goes on.

    A batch of rows is stored together with how far the import is, so that a task that is
    delivered twice, or was killed, imports and counts no row twice.
    """
    row = Import.objects.select_related("knowledge_base").filter(pk=import_id).first()
    if row is None or row.state not in {Import.State.QUEUED, Import.State.RUNNING}:
        return
    with told(import_id):
        _run(row)


@contextmanager
def told(import_id: int) -> Iterator[None]:
    """Say on an import why it stopped; it can be started again."""
    settled = False
    try:
        yield
        settled = True
    except ParseError as error:
        settled = True
        _stop(import_id, str(error))
    finally:
        if not settled:
            _stop(import_id, _("Something unexpected went wrong while importing."))


def _run(row: Import) -> None:
    mapping = sheets.Mapping(**row.mapping)
    sheet = sheets.read(Path(row.file.path), row.name)[mapping.sheet]
    planned = list(sheets.judged(sheet, mapping))
    refused = [one for one in planned if one.error]
    Import.objects.filter(pk=row.pk).update(
        state=Import.State.RUNNING,
        total=len(planned),
        failed=len(refused),
        errors=[{"row": one.number, "message": one.error} for one in refused[:ERRORS]],
    )
    until = time.monotonic() + SECONDS
    while _batch(row, mapping, planned):
        if time.monotonic() > until:
            enqueue(row)
            return


def _batch(row: Import, mapping: sheets.Mapping, planned: list[sheets.Planned]) -> bool:
    """Import the next rows; False when all are."""
    with transaction.atomic():
        entries.lock(row.knowledge_base)
        locked = Import.objects.select_for_update(of=("self",)).filter(pk=row.pk).first()
        if locked is None or locked.state != Import.State.RUNNING:
            return False
        batch = planned[locked.done : locked.done + BATCH]
        good = [one for one in batch if not one.error]
        sheets.match(row.knowledge_base, good)
        counted = sheets.counts(batch)
        entries.save(
            [_filled(one, row, mapping) for one in good if one.change != "unchanged"], row.user
        )
        locked.done += len(batch)
        locked.created += counted["new"]
        locked.updated += counted["changed"]
        locked.unchanged += counted["unchanged"]
        if locked.done >= len(planned):
            locked.state, locked.finished_at = Import.State.DONE, timezone.now()
        locked.save()
        return locked.state == Import.State.RUNNING


def _filled(planned: sheets.Planned, row: Import, mapping: sheets.Mapping) -> Entry:
    entry = planned.entry or Entry(
        knowledge_base=row.knowledge_base, origin=Entry.Origin.SHEET, created_by=row.user
    )
    for name, value in sheets.said(planned.values).items():
        setattr(entry, name, value)
    if mapping.publish and entry.state != Entry.State.PUBLISHED:
        entry.state, entry.decided_at = Entry.State.PUBLISHED, None
    entry.imported = row
    entry.reference = entry.reference or row.name[:500]
    return entry


def _stop(import_id: int, error: str) -> None:
    Import.objects.filter(pk=import_id).update(
        state=Import.State.FAILED, error=error, finished_at=timezone.now()
    )


def refused(row: Import) -> Iterator[list[str]]:
    """The rows of an import that were refused: number, why, and what stood there."""
    mapping = sheets.Mapping(**row.mapping)
    sheet = sheets.read(Path(row.file.path), row.name)[mapping.sheet]
    cells = {one.number: one.cells for one in sheet.rows}
    yield [_("row"), _("error"), *sheets.header_row(sheet, mapping.header).cells]
    for one in sheets.judged(sheet, mapping):
        if one.error:
            yield [str(one.number), one.error, *cells[one.number]]
