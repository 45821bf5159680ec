"""Every door through which a document comes in, and out again: admin, API, folder, archive."""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile, File
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from knowledge import archives, indexing, pages, parsing, tasks
from knowledge.models import (
    Attachment,
    Document,
    Entry,
    KnowledgeBase,
    Revision,
    Source,
    Status,
)
from knowledge.parsing.detection import LOCKABLE
from opsdesk import locking
from opsdesk.errors import ParseError
from opsdesk.sealing import seal

# What an upload says of its document in any case.
DECIDED = ("title", "approved_by", "approved_at", "retired_at", "retired_reason", "updated_at")


@dataclass(frozen=True)
class Added:
    """What came of an upload. `created` is False when the same bytes were already there.

    A file that cannot be read is kept as a failed revision with the reason in `revision.error`,
    so that one bad file among many loses none of the good ones.
    """

    document: Document
    revision: Revision
    created: bool


@dataclass(frozen=True)
class _Received:
    path: Path
    size: int
    sha256: str
    problem: str  # why not all of it came


def add(
    base: KnowledgeBase,
    *,
    file: File,
    name: str,
    title: str = "",
    external_id: str = "",
    user: User | None = None,
    origin: str = Document.Origin.UPLOAD,
    approved: bool,
    password: str = "",
    source: Source | None = None,
    url: str = "",
    product: str = "",
    version: str = "",
    environment: str = "",
    tags: list[str] | None = None,
    expires_on: date | None = None,
) -> Added:
    """Store one file and queue it.

    The same `external_id` replaces: the old revision answers until the new one is ready.
    Without one, a document of the base with the same bytes is the same document. Of what is
    known about it already only what is given changes; a retired document is back.
    """
    name = clean_name(name)
    facts = _given(
        source=source,
        url=url,
        product=product,
        version=version,
        environment=environment,
        tags=tags,
        expires_on=expires_on,
    )
    with _received(file) as received, ExitStack() as undo, transaction.atomic():
        media_type, problem = _look(received, name)
        _lock(base)
        document = _find(base, external_id, received.sha256)
        if document and (known := _known(document, received.sha256, problem, password)):
            _claim_external_id(document, external_id)
            _learn(document, facts)
            restore(Document.objects.filter(pk=document.pk))
            if approved:
                approve(Document.objects.filter(pk=document.pk), user)
            return Added(document, known, created=False)
        document = document or Document(
            knowledge_base=base, external_id=external_id, origin=origin, created_by=user
        )
        _decide(document, title or document.title or Path(name).stem, facts, user, approved)
        revision = Revision(document=document, name=name, media_type=media_type)
        if password and media_type in LOCKABLE:
            revision.password = seal(password)
        _keep(revision, received, problem, undo)
        document.latest = revision
        document.save(update_fields=["latest"])
        if not problem:
            tasks.enqueue(revision.pk)
        undo.pop_all()
    return Added(document, revision, created=True)


def _keep(revision: Revision, received: _Received, problem: str, undo: ExitStack) -> None:
    """Store a revision with its file, or without it and failed; `undo` gets the file."""
    revision.size, revision.sha256 = received.size, received.sha256
    if problem:
        revision.status, revision.error = Status.FAILED, problem
        revision.finished_at = timezone.now()
    else:
        with received.path.open("rb") as content:
            revision.file.save(revision.name, File(content), save=False)
        undo.callback(revision.file.delete, save=False)
    revision.save()


def add_text(base: KnowledgeBase, *, text: str, title: str, **options: Any) -> Added:
    """Store Markdown; `options` as for `add`."""
    return add(
        base, file=ContentFile(text.encode()), name=f"{title[:200]}.md", title=title, **options
    )


def add_archive(
    base: KnowledgeBase, file: File, *, password: str = "", **options: Any
) -> Iterator[Added]:
    """Add every file of a zip under its path as external id; ParseError when it is no good zip.

    `password` opens the zip, and the files in it that want one.
    """
    for member in archives.members(file, password):
        yield add(
            base,
            file=member.file,
            name=member.path,
            external_id=member.path[:500],
            origin=Document.Origin.INGEST,
            password=password,
            **options,
        )


def retry(document: Document) -> bool:
    """Process the latest revision again; False when it is under way, or was refused at the door."""
    with transaction.atomic():
        revision = (
            Revision.objects.select_for_update(of=("self",))
            .filter(pk=document.latest_id or 0)
            .first()
        )
        if revision is None or revision.unfinished or not revision.file:
            return False
        revision.attempts = 0
        revision.save(update_fields=["attempts"])
        revision.wait()
        tasks.enqueue(revision.pk)
    return True


def unlock(document: Document, password: str) -> bool:
    """Read the latest revision with `password`; False where `retry` is."""
    with transaction.atomic():
        if queued := retry(document):
            Revision.objects.get(pk=document.latest_id or 0).unlock(password)
    return queued


def approve(documents: QuerySet[Document], user: User | None) -> int:
    """Let those that were only collected answer; how many."""
    return _set(documents.filter(approved_at=None), approved_at=timezone.now(), approved_by=user)


def retire(documents: QuerySet[Document], reason: str) -> int:
    """Let documents answer no more that their source no longer has; how many. They are kept."""
    values = {"retired_at": timezone.now(), "retired_reason": reason[:300]}
    return _set(documents.filter(retired_at=None), **values)


def restore(documents: QuerySet[Document]) -> int:
    """Let retired documents answer again; how many."""
    return _set(documents.exclude(retired_at=None), retired_at=None, retired_reason="")


def describe(documents: QuerySet[Document], **facts: Any) -> int:
    """Say of documents what they hold for, until when, where readers find them; how many."""
    return _set(documents, **facts) if facts else 0


def tag(documents: QuerySet[Document], add: Sequence[str], remove: Sequence[str]) -> int:
    """Give documents tags and take some away; how many have others now."""
    changed: dict[tuple[str, ...], list[int]] = defaultdict(list)
    with transaction.atomic():
        locked = documents.select_for_update(of=("self",)).order_by("pk")
        for pk, tags in locked.values_list("pk", "tags"):
            kept = tuple(one for one in dict.fromkeys([*tags, *add]) if one not in remove)
            if kept != tuple(tags):
                changed[kept].append(pk)
        for named, ids in changed.items():
            _set(Document.objects.filter(pk__in=ids), tags=list(named))
    return sum(map(len, changed.values()))


def delete(documents: Iterable[Document]) -> None:
    """Forget documents: their chunks, revisions and files."""
    rows = sorted(documents, key=lambda document: document.knowledge_base_id)
    with transaction.atomic():
        ids = [document.pk for document in rows]
        # In the order of those who publish and swap: entries, all documents, then any lexicon.
        list(Entry.objects.select_for_update().filter(document__in=ids).order_by("pk"))
        indexing.lock(ids)
        for _base, same in groupby(rows, key=lambda document: document.knowledge_base_id):
            held = list(same)
            for start in range(0, len(held), indexing.BATCH):
                _delete(held[start : start + indexing.BATCH])


def _delete(documents: list[Document]) -> None:
    """Those of one base. An FAQ entry without its document is a draft again."""
    ids = [document.pk for document in documents]
    pictures = Attachment.objects.filter(revision__document__in=ids).exclude(file="")
    revisions = Revision.objects.filter(document__in=ids).defer("parsed")
    files = [row.file for row in revisions if row.file] + [row.file for row in pictures]
    rendered = [row.pk for row in revisions]
    indexing.remove_all(documents)
    Entry.objects.filter(document__in=ids).update(state=Entry.State.DRAFT)
    Document.objects.filter(pk__in=ids).delete()

    def forget() -> None:
        for file in files:
            file.delete(save=False)
        pages.forget(rendered)

    transaction.on_commit(forget)


def too_large(size: int) -> str:
    """Why a file of `size` bytes is refused, or ""."""
    if size <= settings.UPLOAD_MAX_BYTES:
        return ""
    limit = {"megabytes": settings.UPLOAD_MAX_BYTES // 1024**2}
    return _("This file is larger than %(megabytes)d MB.") % limit


def clean_name(name: str) -> str:
    """The last part of a path as a person would read it, at most 200 characters."""
    last = PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")).name
    last = "".join(c for c in last if unicodedata.category(c) not in {"Cc", "Cf", "Cs"}).strip()
    path = PurePosixPath(last or "file")
    return path.stem[: 200 - len(path.suffix[:20])] + path.suffix[:20]


@contextmanager
def _received(file: File) -> Iterator[_Received]:
    digest, size, problem = hashlib.sha256(), 0, ""
    with NamedTemporaryFile(prefix="opsdesk-") as copy:
        try:
            for piece in file.chunks():
                digest.update(piece)
                size += len(piece)
                copy.write(piece)
        except ParseError as error:  # a damaged file of an archive loses none of the others
            problem = str(error)
        copy.flush()
        yield _Received(Path(copy.name), size, digest.hexdigest(), problem)


def _look(received: _Received, name: str) -> tuple[str, str]:
    """The media type, or "" and why the file is refused."""
    if problem := received.problem or too_large(received.size):
        return "", problem
    try:
        return parsing.media_type(received.path, name), ""
    except ParseError as error:
        return "", str(error)


def _lock(base: KnowledgeBase) -> None:
    """One upload at a time decides what is already in a base.

    Not the base's row: raising its version holds that while a document is swapped in.
    """
    locking.wait(f"base:{base.pk}")


def _find(base: KnowledgeBase, external_id: str, sha256: str) -> Document | None:
    documents = base.documents.select_related("latest", "current").order_by("id")
    if external_id and (named := documents.filter(external_id=external_id).first()):
        return named
    same = documents.filter(latest__sha256=sha256)
    return (same.filter(external_id="") if external_id else same).first()


def _known(document: Document, sha256: str, problem: str, password: str) -> Revision | None:
    """The revision that already holds these bytes, queued again if it had failed."""
    latest = document.latest
    if latest and latest.sha256 == sha256:
        if latest.status == Status.FAILED and latest.file:
            if password:
                unlock(document, password)
            else:
                retry(document)
            latest.refresh_from_db()
        # Refused before, but readable now: take it in.
        return latest if latest.file or problem else None
    return None


def _decide(
    document: Document, title: str, facts: dict[str, Any], user: User | None, approved: bool
) -> None:
    """Store what is now said of a document that gets other bytes."""
    answered = document.current_id is not None
    if answered and approved and not document.approved_at:
        indexing.remove(document)  # nobody approved what it held so far
        document.current = None
    document.title = title[:500]
    document.approved_by = user if approved else None
    document.approved_at = timezone.now() if approved else None
    document.retired_at, document.retired_reason = None, ""
    for field, value in facts.items():
        setattr(document, field, value)
    # Of one that is there only those: a worker may be swapping in another revision of it.
    document.save(update_fields=[*DECIDED, *facts] if document.pk else None)
    if answered:
        _changed([document.knowledge_base_id])


def _claim_external_id(document: Document, external_id: str) -> None:
    if external_id and not document.external_id:
        document.external_id = external_id
        document.save(update_fields=["external_id"])


def _given(**facts: Any) -> dict[str, Any]:
    return {field: value for field, value in facts.items() if value not in (None, "")}


def _learn(document: Document, facts: dict[str, Any]) -> None:
    """Take over what is now said about a document whose bytes are the same."""
    new = {field: value for field, value in facts.items() if getattr(document, field) != value}
    if new:
        _set(Document.objects.filter(pk=document.pk), **new)
        document.refresh_from_db(fields=list(new))


def _set(documents: QuerySet[Document], **values: Any) -> int:
    """Change what decides whether documents answer, locked in the order of a swap."""
    with transaction.atomic():
        locked = documents.select_for_update(of=("self",)).order_by("pk")
        rows = dict(locked.values_list("pk", "knowledge_base_id"))
        Document.objects.filter(pk__in=rows).update(updated_at=timezone.now(), **values)
        _changed(set(rows.values()))
    return len(rows)


def _changed(bases: Iterable[int]) -> None:
    KnowledgeBase.objects.filter(pk__in=bases).raise_version()
