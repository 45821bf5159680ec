"""FAQ entries: the only way they are written, and how a published one comes to answer.

A published entry is one document of its base. What is changed on the entry is put into the
index in the same transaction, so that no entry says one thing and answers another.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import transaction
from django.utils import timezone

from knowledge import confirmed, indexing, uploading
from knowledge.models import Document, Entry, Import, KnowledgeBase, Revision
from knowledge.parsing import markdown
from opsdesk import locking

QUESTION, ANSWER, VARIANTS = 500, 20_000, 50  # characters, characters, number
SCOPE = ("product", "version", "environment", "tags", "expires_on")
CONTENT = ("question", "variants", "answer", "category", *SCOPE)
BATCH = 500

_END = re.compile(r"[\s?？!！.。,，;；:：~～…]+\Z")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
_LINES = re.compile(r"\r\n?")


def draft(
    base: KnowledgeBase,
    question: str,
    answer: str,
    *,
    origin: str,
    reference: str = "",
    context: Sequence[dict[str, str]] = (),
    user: User | None = None,
    imported: Import | None = None,
) -> Entry:
    """Put a draft before a curator; an entry of the base that asks the same is returned instead.

    `context` is what it was drawn from, masked: [{"who": …, "at": …, "text": …}].
    """
    question = line(question)[:QUESTION]
    with transaction.atomic():
        lock(base)
        if known := find(base, question):
            return known
        return Entry.objects.create(
            knowledge_base=base,
            question=question,
            answer=prose(answer)[:ANSWER],
            origin=origin,
            reference=reference[:500],
            context=list(context),
            created_by=user,
            imported=imported,
        )


def find(base: KnowledgeBase, question: str) -> Entry | None:
    """The entry of a base that asks `question`, but for case and punctuation."""
    pk = known(base).get(normal(question))
    return Entry.objects.get(pk=pk) if pk else None


def known(base: KnowledgeBase) -> dict[str, int]:
    """The oldest entry of a base by each question, as `normal` has it."""
    rows = base.entries.order_by("-pk").values_list("question", "pk")
    return {normal(question): pk for question, pk in rows.iterator()}


def publish(entries: Iterable[Entry], user: User | None = None) -> int:
    """Let entries answer that do not yet; how many. Those without an answer are left alone."""
    published = 0
    for batch in _batches(entries):
        with ExitStack() as undo, transaction.atomic():
            ready = [
                entry
                for entry in _locked(batch).exclude(state=Entry.State.PUBLISHED)
                if entry.answer.strip()
            ]
            _decide(ready, Entry.State.PUBLISHED, user)
            _index(ready, undo)
            undo.pop_all()
        published += len(ready)
    return published


def save(entries: Sequence[Entry], user: User | None = None) -> None:
    """Store new and edited entries of one base; those published answer with what they now say."""
    for entry in entries:
        entry.updated_at = timezone.now()
    with ExitStack() as undo, transaction.atomic():
        old = [entry for entry in entries if entry.pk]
        Entry.objects.bulk_create([entry for entry in entries if not entry.pk], BATCH)
        Entry.objects.bulk_update(old, ["key", "state", "imported", "updated_at", *CONTENT], BATCH)
        published = [entry for entry in entries if entry.state == Entry.State.PUBLISHED]
        _decide([entry for entry in published if not entry.decided_at], Entry.State.PUBLISHED, user)
        for start in range(0, len(published), BATCH):
            _index(published[start : start + BATCH], undo)
        undo.pop_all()


def dismiss(entries: Iterable[Entry], user: User | None = None) -> int:
    """Set entries aside, so that they neither wait nor answer; how many."""
    return _withdraw(entries, Entry.State.DISMISSED, user)


def unpublish(entries: Iterable[Entry], user: User | None = None) -> int:
    """Make entries drafts again, whether published or dismissed; how many."""
    return _withdraw(entries, Entry.State.DRAFT, user)


def decide(decision: str, ids: Sequence[int], user_id: int | None) -> int:
    """Task: publish, dismiss or unpublish many entries; how many changed."""
    entries = Entry.objects.filter(pk__in=ids).order_by("pk")
    user = User.objects.filter(pk=user_id or 0).first()
    return DECISIONS[decision](entries, user)


def delete(entries: Iterable[Entry]) -> None:
    for batch in _batches(entries):
        with transaction.atomic():
            _withdraw(batch, Entry.State.DISMISSED, None)
            Entry.objects.filter(pk__in=[entry.pk for entry in batch]).delete()


DECISIONS = {"publish": publish, "dismiss": dismiss, "unpublish": unpublish}


def lock(base: KnowledgeBase) -> None:
    """One at a time decides, until its transaction ends, which entries a base already has."""
    locking.wait(f"entries:{base.pk}")


# --- what an entry says -------------------------------------------------------------


def normal(question: str) -> str:
    """Two questions with the same are one: width, case, spaces and closing marks do not count."""
    folded = unicodedata.normalize("NFKC", question).casefold()
    return _END.sub("", "".join(folded.split())) or folded.strip()


def line(text: str) -> str:
    return " ".join(prose(text).split())


def prose(text: str) -> str:
    """As it is stored."""
    return printable(text).strip()


def printable(text: str) -> str:
    """Lines end with a line feed, and nothing stands in it that a sheet or database refuses."""
    return _UNPRINTABLE.sub("", _LINES.sub("\n", text))


def original(entry: Entry) -> str:
    """The entry as the Markdown file of its document."""
    facts = {"category": entry.category, "questions": entry.variants}
    front = "".join(
        f"{name}: {json.dumps(value, ensure_ascii=False)}\n"
        for name, value in facts.items()
        if value
    )
    head = f"---\n{front}---\n\n" if front else ""
    return f"{head}# {line(entry.question)}\n\n{entry.answer}\n"


# --- steps --------------------------------------------------------------------------


def _locked(batch: Sequence[Entry]) -> Any:
    ids = [entry.pk for entry in batch]
    return Entry.objects.select_for_update(of=("self",)).filter(pk__in=ids).order_by("pk")


def _batches(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    """Of one base each, as the index takes them."""
    by_base: dict[int, list[Entry]] = {}
    for entry in entries:
        by_base.setdefault(entry.knowledge_base_id, []).append(entry)
    for held in by_base.values():
        for start in range(0, len(held), BATCH):
            yield held[start : start + BATCH]


def _decide(entries: Sequence[Entry], state: str, user: User | None) -> None:
    for entry in entries:
        entry.state, entry.decided_by, entry.decided_at = state, user, timezone.now()
    Entry.objects.filter(pk__in=[entry.pk for entry in entries]).update(
        state=state, decided_by=user, decided_at=timezone.now(), updated_at=timezone.now()
    )


def _withdraw(entries: Iterable[Entry], state: str, user: User | None) -> int:
    changed = 0
    for batch in _batches(entries):
        with transaction.atomic():
            rows = list(_locked(batch).exclude(state=state))
            documents = Document.objects.filter(entry__in=rows)
            uploading.delete(documents.select_related("knowledge_base"))
            _decide(rows, state, user)
        changed += len(rows)
    return changed


def _index(entries: Sequence[Entry], undo: ExitStack) -> None:
    """Give each entry of one base its document as it now reads; files are taken back by `undo`."""
    if not entries:
        return
    documents = _documents(entries)
    items = []
    for entry in entries:
        text = original(entry)
        revision = _revision(documents[entry.pk], text)
        undo.callback(revision.file.delete, save=False)
        items.append((revision, entry, text))
    Revision.objects.bulk_create([revision for revision, _, _ in items])
    for revision, _, _ in items:
        revision.document.latest = revision
    Document.objects.bulk_update(documents.values(), ["latest"])
    indexing.put_all(
        [
            (revision, indexing.prepare(revision.document.title, markdown.parse(text), entry))
            for revision, entry, text in items
        ]
    )
    confirmed.keep_entries(entries)


def _documents(entries: Sequence[Entry]) -> dict[int, Document]:
    """The document of each entry by the entry's id, made or brought up to date."""
    ids = [entry.document_id for entry in entries if entry.document_id]
    held = Document.objects.select_for_update(of=("self",), no_key=True).order_by("pk")
    known = held.in_bulk(ids)  # a weak lock: answers that cite them go on
    documents = {}
    for entry in entries:
        document = known.get(entry.document_id or 0) or Document(
            knowledge_base_id=entry.knowledge_base_id,
            external_id=f"faq:{entry.pk}",
            origin=Document.Origin.FAQ,
            created_by=entry.created_by,
        )
        document.title = line(entry.question)
        document.approved_by, document.approved_at = entry.decided_by, entry.decided_at
        for field in SCOPE:
            setattr(document, field, getattr(entry, field))
        documents[entry.pk] = document
    Document.objects.bulk_create([document for document in documents.values() if not document.pk])
    fields = ["title", "approved_by", "approved_at", *SCOPE]
    Document.objects.bulk_update(known.values(), fields)
    for entry in entries:
        entry.document = documents[entry.pk]
    Entry.objects.bulk_update(entries, ["document"])
    return documents


def _revision(document: Document, text: str) -> Revision:
    content = text.encode()
    revision = Revision(
        document=document,
        name=f"{uploading.clean_name(document.title)[:190]}.md",
        media_type="text/markdown",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    revision.file.save(revision.name, ContentFile(content), save=False)
    return revision
