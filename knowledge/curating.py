"""Changing the passages of documents: edit, split, merge, switch off and on, undo.

Each change is one transaction that holds the document, keeps the index right and writes a
ChunkEdit of what was before and after. ValidationError names the field that is wrong;
Conflict says who was first.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Func, JSONField, Q, QuerySet
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from knowledge import indexing
from knowledge.carrying import FLAGS
from knowledge.models import Chunk, ChunkEdit, Document, KnowledgeBase
from knowledge.pieces import LIMIT
from knowledge.snapshots import (
    Snapshot,
    digest,
    joined,
    locator,
    place,
    same,
    snapshot,
    version,
    write,
)
from opsdesk.errors import Conflict

__all__ = [
    "check",
    "digest",
    "dismiss",
    "edit",
    "history",
    "likely",
    "lost",
    "merge",
    "open_edits",
    "redo",
    "set_enabled",
    "split",
    "undo",
    "version",
    "what_happened",
]
Kind = ChunkEdit.Kind
QUESTIONS = 50  # other questions of one passage
QUESTION = LIMIT // 2  # characters
HEADING = 200
_TABLE = re.compile(r"^\|.*\n\|[ :|-]*-[ :|-]*$", re.MULTILINE)  # its header
SEEN = 300  # passages looked at for where a lost edit may belong


# --- The changes ------------------------------------------------------------------
def edit(
    chunk_id: int,
    *,
    text: str,
    user: User | None,
    question: str = "",
    questions: Sequence[str] = (),
    heading_path: Sequence[str] | None = None,
    seen: str | None = None,
) -> Chunk:
    """Give a passage another text, question, headings and other questions.

    `seen` is the `version` that the user was shown: Conflict if it is another by now.
    """
    with transaction.atomic():
        (chunk,) = _held([chunk_id], [seen])
        new = check(chunk, text, question, questions, heading_path)
        before = snapshot(chunk)
        after = {**before, **new}
        if after == before:
            return chunk
        if new["text"] != before["text"] or new["question"] != before["question"]:
            after["edited"] = True
        return _apply(Kind.EDIT, [chunk], [after], user)[0]


def split(
    chunk_id: int, *, texts: Sequence[str], user: User | None, seen: str | None = None
) -> list[Chunk]:
    """Cut a passage into several that hold `texts`. A table's header is repeated."""
    with transaction.atomic():
        (chunk,) = _held([chunk_id], [seen])
        texts = _headed([_tidy(text).strip("\n") for text in texts])
        if len(texts) < 2 or not all(text.strip() for text in texts):
            raise ValidationError({"text": _("Both parts must have a text.")})
        source = snapshot(chunk)
        parts = [
            {**source, "text": check(chunk, text, chunk.question)["text"], "edited": True}
            for text in texts
        ]
        for part in parts[1:]:
            part |= {"id": None, "digest": ""}
        place(parts, [source], chunk.revision_id)
        return _apply(Kind.SPLIT, [chunk], parts, user)


def merge(chunk_ids: Sequence[int], *, user: User | None, seen: Sequence[str | None] = ()) -> Chunk:
    """Make one passage of several that follow each other in one document."""
    with transaction.atomic():
        chunks = _held(chunk_ids, seen)
        if len(chunks) < 2 or any(
            (one.revision_id, one.position + 1) != (next_.revision_id, next_.position)
            for one, next_ in pairwise(chunks)
        ):
            raise ValidationError(_("Only passages that follow each other can be merged."))
        if len({chunk.enabled for chunk in chunks}) > 1:
            raise ValidationError(
                _("One of the passages is disabled. Enable it first, or leave it out.")
            )
        sources = [snapshot(chunk) for chunk in chunks]
        made = _merged(sources)
        made |= check(chunks[0], made["text"], made["question"], made["questions"])
        return _apply(Kind.MERGE, chunks, [made], user)[0]


def set_enabled(chunks: QuerySet[Chunk], enabled: bool, user: User | None) -> int:
    """Let passages answer, or answer no more; how many changed."""
    with transaction.atomic():
        chunks = chunks.filter(enabled=not enabled).order_by()
        documents = indexing.lock(list(chunks.values_list("document", flat=True).distinct()))
        ids: dict[int, list[int]] = defaultdict(list)
        # Base by base: each is held from its first document on.
        held = chunks.filter(document__in=documents).order_by("knowledge_base", "pk")
        for pk, document_id in held.values_list("pk", "document"):
            ids[document_id].append(pk)
        for document_id, switched in ids.items():
            _switch(documents[document_id], switched, enabled, user)
    return sum(map(len, ids.values()))


def undo(edit_id: int, user: User | None) -> ChunkEdit:
    """Make a change undone, as long as no later one touched the same passages."""
    with transaction.atomic():
        change = _locked(edit_id)
        if change.undone_at or change.kind == Kind.LOST:
            raise Conflict(_("This change has been undone already."))
        _latest(change)
        _turn(change, change.after, change.before)
        change.undone_at, change.undone_by = timezone.now(), user
        change.save(update_fields=["undone_at", "undone_by"])
    return change


def redo(edit_id: int, user: User | None) -> ChunkEdit:
    """Do a change again that was undone, as long as nothing else was done since."""
    with transaction.atomic():
        change = _locked(edit_id)
        if not change.undone_at or change.kind == Kind.LOST:
            raise Conflict(_("This change is in effect."))
        _latest(change)
        _turn(change, change.before, change.after)
        change.undone_at, change.undone_by = None, None
        change.save(update_fields=["undone_at", "undone_by"])
    return change


# --- What is asked of the history ---------------------------------------------------
def history(document: Document, chunk_id: int | None = None) -> QuerySet[ChunkEdit]:
    """Changes to the passages of a document, or to one of them, newest first."""
    edits = document.edits.exclude(kind=Kind.LOST).select_related("user", "undone_by")
    if chunk_id is None:
        return edits
    held = [{"id": chunk_id}]
    return edits.filter(Q(before__contains=held) | Q(after__contains=held))


def open_edits(document: Document) -> set[int]:
    """Ids of the changes that can be undone, or done again, now: no later one that is in
    effect touched their passages."""
    edits = document.edits.filter(revision=document.current_id).exclude(kind=Kind.LOST)
    rows = _with_ids(edits).values_list("pk", "undone_at", "before_ids", "after_ids")
    rows = [(pk, undone, set(before), set(after)) for pk, undone, before, after in rows]
    involved = set().union(*(before | after for _, _, before, after in rows))
    alive = set(Chunk.objects.filter(pk__in=involved).values_list("pk", flat=True))
    touched: set[int] = set()
    found = set()
    for pk, undone, before, after in rows:  # newest first
        if touched.isdisjoint(before | after) and alive >= (before if undone else after):
            found.add(pk)
        if not undone:
            touched |= before | after
    return found


def lost(document: Document) -> QuerySet[ChunkEdit]:
    """What curators made of passages that the answering revision has not."""
    return document.edits.filter(
        kind=Kind.LOST, revision=document.current_id, undone_at=None
    ).select_related("user")


def dismiss(edit_id: int, user: User | None) -> None:
    """Take a lost change off the list: it was applied by hand, or is not wanted."""
    edits = ChunkEdit.objects.filter(pk=edit_id, kind=Kind.LOST, undone_at=None)
    edits.update(undone_at=timezone.now(), undone_by=user)


def likely(change: ChunkEdit) -> Chunk | None:
    """The passage of the answering revision that a lost change most likely belongs to."""
    original = change.before[0]
    words = _pairs(original["question"] + original["text"])
    chunks = Chunk.objects.filter(revision=change.revision_id)
    near = chunks.filter(heading_path=original["heading_path"])[:SEEN]
    rows = list(near) or list(chunks.order_by("position")[:SEEN])
    return max(rows, key=lambda row: len(words & _pairs(row.question + row.text)), default=None)


# --- Checking -----------------------------------------------------------------------
def check(
    chunk: Chunk,
    text: str,
    question: str = "",
    questions: Sequence[str] | None = None,
    heading_path: Sequence[str] | None = None,
) -> Snapshot:
    """What an edit may put into a passage, tidied; ValidationError by field."""
    problems: dict[str, str] = {}
    text, question = _tidy(text).strip("\n"), _tidy(question).strip()
    limit = max(LIMIT, len(chunk.text))  # what the parser left longer may stay so
    if not text.strip():
        problems["text"] = _("A passage must have a text. Disable it if it shall not answer.")
    elif len(text) > limit:
        problems["text"] = _(
            "At most %(limit)d characters can be found as one passage; these are %(n)d. Split it."
        ) % {"limit": limit, "n": len(text)}
    if chunk.kind == Chunk.Kind.QA and not question:
        problems["question"] = _("An answer must have its question.")
    elif len(question) > QUESTION:
        problems["question"] = _("At most %(limit)d characters.") % {"limit": QUESTION}
    new: Snapshot = {"text": text, "question": question}
    if questions is not None:
        new["questions"] = _several(questions, problems)
    if heading_path is not None:
        new["heading_path"] = [part for part in map(_line, heading_path) if part]
        if any(len(part) > HEADING for part in new["heading_path"]):
            problems["heading_path"] = _("At most %(limit)d characters.") % {"limit": HEADING}
    if problems:
        raise ValidationError(problems)
    return new


def _several(questions: Sequence[str], problems: dict[str, str]) -> list[str]:
    lines = list(dict.fromkeys(filter(None, map(_line, questions))))
    if len(lines) > QUESTIONS:
        problems["questions"] = _("At most %(limit)d other questions.") % {"limit": QUESTIONS}
    elif sum(map(len, lines)) > LIMIT:
        problems["questions"] = _("At most %(limit)d characters together.") % {"limit": LIMIT}
    return lines


def _tidy(text: str) -> str:
    return text.replace("\x00", "").replace("\r\n", "\n").encode("utf-8", "replace").decode()


def _line(text: str) -> str:
    return " ".join(_tidy(text).split())


def _pairs(text: str) -> set[str]:
    return {text[at : at + 2] for at in range(len(text) - 1)}


# --- Tables and neighbours ------------------------------------------------------------
def _headed(texts: list[str]) -> list[str]:
    """Each part that starts among the rows of the table before it, under that table's header."""
    headed: list[str] = []
    for text in texts:
        header = _header(headed[-1]) if headed and _in_table(headed[-1]) else ""
        cut = header and text.startswith("|") and not _TABLE.match(text)
        headed.append(f"{header}\n{text}" if cut else text)
    return headed


def _header(text: str) -> str:
    """Of the last table in a text."""
    return next(reversed(_TABLE.findall(text)), "")


def _in_table(text: str) -> bool:
    return text.rpartition("\n")[2].startswith("|")


def _merged(sources: Sequence[Snapshot]) -> Snapshot:
    """One passage of several: headings that they do not share stand in its text."""
    first = sources[0]
    path = _shared([source["heading_path"] for source in sources])
    text, trail = "", path
    for source in sources:
        own = source["heading_path"]
        fresh = own if own != trail else []
        headings = [
            f"{'#' * min(level, 6)} {name}"
            for level, name in enumerate(fresh, 1)
            if level > len(path) and trail[:level] != own[:level]
        ]
        text, trail = _joint(text, "\n\n".join([*headings, source["text"]])), own
    asked = [source["question"] for source in sources if source["question"]]
    others = [*dict.fromkeys(asked[1:]), *(q for source in sources for q in source["questions"])]
    regions = joined(region for source in sources for region in source["regions"])
    pages = [source[name] for source in sources for name in ("page", "page_end") if source[name]]
    kinds = {source["kind"] for source in sources}
    return {
        **first,
        "kind": "qa" if asked else kinds.pop() if len(kinds) == 1 else "text",
        "heading_path": path,
        "text": text,
        "question": asked[0] if asked else "",
        "questions": [one for one in dict.fromkeys(others) if not asked or one != asked[0]],
        "edited": True,
        "page": min(pages, default=None),
        "page_end": max(pages, default=None),
        "locator": locator(sources),
        "regions": regions,
        "attachments": list(dict.fromkeys(pk for one in sources for pk in one["attachments"])),
    }


def _joint(text: str, more: str) -> str:
    """Two texts as one; a table that goes on does so without its header."""
    if not text:
        return more
    header = _header(text)
    if header and _in_table(text) and more.startswith(header + "\n"):
        return text + more[len(header) :]
    return f"{text}\n\n{more}"


def _shared(paths: Sequence[list[str]]) -> list[str]:
    shared = []
    for names in zip(*paths, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return shared


# --- Steps of a change ----------------------------------------------------------------
def _held(ids: Sequence[int], seen: Sequence[str | None] = ()) -> list[Chunk]:
    """Passages in reading order, their document held; Conflict if they are not as shown."""
    chunks = Chunk.objects.filter(pk__in=ids)
    indexing.lock(list(chunks.order_by().values_list("document", flat=True).distinct()))
    rows = {row.pk: row for row in chunks.select_related("document")}
    for pk, shown in zip(ids, seen or [None] * len(ids), strict=True):
        if pk not in rows or (shown and shown != version(rows[pk])):
            raise Conflict(what_happened(pk))
        if rows[pk].document.origin == Document.Origin.FAQ:
            raise Conflict(_("This passage is a FAQ entry. Change the entry."))
    return sorted(rows.values(), key=lambda row: (row.document_id, row.position))


def what_happened(chunk_id: int) -> str:
    """A sentence for the one who came second."""
    held = [{"id": chunk_id}]
    touching = ChunkEdit.objects.filter(Q(before__contains=held) | Q(after__contains=held))
    last = touching.select_related("user", "undone_by").order_by("pk").last()
    if not last:
        return _("The document has been replaced meanwhile; this passage is gone.")
    if last.undone_at:
        said = _("%(user)s undid a change of this passage at %(time)s.")
        who, when = last.undone_by, last.undone_at
    elif Chunk.objects.filter(pk=chunk_id).exists():
        said = _("%(user)s changed this passage at %(time)s.")
        who, when = last.user, last.created_at
    else:
        said = _("%(user)s joined this passage with another one, or it was replaced, at %(time)s.")
        who, when = last.user, last.created_at
    time = date_format(timezone.localtime(when), "H:i:s")
    return said % {"user": who or _("Somebody"), "time": time}


def _apply(
    kind: str, chunks: Sequence[Chunk], after: Sequence[Snapshot], user: User | None
) -> list[Chunk]:
    before = [snapshot(chunk) for chunk in chunks]
    rows = _rewrite(chunks, after)
    ChunkEdit.objects.create(
        document_id=rows[0].document_id,
        revision_id=rows[0].revision_id,
        kind=kind,
        before=before,
        after=[snapshot(row) for row in rows],
        user=user,
    )
    return rows


def _rewrite(chunks: Sequence[Chunk], after: Sequence[Snapshot]) -> list[Chunk]:
    base_id = chunks[0].knowledge_base_id
    gone = indexing.withdraw(base_id, [chunk.pk for chunk in chunks])
    rows = write(chunks, after)
    indexing.enter(base_id, gone, rows)
    return rows


def _switch(document: Document, ids: list[int], enabled: bool, user: User | None) -> None:
    Chunk.objects.filter(pk__in=ids).update(enabled=enabled)
    KnowledgeBase.objects.filter(pk=document.knowledge_base_id).raise_version()
    ChunkEdit.objects.create(
        document=document,
        revision_id=document.current_id or 0,
        kind=Kind.ENABLE if enabled else Kind.DISABLE,
        before=[{"id": pk, "enabled": not enabled} for pk in ids],
        after=[{"id": pk, "enabled": enabled} for pk in ids],
        user=user,
    )


def _locked(edit_id: int) -> ChunkEdit:
    """A change, its document held."""
    change = ChunkEdit.objects.get(pk=edit_id)
    indexing.lock([change.document_id])
    change.refresh_from_db()
    return change


def _latest(change: ChunkEdit) -> None:
    ids = {taken["id"] for taken in change.before + change.after}
    later = ChunkEdit.objects.filter(
        document=change.document_id, pk__gt=change.pk, undone_at=None
    ).exclude(kind=Kind.LOST)
    for held in _with_ids(later).values_list("before_ids", "after_ids"):
        if not ids.isdisjoint(chain(*held)):
            raise Conflict(_("A later change touched these passages. Undo that one first."))


def _with_ids(edits: QuerySet[ChunkEdit]) -> Any:
    """Edits with the ids of their passages, without loading these."""
    return edits.defer("before", "after").annotate(
        before_ids=_ids_of("before"), after_ids=_ids_of("after")
    )


def _ids_of(name: str) -> Func:
    path = "jsonb_path_query_array(%(expressions)s, '$[*].id')"
    return Func(F(name), template=path, output_field=JSONField())


def _turn(change: ChunkEdit, now: list[Snapshot], then: list[Snapshot]) -> None:
    """Let passages that are as in `now` become `then`; Conflict when they are not."""
    rows = {row.pk: row for row in Chunk.objects.filter(pk__in=[taken["id"] for taken in now])}
    if any(taken["id"] not in rows or not same(rows[taken["id"]], taken) for taken in now):
        raise Conflict(_("These passages are not as this change left them."))
    if change.kind in FLAGS:
        enabled = then[0]["enabled"]
        Chunk.objects.filter(pk__in=rows).update(enabled=enabled)
        base_id = next(iter(rows.values())).knowledge_base_id
        KnowledgeBase.objects.filter(pk=base_id).raise_version()
    else:
        _rewrite(sorted(rows.values(), key=lambda row: row.position), then)
