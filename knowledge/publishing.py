"""Letting a revision answer: in a gated base only when the gates of `settings.GATES` let it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from django.core.files.base import ContentFile
from django.db import transaction

from knowledge.models import Document, Revision, Status
from opsdesk import gates
from opsdesk.gates import Change


class Held(Exception):
    """A gate refuses a revision; says why."""


def publish(revision: Revision, put: Callable[[], None]) -> None:
    """Have `put` let it answer. Raises Held when it may not."""
    base = revision.document.knowledge_base
    if base.gated and not revision.released:
        by = revision.document.approved_by_id or revision.document.created_by_id
        tried = partial(_tried, revision, put)
        refusal = gates.ask(Change("document", revision.pk, base.pk, by, tried=tried))
        if refusal:
            raise Held(refusal.reason)
    put()


@contextmanager
def _tried(revision: Revision, put: Callable[[], None]) -> Iterator[None]:
    """It answers inside, for this connection alone; nothing of that is left."""
    kept = {row.file.name for row in revision.attachments.all() if row.file}
    with transaction.atomic():
        put()
        made = [row.file for row in revision.attachments.all() if row.file]
        try:
            yield
        finally:
            transaction.set_rollback(True)
    for file in made:
        if file.name and file.name not in kept:
            file.storage.delete(file.name)


def release(revision: Revision) -> bool:
    """Publish what is held back, whatever the gates say; False where nothing is."""
    with transaction.atomic():
        held = Revision.objects.filter(pk=revision.pk, status=Status.HELD)
        changed = held.update(released=True, status=Status.QUEUED, error="", attempts=0)
        if changed:
            _read(revision.pk)
    return bool(changed)


def put_back(revision: Revision) -> Revision:
    """Upload anew what an earlier revision held: once it is read it answers, as the latest.

    It did so before, so no gate is asked.
    """
    with revision.file.open("rb") as file:
        content = file.read()
    with transaction.atomic():
        document = Document.objects.select_for_update().get(pk=revision.document_id)
        again = Revision(
            document=document, name=revision.name, media_type=revision.media_type,
            size=revision.size, sha256=revision.sha256, password=revision.password, released=True,
        )  # fmt: skip
        again.file.save(revision.name, ContentFile(content), save=False)
        again.save()
        document.latest = again
        document.save(update_fields=["latest"])
        _read(again.pk)
    return again


def _read(pk: int) -> None:
    from knowledge import tasks  # which publish what they read

    tasks.enqueue(pk)
