"""A knowledge base goes out as one file."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext as _

from knowledge.models import (
    Attachment,
    Chunk,
    ConfirmedPair,
    Document,
    Entry,
    KnowledgeBase,
    Lexicon,
    Revision,
    Source,
)
from knowledge.transfer.format import (
    ATTACHMENT,
    BASE,
    BATCH,
    CHUNK,
    DOCUMENT,
    ENTRY,
    FORMAT,
    MANIFEST,
    PAIR,
    PIECE,
    REVISION,
    SOURCE,
    TERM,
    Report,
    TransferError,
    silent,
)


def export(base: KnowledgeBase, file: IO[bytes], report: Report = silent) -> dict[str, int]:
    """Write `base` to `file`; the rows of each kind. Raises TransferError."""
    with _snapshot(), zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as packed:
        out = _Out(packed, report, base.documents.count() + base.chunks.count())
        out.rows("documents", map(_document, _documents(base)))
        out.rows("chunks", map(_chunk, _chunks(base)))
        out.rows(
            "entries",
            map(_entry, base.entries.select_related("decided_by").order_by("pk").iterator()),
        )
        out.rows("terms", (_fields(term, TERM) for term in base.synonyms.order_by("pk").iterator()))
        pairs = base.pairs.select_related("user").order_by("pk")
        out.rows("pairs", map(_pair, pairs.iterator()))
        out.rows("sources", map(_source, base.sources.order_by("pk").iterator()))
        for name in _files(base):
            out.file(name)
        lexicon = Lexicon.objects.filter(pk=base.pk).first()
        manifest = {
            "format": FORMAT,
            "exported_at": timezone.now().isoformat(),
            "base": _fields(base, BASE)
            | {"groups": list(base.groups.values_list("name", flat=True))},
            "means": lexicon.means if lexicon else [],
            "counts": out.counts,
            "sha256": out.digests,
        }
        packed.writestr(MANIFEST, json.dumps(manifest, ensure_ascii=False))
    return out.counts


@contextmanager
def _snapshot() -> Iterator[None]:
    """All that is read belongs together, whatever is written meanwhile."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


class _Out:
    """What is written, with its counts and digests."""

    def __init__(self, packed: zipfile.ZipFile, report: Report, total: int) -> None:
        self.packed, self.report, self.total = packed, report, total
        self.done = 0
        self.counts: dict[str, int] = {}
        self.digests: dict[str, str] = {}

    def rows(self, kind: str, rows: Iterable[dict[str, Any]]) -> None:
        digest, count = hashlib.sha256(), 0
        name = f"{kind}.jsonl"
        with self.packed.open(name, "w", force_zip64=True) as member:
            for count, row in enumerate(rows, 1):  # noqa: B007 - counted
                line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
                digest.update(line)
                member.write(line)
                self.done += 1
                if self.done % BATCH == 0:
                    self.report(min(self.done, self.total), self.total)
        self.counts[kind], self.digests[name] = count, digest.hexdigest()

    def file(self, stored: Any) -> None:
        """Under its digest; the same bytes once."""
        digest = _sha256(stored)
        name = f"files/{digest}"
        if name in self.digests:
            return
        self.digests[name] = digest
        with stored.open("rb") as source, self.packed.open(name, "w", force_zip64=True) as member:
            shutil.copyfileobj(source, member, PIECE)


def _sha256(stored: Any) -> str:
    try:
        with stored.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except FileNotFoundError as error:
        message = _("The file %(name)s is missing on this machine.") % {"name": stored.name}
        raise TransferError(message, permanent=True) from error


def _fields(row: Model, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _documents(base: KnowledgeBase) -> Iterator[Document]:
    documents = base.documents.order_by("pk").select_related(
        "current", "latest", "created_by", "approved_by"
    )
    return documents.iterator(chunk_size=20)


def _revision_of(document: Document) -> Revision | None:
    """The one that answers, or else the one that was to."""
    return document.current or document.latest


def _document(document: Document) -> dict[str, Any]:
    revision = _revision_of(document)
    return _fields(document, DOCUMENT) | {
        "number": document.pk,
        "source": document.source_id,
        "expires_on": _iso(document.expires_on),
        "retired_at": _iso(document.retired_at),
        "approved_at": _iso(document.approved_at),
        "created_by": _name(document.created_by),
        "approved_by": _name(document.approved_by),
        "revision": _revision(document, revision) if revision else None,
    }


def _revision(document: Document, revision: Revision) -> dict[str, Any]:
    answers = revision.pk == document.current_id
    return _fields(revision, REVISION) | {
        "answers": answers,
        "error": revision.error,
        "file": _sha256(revision.file) if revision.file else None,
        "attachments": [
            _fields(row, ATTACHMENT) | {"file": _sha256(row.file) if row.file else None}
            for row in (revision.attachments.all() if answers else ())
        ],
    }


def _chunks(base: KnowledgeBase) -> Iterator[Chunk]:
    chunks = base.chunks.order_by("document", "position").prefetch_related("attachments")
    return chunks.iterator(chunk_size=BATCH)


def _chunk(chunk: Chunk) -> dict[str, Any]:
    shown = [row.position for row in chunk.attachments.all()]
    return _fields(chunk, CHUNK) | {"document": chunk.document_id, "attachments": shown}


def _entry(entry: Entry) -> dict[str, Any]:
    return _fields(entry, ENTRY) | {
        "document": entry.document_id,
        "expires_on": _iso(entry.expires_on),
        "decided_at": _iso(entry.decided_at),
        "decided_by": _name(entry.decided_by),
    }


def _pair(pair: ConfirmedPair) -> dict[str, Any]:
    return _fields(pair, PAIR) | {"document": pair.document_id, "user": _name(pair.user)}


def _source(source: Source) -> dict[str, Any]:
    return _fields(source, SOURCE) | {"number": source.pk}


def _files(base: KnowledgeBase) -> Iterator[Any]:
    for document in (
        base.documents.select_related("current", "latest")
        .defer("current__parsed", "latest__parsed")
        .iterator(chunk_size=BATCH)
    ):
        revision = _revision_of(document)
        if revision and revision.file:
            yield revision.file
    shown = Attachment.objects.filter(revision__in=base.documents.values("current"))
    for row in shown.exclude(file="").iterator(chunk_size=BATCH):
        yield row.file


def _iso(value: Any) -> str | None:
    return value.isoformat() if value else None


def _name(user: User | None) -> str | None:
    return user.get_username() if user else None
