"""A knowledge base comes in from its file, all of it or nothing."""

import hashlib
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import SuspiciousFileOperation, ValidationError
from django.core.files.base import File
from django.core.validators import validate_slug
from django.db import DataError, IntegrityError, ProgrammingError, transaction
from django.db.models import CharField, Model, OuterRef, Subquery, Value
from django.db.models.functions import Cast, Coalesce, Concat
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from knowledge import embedding, indexing, lexical, pages, tasks
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
    Status,
    Term,
)
from knowledge.parsing.document import ParsedDocument
from knowledge.sources import running
from knowledge.transfer.format import (
    ADDED,
    ATTACHMENT,
    BASE,
    BATCH,
    CHUNK,
    DOCUMENT,
    ENTRY,
    FORMAT,
    LATER,
    MANIFEST,
    PAIR,
    PIECE,
    REVISION,
    ROWS,
    SOURCE,
    TERM,
    Report,
    TransferError,
    silent,
)

LINE = 512 * 1024 * 1024  # bytes of one row at most
RATIO = 500  # nothing of ours packs better
MANIFEST_BYTES = 256 * 1024 * 1024
NAME = re.compile(rf"({'|'.join(ROWS + LATER)})\.jsonl|files/[0-9a-f]{{64}}")

# What a file that was changed by hand, or by a bad disk, may run into.
WRONG = (
    KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError, EOFError,
    ValidationError, SuspiciousFileOperation, DataError, IntegrityError, ProgrammingError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def look(file: IO[bytes]) -> dict[str, Any]:
    """The manifest of an export. Raises TransferError when it is none, or not for us."""
    with _opened(file) as (_packed, manifest):
        return manifest


def restore(
    file: IO[bytes], slug: str = "", user: User | None = None, report: Report = silent
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
        if "pairs.jsonl" in self.manifest["sha256"]:
            self._put_pairs()
        for pk in self.queued:
            tasks.enqueue(pk)
        embedding.catch_up()
        return self.made

    def _base(self, slug: str) -> KnowledgeBase:
        values = _known(self.manifest["base"], BASE)
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
            **_known(row, DOCUMENT),
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

    def _put_pairs(self) -> None:
        for rows in _batched(self._rows("pairs")):
            ConfirmedPair.objects.bulk_create(
                self._pair(row) for row in rows if row["document"] in self.documents
            )

    def _pair(self, row: dict[str, Any]) -> ConfirmedPair:
        ConfirmedPair.Origin(row["origin"])
        return ConfirmedPair(
            knowledge_base=self.made,
            document_id=self.documents[row["document"]][0],
            user=self.users.get(row["user"]),
            **{name: row[name] for name in PAIR},
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


def _known(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names if name in row or name not in ADDED}


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
