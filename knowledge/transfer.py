"""A whole knowledge base as one file, and back: on another installation it answers the same.

A zip: `manifest.json` with the format, the base, counts and the SHA-256 of every other member;
rows as JSON Lines; originals and pictures as `files/<SHA-256>`. Not in it: secrets of sources,
passwords, vectors (made again), who holds roles, earlier revisions, the history of edits.
Both ways hold a few rows at a time, whatever the size.
"""

import hashlib
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import SuspiciousFileOperation, ValidationError
from django.core.files.base import File
from django.core.validators import validate_slug
from django.db import DataError, IntegrityError, ProgrammingError, connection, transaction
from django.db.models import CharField, Model, OuterRef, Subquery, Value
from django.db.models.functions import Cast, Coalesce, Concat
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from knowledge import embedding, indexing, lexical, pages, tasks
from knowledge.models import (
    Attachment,
    Chunk,
    Document,
    Entry,
    KnowledgeBase,
    Lexicon,
    Revision,
    Source,
    Status,
    Term,
)
from knowledge.parsing.document import ParsedDocument
from knowledge.sources import running
from opsdesk.errors import BoundaryError

FORMAT = 1
BATCH = 200
PIECE = 1024 * 1024  # bytes
LINE = 512 * 1024 * 1024  # bytes of one row at most
RATIO = 500  # nothing of ours packs better
MANIFEST, MANIFEST_BYTES = "manifest.json", 256 * 1024 * 1024
ROWS = ("documents", "chunks", "entries", "terms", "sources")
NAME = re.compile(rf"({'|'.join(ROWS)})\.jsonl|files/[0-9a-f]{{64}}")

BASE = ("slug", "name", "description", "audience", "tier")
SCOPE = ("product", "version", "environment", "tags")
DOCUMENT = ("title", "external_id", "origin", "url", "tier", *SCOPE, "retired_reason")
REVISION = ("name", "media_type", "size", "sha256", "locked", "parser", "pages", "parsed")
ATTACHMENT = (
    "kind", "position", "number", "caption", "page", "box", "media_type", "width", "height",
    "html", "text", "description", "described_by", "description_state", "description_attempts",
    "description_error",
)  # fmt: skip
CHUNK = (
    "position", "kind", "heading_path", "question", "text", "questions", "digest", "edited",
    "page", "page_end", "locator", "regions", "enabled",
)  # fmt: skip
ENTRY = (
    "key", "question", "variants", "answer", "category", *SCOPE, "state", "origin", "reference",
    "context",
)  # fmt: skip
TERM = ("canonical", "variants", "note", "enabled")
SOURCE = ("kind", "name", "options", "every", "approve")

# What a file that was changed by hand, or by a bad disk, may run into.
WRONG = (
    KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError, EOFError,
    ValidationError, SuspiciousFileOperation, DataError, IntegrityError, ProgrammingError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip

Report = Callable[[int, int], None]  # done, total


class TransferError(BoundaryError):
    """A sentence for the person who exports or imports."""


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


# --- out ------------------------------------------------------------------------------


def export(base: KnowledgeBase, file: IO[bytes], report: Report = _silent) -> dict[str, int]:
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


# --- in -------------------------------------------------------------------------------


def look(file: IO[bytes]) -> dict[str, Any]:
    """The manifest of an export. Raises TransferError when it is none, or not for us."""
    with _opened(file) as (_packed, manifest):
        return manifest


def restore(
    file: IO[bytes], slug: str = "", user: User | None = None, report: Report = _silent
) -> KnowledgeBase:
    """Make the base that `file` holds, under `slug` if it is given; all of it or nothing.

    Raises TransferError.
    """
    with _opened(file) as (packed, manifest), ExitStack() as undo:
        try:
            with transaction.atomic():
                base = _In(packed, manifest, undo, report).base(slug, user)
        except WRONG as error:
            raise _damaged() from error
        except OSError as error:
            message = _("This export could not be stored here: %(error)s") % {"error": error}
            raise TransferError(message, permanent=False) from error
        undo.pop_all()
    return base


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    try:
        packed = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _damaged() from error
    with packed:
        manifest = _manifest(packed)
        _check(packed, manifest)
        yield packed, manifest


def _manifest(packed: zipfile.ZipFile) -> dict[str, Any]:
    try:
        info = packed.getinfo(MANIFEST)
        if info.file_size > MANIFEST_BYTES:
            raise _damaged()
        manifest: dict[str, Any] = json.loads(packed.read(info))
        number, _name = int(manifest["format"]), manifest["base"]["slug"]
        set(manifest["sha256"])
    except WRONG as error:
        message = _("This is not an export of a knowledge base.")
        raise TransferError(message, permanent=True) from error
    if number > FORMAT:
        message = _("This export was made by a newer OpsDesk. Update this one, then import it.")
        raise TransferError(message, permanent=True)
    return manifest


def _check(packed: zipfile.ZipFile, manifest: dict[str, Any]) -> None:
    """Only what the manifest lists, each once, under names of ours, and none that explodes."""
    infos = [info for info in packed.infolist() if info.filename != MANIFEST]
    names = {info.filename for info in infos}
    wanted = {f"{kind}.jsonl" for kind in ROWS}
    listed = set(manifest.get("sha256") or ())
    if not all(map(NAME.fullmatch, names)) or len(names) != len(infos):
        raise TransferError(_("This export holds files that do not belong to it."), permanent=True)
    if names != listed or not wanted <= names:
        raise _damaged()
    size = sum(info.file_size for info in infos)
    exploding = any(info.file_size > RATIO * info.compress_size + PIECE for info in infos)
    folder = Path(settings.MEDIA_ROOT)
    folder.mkdir(parents=True, exist_ok=True)
    if exploding or size > shutil.disk_usage(folder).free:
        message = _("This export would unpack to more than there is room for.")
        raise TransferError(message, permanent=True)


def _damaged() -> TransferError:
    return TransferError(_("This export is damaged; nothing was imported."), permanent=True)


class _In:
    """One base on its way in. `undo` gets what takes back the files, should it fail."""

    def __init__(
        self, packed: zipfile.ZipFile, manifest: dict[str, Any], undo: ExitStack, report: Report
    ) -> None:
        self.packed, self.manifest, self.undo, self.report = packed, manifest, undo, report
        counts = manifest["counts"]
        self.total, self.done = int(counts["documents"]) + 2 * int(counts["chunks"]), 0
        self.users = {user.get_username(): user for user in User.objects.all()}
        self.sources: dict[int, Source] = {}
        self.documents: dict[int, tuple[int, int]] = {}  # our document and revision by number
        self.attachments: dict[int, dict[int, int]] = {}  # by revision and position
        self.queued: list[int] = []

    def base(self, slug: str, user: User | None) -> KnowledgeBase:
        self.made = self._base(slug)
        for row in self._rows("sources"):
            values = {name: row[name] for name in SOURCE} | {"options": dict(row["options"])}
            values |= {"enabled": False, "created_by": user}
            source = Source.objects.create(knowledge_base=self.made, **values)
            self.sources[row["number"]] = source
        for row in self._rows("documents"):
            self._document(row)
        self._put_chunks()
        self._put_entries()
        for rows in _batched(self._rows("terms")):
            Term.objects.bulk_create(
                Term(knowledge_base=self.made, **{name: row[name] for name in TERM}) for row in rows
            )
        for pk in self.queued:
            tasks.enqueue(pk)
        embedding.catch_up()
        return self.made

    def _base(self, slug: str) -> KnowledgeBase:
        values = {name: self.manifest["base"][name] for name in BASE}
        values["slug"] = slug or values["slug"]
        validate_slug(values["slug"])
        if KnowledgeBase.objects.filter(slug=values["slug"]).exists():
            message = _("There is a knowledge base %(slug)s already. Give another slug.")
            raise TransferError(message % {"slug": values["slug"]}, permanent=True)
        base = KnowledgeBase(**values)
        base.full_clean()
        base.save()
        groups = Group.objects.filter(name__in=self.manifest["base"]["groups"])
        base.groups.set(groups)
        if means := self.manifest["means"]:  # so that what is found is ranked the same
            Lexicon.objects.create(knowledge_base=base, lengths=[0, 0, 0], means=means)
        return base

    def _document(self, row: dict[str, Any]) -> None:
        document = Document(
            knowledge_base=self.made,
            source=self.sources.get(row["source"]),
            expires_on=parse_date(row["expires_on"] or ""),
            retired_at=parse_datetime(row["retired_at"] or ""),
            approved_at=parse_datetime(row["approved_at"] or ""),
            created_by=self.users.get(row["created_by"]),
            approved_by=self.users.get(row["approved_by"]),
            **{name: row[name] for name in DOCUMENT},
        )
        _validate(document, DOCUMENT)
        document.external_id = self._external_id(row)
        document.save()
        if read := row["revision"]:
            revision = self._revision(document, read)
            document.latest = revision
            document.current = revision if read["answers"] else None
            document.save(update_fields=["latest", "current"])
            self.documents[row["number"]] = document.pk, revision.pk
        self._step()

    def _external_id(self, row: dict[str, Any]) -> str:
        """By the number that its source has here; those of FAQ entries come with the entries."""
        said, source = row["external_id"], self.sources.get(row["source"])
        if row["origin"] == Document.Origin.FAQ:
            return ""
        named = f"source:{row['source']}:"
        if source and said.startswith(named):
            return running.external_id(source.pk, said.removeprefix(named))
        return str(said)

    def _revision(self, document: Document, row: dict[str, Any]) -> Revision:
        revision = Revision(document=document, **{name: row[name] for name in REVISION})
        if row["answers"]:
            revision.status, revision.progress = Status.READY, 100
            revision.finished_at = timezone.now()
        elif not row["file"]:
            revision.status, revision.error = Status.FAILED, row["error"]
        if row["file"]:
            self._store(revision.file, row["file"], row["name"])
        if revision.parsed is not None:
            ParsedDocument.from_json(revision.parsed)
        _validate(revision, REVISION)
        revision.save()
        if revision.unfinished:
            self.queued.append(revision.pk)
        self.attachments[revision.pk] = {
            one["position"]: self._attachment(revision, one) for one in row["attachments"]
        }
        return revision

    def _attachment(self, revision: Revision, row: dict[str, Any]) -> int:
        made = Attachment(revision=revision, **{name: row[name] for name in ATTACHMENT})
        made.html = str(pages.clean_table(made.html))
        if row["file"]:
            suffix = indexing.SUFFIXES.get(made.media_type, "")
            self._store(made.file, row["file"], f"{made.position}{suffix}")
        made.save()
        return made.pk

    def _store(self, field: Any, digest: str, name: str) -> None:
        """The bytes of that digest, checked before anything is written."""
        member = f"files/{digest}"
        with self.packed.open(member) as content:
            if hashlib.file_digest(cast("Any", content), "sha256").hexdigest() != digest:
                raise _damaged()
        with self.packed.open(member) as content:
            field.save(name, File(content), save=False)
        self.undo.callback(field.storage.delete, field.name)

    def _put_chunks(self) -> None:
        """The passages, then their words; those of one document follow each other."""
        link = Chunk.attachments.through
        for rows in _batched(self._rows("chunks")):
            chunks = [self._chunk(row) for row in rows]
            Chunk.objects.bulk_create(chunks)
            link.objects.bulk_create(
                link(chunk_id=chunk.pk, attachment_id=self.attachments[chunk.revision_id][shown])
                for chunk, row in zip(chunks, rows, strict=True)
                for shown in row["attachments"]
            )
            self._step(len(rows))
        lexical.add(self.made.pk, self._words())

    def _chunk(self, row: dict[str, Any]) -> Chunk:
        document, revision = self.documents[row["document"]]
        Chunk.Kind(row["kind"])
        return Chunk(
            knowledge_base=self.made,
            document_id=document,
            revision_id=revision,
            **{name: row[name] for name in CHUNK},
        )

    def _words(self) -> Iterator[list[lexical.Row]]:
        for rows in indexing.rows_of(Chunk.objects.filter(knowledge_base=self.made)):
            yield rows
            self._step(len(rows))

    def _put_entries(self) -> None:
        for rows in _batched(self._rows("entries")):
            Entry.objects.bulk_create(map(self._entry, rows))
        entries = Entry.objects.filter(document=OuterRef("pk")).order_by("pk")
        name = Concat(Value("faq:"), Cast("pk", CharField()))
        self.made.documents.filter(origin=Document.Origin.FAQ).update(
            external_id=Coalesce(Subquery(entries.values_list(name)[:1]), Value(""))
        )

    def _entry(self, row: dict[str, Any]) -> Entry:
        Entry.State(row["state"]), Entry.Origin(row["origin"])
        document = self.documents.get(row["document"])
        return Entry(
            knowledge_base=self.made,
            document_id=document[0] if document else None,
            expires_on=parse_date(row["expires_on"] or ""),
            decided_at=parse_datetime(row["decided_at"] or ""),
            decided_by=self.users.get(row["decided_by"]),
            **{name: row[name] for name in ENTRY},
        )

    def _rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """The rows of a kind; at their end the digest and the number must be right."""
        name, digest, count = f"{kind}.jsonl", hashlib.sha256(), 0
        with self.packed.open(name) as member:
            while line := member.readline(LINE):
                digest.update(line)
                count += 1
                yield json.loads(line)
        if digest.hexdigest() != self.manifest["sha256"][name]:
            raise _damaged()
        if count != self.manifest["counts"][kind]:
            raise _damaged()

    def _step(self, rows: int = 1) -> None:
        before, self.done = self.done, self.done + rows
        if before // BATCH != self.done // BATCH:
            self.report(min(self.done, self.total), self.total)


def _validate(row: Model, names: Sequence[str]) -> None:
    """ValidationError for choices, lengths and addresses that a form would not take."""
    for name in names:
        field: Any = row._meta.get_field(name)
        if (value := getattr(row, name)) not in field.empty_values:
            field.clean(value, row)


def _batched(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    held: list[dict[str, Any]] = []
    for row in rows:
        held.append(row)
        if len(held) == BATCH:
            yield held
            held = []
    if held:
        yield held
