"""Processing uploads in the worker: read, cut, index; once, however often it is delivered.

A worker holds an advisory lock of its database session for as long as it processes a
revision. PostgreSQL drops the lock when the process dies, so `sweep` can tell a revision
that is being worked on from one whose worker was killed, without waiting for a lease.
"""

import logging
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.utils import OperationalError
from django.utils import timezone
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from knowledge import describing, indexing, pacing, parsing, postings, publishing
from knowledge.models import Document, KnowledgeBase, Revision, Status
from opsdesk import locking, queues
from opsdesk.errors import BoundaryError, Locked

log = logging.getLogger(__name__)
ATTEMPTS = 3
# Short texts cost most in the steps around them: many of them take these steps together.
LIGHT = ("text/markdown", "text/plain")
LIGHT_BYTES = 64 * 1024
TOGETHER = 20
LONG_SECONDS = 6 * 3600  # a table of a million rows, giving way to answers
GROUP = "revision:%d"
TOGETHER_IN = "together:%d"


def enqueue(revision_id: int) -> None:
    """Queue a revision. The queue is a table here: inside a transaction, it commits with it."""
    # Other files end by themselves when the parser's time is over.
    async_task(
        "knowledge.tasks.process",
        revision_id,
        group=GROUP % revision_id,
        cluster=settings.Q_CLUSTER["name"],
        timeout=LONG_SECONDS,
    )


def process(revision_id: int) -> None:
    """Make a queued revision answer, or say on it why it cannot.

    A long file takes several tasks, each goes on where the one before stopped.
    """
    unread = Revision.objects.unfinished().filter(pk=revision_id)
    if not unread.exists():  # so nineteen of twenty tasks of an import of short texts find theirs
        return
    pacing.give_way()
    with pacing.unflushed(), locking.held(GROUP % revision_id) as claimed:
        revision = unread.select_related("document__knowledge_base").first() if claimed else None
        if revision is None:  # another has it, or it is deleted, or an earlier delivery did it
            return
        finished = _take(revision)
    if not finished:
        enqueue(revision_id)  # once it is no longer claimed
    postings.tend(revision.document.knowledge_base_id)


def _take(revision: Revision) -> bool:
    """Whether nothing is left to do."""
    if revision.attempts >= ATTEMPTS:
        revision.fail(_("Processing this file stopped the worker several times."))
        return True
    if revision.media_type in LIGHT and _light().filter(pk=revision.pk).exists():
        _attempt_together(revision)
        return True
    return _attempt(revision)


def _light() -> QuerySet[Revision]:
    """Short texts that nobody has tried to read yet."""
    return Revision.objects.filter(
        status=Status.QUEUED, attempts=0, media_type__in=LIGHT, size__lte=LIGHT_BYTES,
        document__knowledge_base__gated=False,
    ).exclude(document__origin=Document.Origin.FAQ)  # fmt: skip


def _attempt_together(first: Revision) -> None:
    """Read short texts of the base of `first` together.

    While people ask one worker at a time does so in a base. Another leaves its text to that
    one, which sees to it that what is left over is read. Else one reads while another writes.
    """
    light = _light().filter(document__knowledge_base=first.document.knowledge_base_id)
    with locking.held(TOGETHER_IN % first.document.knowledge_base_id) as alone:
        if alone or not pacing.asked_lately():
            _attempt_some(first, light)
    following = light.order_by("pk").first() if alone else None
    if following:
        enqueue(following.pk)


def _attempt_some(first: Revision, light: QuerySet[Revision]) -> None:
    """Read a short text and those queued after it, and put them in in one step.

    What goes wrong with one is found out when it is tried alone.
    """
    documents = {first.document_id: first.pk}
    queued = light.filter(pk__gt=first.pk).order_by("pk").values_list("document", "pk")
    for document_id, pk in queued[: TOGETHER - 1]:
        documents.setdefault(document_id, pk)
    others = {GROUP % pk: pk for pk in documents.values() if pk != first.pk}
    with locking.held_of(list(others)) as claimed:
        # An earlier delivery may have finished some before they were claimed.
        ids = [first.pk, *(others[key] for key in claimed)]
        revisions = list(light.filter(pk__in=ids).select_related("document").order_by("pk"))
        if len(revisions) > 1:
            Revision.objects.filter(pk__in=[row.pk for row in revisions]).update(
                status=Status.PROCESSING, attempts=1, started_at=timezone.now(), error=""
            )
            revisions = _put_together(revisions)
        for revision in revisions:
            _attempt(revision)


def _put_together(revisions: list[Revision]) -> list[Revision]:
    """Those that could not be read are left over."""
    prepared, left = [], []
    for revision in revisions:
        pacing.give_way()
        try:
            parsed = parsing.parse(Path(revision.file.path), revision.name)
            prepared.append((revision, indexing.prepare(revision.document.title, parsed)))
        except BoundaryError:
            left.append(revision)
    if prepared:
        pacing.give_way()
        indexing.put_all(prepared)
    log.info("%d revisions ready", len(prepared))
    return left


def _attempt(revision: Revision) -> bool:
    """Whether nothing is left to do."""
    revision.start()
    settled = False
    try:
        _index(revision)
        settled = True
    except parsing.Unfinished:
        settled = True
        revision.pause()
        return False
    except Locked as error:
        settled = True
        revision.lock(str(error))
    except publishing.Held as refused:
        settled = True
        revision.hold(str(refused))
    except BoundaryError as error:
        settled = True
        if error.permanent or revision.attempts >= ATTEMPTS:
            revision.fail(str(error))
        else:
            revision.wait(str(error))  # the sweeper queues it again
    except OperationalError:  # the database went away: not the file's fault
        settled = True
        raise
    finally:
        if not settled:
            revision.fail(_("Something unexpected went wrong while reading this file."))
    log.info("revision %s of document %s: %s", revision.pk, revision.document_id, revision.status)
    return True


def _index(revision: Revision) -> None:
    path = Path(revision.file.path)
    if parsing.is_long(path, revision.media_type):
        revision.report(Revision.Stage.INDEXING, 20)
        portions = partial(parsing.portions, path)
        publishing.publish(revision, lambda: indexing.put_parts(revision, portions()))
        revision.refresh_from_db(fields=["status"])
        return
    if not revision.parts_done:
        revision.report(Revision.Stage.READING, 5)
    parsed = parsing.parse(
        path,
        revision.name,
        revision.opened_with,
        tier=revision.document.reading,
        insist=revision.attempts < ATTEMPTS,
        report=revision.report_parts,
        store=_Parts(revision),
        seconds=settings.PARSE_SECONDS,
    )
    revision.report(Revision.Stage.INDEXING, 90)
    publishing.publish(revision, partial(indexing.put, revision, parsed))
    describing.begin(revision)
    revision.refresh_from_db(fields=["status"])


class _Parts:
    """Where the finished parts of a revision are kept: knowledge.parsing.job.Store."""

    def __init__(self, revision: Revision) -> None:
        self.revision = revision

    def load(self) -> dict[str, bytes]:
        return {part.name: bytes(part.data) for part in self.revision.parts.all()}

    def save(self, name: str, part: bytes) -> None:
        _part, new = self.revision.parts.update_or_create(name=name, defaults={"data": part})
        if new:  # a ticket that is drawn again is no progress
            self.revision.progressed()


def sweep() -> int:
    """Queue again every unfinished revision that nobody works on and nothing queued; how many."""
    swept = 0
    with transaction.atomic():
        if not locking.free("sweep"):
            return 0  # another worker is at it
        waiting = _waiting()
        for pk in (
            Revision.objects.unfinished().exclude(pk__in=waiting).values_list("pk", flat=True)
        ):
            # Taken only to look: it is free again when this transaction ends.
            if locking.free(GROUP % pk):
                enqueue(pk)
                swept += 1
    if swept:
        log.warning("%d unfinished revisions queued again", swept)
    return swept


def sweep_when_worker_starts(**kwargs: object) -> None:
    """Receives django-q's `post_spawn`: a worker that replaces a killed one takes up its work."""
    try:
        sweep()
    except OperationalError:
        log.warning("no database yet; the next sweep will look")


def _waiting() -> set[int]:
    """Revisions with a task in the queue that no cluster has taken yet."""
    groups = queues.groups(taken=False)
    return {int(group.partition(":")[2]) for group in groups if group.startswith("revision:")}


def recount() -> None:
    """Nightly: true up what is counted of each base."""
    for base in KnowledgeBase.objects.all():
        if wrong := indexing.recount(base):
            log.warning("%d term counts of %s were off", wrong, base.slug)
