"""Figures described by a vision model, one after the other, in the background.

Which pictures wait is in their rows, and each is committed by itself: a killed worker loses
at most those it was asking about. A description stands under the words of the passages that
show the picture, and is searched with them.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from knowledge import indexing
from knowledge.models import Attachment, Chunk, Document, Revision
from knowledge.vision import Picture
from opsdesk import locking, queues
from opsdesk.backends import backend
from opsdesk.errors import ModelError

log = logging.getLogger(__name__)
GROUP = "describe:%d"
ATTEMPTS = 3
SMALLEST, LEAST_AREA, THINNEST = 48, 6_000, 20  # px, px², longer by shorter side
LARGEST = 10 * 1024**2  # bytes that are sent
SENT = {"image/png", "image/jpeg", "image/webp", "image/gif"}
BATCH = 200  # pictures that a task takes up
IN_A_ROW = 3  # failures after which the model is left alone until the next sweep
State = Attachment.Description


def begin(revision: Revision) -> int:
    """Let the pictures of a revision that is ready be described; how many wait.

    What is known of the same picture, of this base, is taken over at once.
    """
    described = Attachment.objects.filter(description_state=State.DONE)
    base = revision.document.knowledge_base_id
    if (
        backend("vision") is None
        and not described.filter(revision__document__knowledge_base=base).exists()
    ):
        return 0
    pictures = _worth(revision)
    for picture in pictures.exclude(description_state__in=[State.WAITING, State.FAILED]):
        known = picture if picture.description_state == State.DONE else _known(picture)
        if known:
            _settle(picture, known.description, known.described_by)
    if backend("vision") is None:
        return 0
    waiting = pictures.filter(description_state="").update(description_state=State.WAITING)
    if waiting:
        enqueue(revision.pk)
    return waiting


def again(revision: Revision) -> int:
    """Try those once more that failed, and those that were never tried; how many."""
    failed = _worth(revision).filter(description_state=State.FAILED)
    tried = failed.update(
        description_state=State.WAITING, description_attempts=0, description_error=""
    )
    if begin(revision) == 0 and tried:
        enqueue(revision.pk)
    return tried


def enqueue(revision_id: int) -> None:
    async_task(
        "knowledge.describing.describe",
        revision_id,
        group=GROUP % revision_id,
        cluster=settings.Q_CLUSTER["name"],
    )


def describe(revision_id: int) -> None:
    """Describe what waits of a revision, as much as one task may take."""
    model = backend("vision")
    if model is None:
        return
    with locking.held(GROUP % revision_id) as claimed:
        if not claimed:
            return
        over = _describe_all(model, _waiting(revision_id))
    if over and _waiting(revision_id).exists():
        enqueue(revision_id)


def sweep() -> int:
    """Queue what waits and nobody works on; how many revisions."""
    if backend("vision") is None:
        return 0
    queued = queues.groups(taken=False)
    swept = 0
    with transaction.atomic():
        rows = Attachment.objects.filter(description_state=State.WAITING, **_ANSWERING)
        for pk in rows.order_by().values_list("revision", flat=True).distinct():
            if GROUP % pk not in queued and locking.free(GROUP % pk):
                enqueue(pk)
                swept += 1
    return swept


def progress(revision: Revision | None) -> dict[str, int]:
    """How many figures there are to describe, and how far that is: total, done, failed, waiting."""
    if revision is None:
        return {}
    counted: dict[str, int] = revision.attachments.exclude(description_state="").aggregate(
        total=Count("pk"),
        done=Count("pk", filter=Q(description_state=State.DONE)),
        failed=Count("pk", filter=Q(description_state=State.FAILED)),
        waiting=Count("pk", filter=Q(description_state=State.WAITING)),
    )
    return counted if counted["total"] else {}


def pending(revision: Revision) -> bool:
    """Whether figures of it wait for the model."""
    return backend("vision") is not None and _waiting(revision.pk).exists()


# --- which pictures -----------------------------------------------------------------

_ANSWERING = {"revision__document__current": F("revision")}


def _worth(revision: Revision) -> QuerySet[Attachment]:
    """Pictures that may say something: not tiny, not a rule, and each only once."""
    pictures = (
        revision.attachments.filter(
            kind=Attachment.Kind.PICTURE,
            media_type__in=SENT,
            width__gte=SMALLEST,
            height__gte=SMALLEST,
            width__lte=F("height") * THINNEST,
            height__lte=F("width") * THINNEST,
        )
        .exclude(file="")
        .alias(area=F("width") * F("height"))
        .filter(area__gte=LEAST_AREA)
    )
    first = pictures.order_by("digest", "position").distinct("digest").values_list("pk", flat=True)
    return pictures.filter(pk__in=list(first)).order_by("position")


def _known(picture: Attachment) -> Attachment | None:
    base = picture.revision.document.knowledge_base_id
    described = Attachment.objects.filter(
        digest=picture.digest,
        description_state=State.DONE,
        revision__document__knowledge_base=base,
    )
    return described.exclude(pk=picture.pk).exclude(digest="").order_by("-pk").first()


def _waiting(revision_id: int) -> QuerySet[Attachment]:
    return Attachment.objects.filter(
        revision=revision_id, description_state=State.WAITING, **_ANSWERING
    ).order_by("description_attempts", "position")


# --- asking -------------------------------------------------------------------------


def _describe_all(model: Any, pictures: QuerySet[Attachment]) -> bool:
    """Ask about a few at once; whether the next task should go on where this one ended."""
    deadline = time.monotonic() + settings.PARSE_SECONDS * 0.5
    batch = pictures.select_related("revision__document").defer("revision__parsed")[:BATCH]
    left = iter(rows := list(batch))
    asked: dict[Future[str], Attachment] = {}
    failures = 0
    with ThreadPoolExecutor(settings.VISION_CONCURRENCY) as threads:
        while True:
            late = time.monotonic() > deadline
            if not late and failures < IN_A_ROW:
                asked |= _ask(model, threads, left, settings.VISION_CONCURRENCY - len(asked))
            if not asked:
                return failures < IN_A_ROW and (late or len(rows) == BATCH)
            for future in wait(asked, return_when=FIRST_COMPLETED).done:
                failures = 0 if _answered(model, asked.pop(future), future) else failures + 1


def _ask(
    model: Any, threads: ThreadPoolExecutor, pictures: Iterator[Attachment], room: int
) -> Iterable[tuple[Future[str], Attachment]]:
    asked: list[tuple[Future[str], Attachment]] = []
    while len(asked) < room and (picture := next(pictures, None)):
        try:
            shown = _picture(picture)
        except ModelError as error:
            _fail(picture, error)
            continue
        asked.append((threads.submit(model.describe, shown), picture))
    return asked


def _picture(picture: Attachment) -> Picture:
    try:
        data = picture.file.read()
    except OSError as error:
        raise ModelError(_("The picture's file is gone."), permanent=True) from error
    finally:
        picture.file.close()
    if len(data) > LARGEST:
        raise ModelError(_("The picture is too large to be described."), permanent=True)
    return Picture(
        data,
        picture.media_type,
        title=picture.revision.document.title,
        caption=f"{picture.number} {picture.caption}".strip(),
        text=picture.text,
    )


def _answered(model: Any, picture: Attachment, future: Future[str]) -> bool:
    """Keep what came of asking; whether it was an answer."""
    try:
        description = future.result()
    except ModelError as error:
        _fail(picture, error)
        return False
    # PostgreSQL takes no NUL, and a quote holds no empty line.
    lines = (line.strip() for line in description.replace("\x00", "").splitlines())
    _settle(picture, "\n".join(filter(None, lines)), model.model)
    return True


def _fail(picture: Attachment, error: ModelError) -> None:
    attempts = picture.description_attempts + 1
    given_up = error.permanent or attempts >= ATTEMPTS
    Attachment.objects.filter(pk=picture.pk, digest=picture.digest).update(
        description_attempts=attempts,
        description_error=str(error),
        description_state=State.FAILED if given_up else State.WAITING,
    )
    log.warning("picture %s was not described: %s", picture.pk, error)


# --- where it is shown ---------------------------------------------------------------


def _settle(picture: Attachment, description: str, model: str) -> None:
    """The description of a picture and of its copies in the revision, and in their passages."""
    with transaction.atomic():
        # In the order of a swap: the document before its passages.
        document = Document.objects.select_for_update().filter(revisions=picture.revision_id)
        if not document.first():
            return
        same = Attachment.objects.filter(
            revision=picture.revision_id, digest=picture.digest, kind=Attachment.Kind.PICTURE
        )
        same.update(
            description=description,
            described_by=model[:200],
            description_error="",
            description_state="",
        )
        same.filter(pk=picture.pk).update(description_state=State.DONE)
        if description:
            _write(set(same.values_list("pk", flat=True)), description)


def _write(pictures: set[int], description: str) -> None:
    changed = []
    shown = Chunk.attachments.through.objects.filter(attachment__in=pictures)
    chunks = Chunk.objects.filter(pk__in=set(shown.values_list("chunk", flat=True)))
    for chunk in chunks.prefetch_related("attachments"):
        names = [row.number or row.caption for row in chunk.attachments.all() if row.pk in pictures]
        quote = _quote(names[0], description)
        if quote in chunk.text:
            continue
        chunk.text = f"{chunk.text}\n\n{quote}".strip()
        chunk.save(update_fields=["text"])
        changed.append(chunk.pk)
    if changed:
        indexing.update_chunks(Chunk.objects.filter(pk__in=changed))


def _quote(name: str, description: str) -> str:
    """Told apart from what the document says by being a quote."""
    return "\n".join(f"> {line}" for line in f"{name or _('Picture')}：{description}".splitlines())
