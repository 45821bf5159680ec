"""Putting documents into the store and taking them out: chunks, pictures, words and vectors."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.utils import timezone

from knowledge import carrying, chunking, embedding, lexical, pacing, postings
from knowledge.cleaning import clean
from knowledge.embedders import Meaning
from knowledge.models import (
    Attachment,
    Chunk,
    ChunkTerms,
    Document,
    Embedding,
    Entry,
    KnowledgeBase,
    Lexicon,
    Revision,
    RevisionPart,
    Status,
)
from knowledge.parsing.document import Asset, ParsedDocument
from knowledge.snapshots import digest

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}
REINDEX_AT_ONCE = 5_000  # chunks; larger bases are renewed by the nightly recount …
FAR = 0.3  # … and others while their mean lengths are off by less: who asks hardly notices
BATCH = 500


@dataclass
class Prepared:
    """A parsed document with all that can be reckoned before its turn in the database."""

    parsed: dict[str, Any]
    assets: list[Asset]
    drafts: list[chunking.ChunkDraft]
    texts: list[str]  # what is indexed of each draft
    bags: list[lexical.Bag]


@dataclass
class Incoming(Prepared):
    """A revision on its way in."""

    revision: Revision
    attachments: list[Attachment]  # as in `assets`
    meanings: dict[int, list[Meaning]]  # of each draft, by the id of the embedding index


def put(revision: Revision, parsed: ParsedDocument) -> None:
    """Make `revision` the one that answers for its document, in one step; see `put_all`."""
    document = revision.document
    faq = document.origin == Document.Origin.FAQ
    entry = Entry.objects.filter(document=document).first() if faq else None
    put_all([(revision, prepare(document.title, parsed, entry))])


def prepare(title: str, parsed: ParsedDocument, entry: Entry | None = None) -> Prepared:
    """Chunks and their terms. Needs no database, so it may run in another process.

    `entry` is the FAQ entry that was parsed, if it was one.
    """
    drafts = [_clean_draft(draft) for draft in _drafts(parsed, entry)]
    texts = [lexical.passage_text(title, draft) for draft in drafts]
    bags = [lexical.bag(text) for text in texts]
    return Prepared(clean(parsed.to_json()), parsed.assets, drafts, texts, bags)


def _drafts(parsed: ParsedDocument, entry: Entry | None) -> list[chunking.ChunkDraft]:
    if entry is None:
        return chunking.chunk(parsed)
    path = [entry.category] if entry.category else []
    return chunking.answer(parsed, entry.question, entry.answer, entry.variants, path)


def put_all(items: Sequence[tuple[Revision, Prepared]]) -> None:
    """Swap revisions of different documents of one knowledge base in, in one transaction.

    Until it commits the old ones answer, and `citing.hold` may hold them: they are taken out
    last, when no answer that cites them is being written. A revision older than the one that
    answers is marked ready and otherwise left alone; one whose document is gone is skipped.
    Doing it twice changes nothing.
    """
    base_id = items[0][0].document.knowledge_base_id
    incoming = _incoming(items)
    made = embedding.meanings_for([text for one in incoming for text in one.texts], base_id)
    _deal(made, incoming)
    with transaction.atomic():
        held = _lock([one.revision.document_id for one in incoming], citable=True)
        wanted = _still_wanted(incoming, held)
        ids = [one.revision.document_id for one in wanted]
        old = _chunks_of(ids)
        curated = carrying.works(ids) if old else {}
        pacing.give_way()
        rows = _insert(wanted)
        pacing.give_way()
        _finish((one.revision, one.parsed) for one in incoming)
        pacing.give_way()  # the last time: from here on answers may wait for us
        lexical.lock(base_id)
        gone = lexical.Gone([], [])
        if old:
            _lock(ids)
            gone = _erase(old)
        lexicon = lexical.change(base_id, gone, _carry_over(curated, wanted, rows))
        _answer([one.revision for one in wanted])
        embedding.catch_up()
        _changed(base_id)
    if lexicon.chunks <= REINDEX_AT_ONCE and lexical.off(lexicon) > FAR:
        renew(lexicon.knowledge_base)


def put_parts(revision: Revision, parts: Iterable[ParsedDocument]) -> None:
    """As `put`, of a table that is too long to be held as a whole, a part of its rows at a time.

    Of what was parsed only the first part is kept: its pages are shown from the file. Vectors
    are left to `embedding.catch_up`.
    """
    document_id, base_id = revision.document_id, revision.document.knowledge_base_id
    first: ParsedDocument | None = None
    with transaction.atomic():
        held = _lock([document_id], citable=True)
        if not held or (held[document_id].current_id or 0) > revision.pk:
            _mark_ready([revision.pk])
            return
        old, curated, position = _chunks_of([document_id]), carrying.works([document_id]), 0
        for parsed in parts:
            first = first or parsed
            drafts = [_clean_draft(draft) for draft in chunking.chunk(parsed)]
            _as_one_table(parsed, drafts)
            Chunk.objects.bulk_copy(
                [_chunk(revision, position + n, draft) for n, draft in enumerate(drafts)]
            )
            position += len(drafts)
            pacing.give_way()
        carrying.carry_over(curated, [revision])
        lexical.add(base_id, rows_of(Chunk.objects.filter(revision=revision)))
        _lock([document_id])
        lexicon = lexical.change(base_id, _erase(old), [])
        _finish([(revision, clean((first or ParsedDocument()).to_json()))])
        _answer([revision])
        embedding.catch_up()
        _changed(base_id)
    if lexicon.chunks <= REINDEX_AT_ONCE and lexical.off(lexicon) > FAR:
        renew(lexicon.knowledge_base)


def _as_one_table(parsed: ParsedDocument, drafts: Sequence[chunking.ChunkDraft]) -> None:
    """Count the rows of its regions from the beginning of the whole table."""
    before = (parsed.blocks[0].first_row or 1) - 1
    for draft in drafts:
        for region in draft.regions:
            region["rows"] = [row + before for row in region["rows"] or []] or None


def rows_of(chunks: QuerySet[Chunk]) -> Iterator[list[lexical.Row]]:
    """Their words, as many at once as fit easily into memory."""
    for some in _batches(list(chunks.order_by("pk").values_list("pk", flat=True))):
        rows = Chunk.objects.filter(pk__in=some).select_related("document")
        yield [_row(chunk) for chunk in rows]
        pacing.give_way()


def remove(document: Document) -> None:
    """Take a document's chunks out of every index; the document and its files stay."""
    remove_all([document])


def remove_all(documents: Sequence[Document]) -> None:
    """As `remove`, of documents of one knowledge base together."""
    with transaction.atomic():
        ids = list(_lock([document.pk for document in documents]))
        if not ids:
            return
        base_id = documents[0].knowledge_base_id
        lexical.lock(base_id)
        gone = _erase(_chunks_of(ids))
        Document.objects.filter(pk__in=ids).update(current=None)
        lexical.change(base_id, gone, [])
        _changed(base_id)


def update_chunks(chunks: QuerySet[Chunk]) -> None:
    """Index chunks of one document anew, after their text or its title was edited."""
    with transaction.atomic():
        _lock(list(chunks.order_by().values_list("document", flat=True).distinct()))
        for ids in _batches(list(chunks.values_list("pk", flat=True))):
            rows = list(Chunk.objects.filter(pk__in=ids).select_related("document"))
            base_id = rows[0].knowledge_base_id
            enter(base_id, withdraw(base_id, ids), rows)


def rename(document_id: int, title: str) -> None:
    """Give a document a title, whose words count for every passage."""
    with transaction.atomic():
        _lock([document_id])
        Document.objects.filter(pk=document_id).update(title=title)
        update_chunks(Chunk.objects.filter(document=document_id))


def lock(documents: Sequence[int]) -> dict[int, Document]:
    """Documents by id, held until the transaction ends: those that change them take turns."""
    return _lock(documents)


def withdraw(base_id: int, chunk_ids: Sequence[int]) -> lexical.Gone:
    """Take chunks of locked documents out of the indexes, to be written or deleted; to be
    followed by `enter` in the same transaction."""
    lexical.lock(base_id)
    gone = lexical.erase(chunk_ids)
    Embedding.objects.filter(chunk__in=chunk_ids).delete()
    return gone


def enter(base_id: int, gone: lexical.Gone, chunks: Sequence[Chunk]) -> None:
    """Put chunks into the indexes in place of those that were withdrawn."""
    lexical.change(base_id, gone, [_row(chunk) for chunk in chunks])
    embedding.catch_up()
    _changed(base_id)


def reindex(base: KnowledgeBase) -> None:
    """Reckon the terms of all chunks of a base anew, with its present mean lengths.

    Wanted when the mean lengths have moved (`lexical.stale`) or the way to cut words has changed.
    """
    with transaction.atomic():
        lexicon = lexical.lock(base.pk)
        lexicon.means = lexical.true_means(lexicon)
        lexicon.save()
        latest = postings.latest_pending()
        chunks = Chunk.objects.filter(knowledge_base=base).select_related("document")
        for ids in _batches(list(chunks.values_list("pk", flat=True))):
            gone = lexical.erase(ids)
            lexical.change(base.pk, gone, [_row(chunk) for chunk in chunks.filter(pk__in=ids)])
        postings.rewritten(base.pk, latest)
        _changed(base.pk)


def renew(base: KnowledgeBase) -> None:
    """Reindex a base if its chunks have become so much longer or shorter that it matters."""
    lexicon = Lexicon.objects.filter(pk=base.pk).first()
    if lexicon and lexical.stale(lexicon):
        reindex(base)


def recount(base: KnowledgeBase) -> int:
    """True up a base's counts and posting lists, and its weights if they are stale; how many
    counts were wrong."""
    with transaction.atomic():
        wrong = lexical.recount(base.pk)
    renew(base)
    postings.tidy(base.pk)
    return wrong


def drift() -> int:
    """By how many chunks the index and what is counted of it are off, over all bases."""
    missing = Chunk.objects.filter(terms=None).count()
    counted = dict(Lexicon.objects.values_list("pk", "chunks"))
    there = dict(
        ChunkTerms.objects.order_by().values_list("knowledge_base").annotate(number=Count("pk"))
    )
    unlisted = sum(map(postings.missing, there))
    return (
        missing
        + unlisted
        + sum(
            abs(counted.get(base, 0) - there.get(base, 0)) for base in counted.keys() | there.keys()
        )
    )


# --- steps of a swap --------------------------------------------------------------


def _lock(documents: Sequence[int], *, citable: bool = False) -> dict[int, Document]:
    """Nobody else changes them until the transaction ends, nor cites them unless `citable`."""
    rows = Document.objects.select_for_update(of=("self",), no_key=citable)
    return {document.pk: document for document in rows.filter(pk__in=documents).order_by("pk")}


def _incoming(items: Sequence[tuple[Revision, Prepared]]) -> list[Incoming]:
    attachments = _save_attachments([(revision, one.assets) for revision, one in items])
    return [
        Incoming(**vars(prepared), revision=revision, attachments=rows, meanings={})
        for (revision, prepared), rows in zip(items, attachments, strict=True)
    ]


def _deal(made: dict[int, list[Meaning]], incoming: Sequence[Incoming]) -> None:
    """Give each what was made of its texts in one go with the others'."""
    for index, meanings in made.items():
        rest = iter(meanings)
        for one in incoming:
            one.meanings[index] = [next(rest) for _ in one.texts]


def _still_wanted(incoming: Sequence[Incoming], documents: dict[int, Document]) -> list[Incoming]:
    """Without those whose document is gone or already answers from a newer revision."""
    wanted = []
    for one in incoming:
        document = documents.get(one.revision.document_id)
        if document and (document.current_id or 0) <= one.revision.pk:
            if document.title != one.revision.document.title:  # renamed while it was read
                _retitle(one, document.title)
            wanted.append(one)
    return wanted


def _retitle(one: Incoming, title: str) -> None:
    """Its words are reckoned anew; `embedding.catch_up` makes the vectors."""
    one.texts = [lexical.passage_text(title, draft) for draft in one.drafts]
    one.bags = [lexical.bag(text) for text in one.texts]
    one.meanings = {}


def _chunks_of(documents: Sequence[int]) -> list[int]:
    return list(Chunk.objects.filter(document__in=documents).values_list("pk", flat=True))


def _erase(chunks: Sequence[int]) -> lexical.Gone:
    """Delete chunks; what their words take out of the counts."""
    gone = lexical.erase(chunks)
    for ids in _batches(chunks):  # Django reads the rows that it deletes
        Chunk.objects.filter(pk__in=ids).delete()
    return gone


def _insert(incoming: Sequence[Incoming]) -> list[lexical.Row]:
    """Chunks with their pictures and vectors; their words are left to the caller."""
    chunks = [
        [_chunk(one.revision, position, draft) for position, draft in enumerate(one.drafts)]
        for one in incoming
    ]
    Chunk.objects.bulk_copy(list(chain.from_iterable(chunks)))
    link = Chunk.attachments.through
    link.objects.bulk_create(
        (
            link(chunk_id=chunk.pk, attachment_id=one.attachments[asset].pk)
            for one, made in zip(incoming, chunks, strict=True)
            for chunk, draft in zip(made, one.drafts, strict=True)
            for asset in draft.assets
        ),
        batch_size=BATCH,
    )
    for one, made in zip(incoming, chunks, strict=True):
        if one.meanings:
            embedding.save(one.meanings, made)
    return [
        lexical.Row(chunk.pk, bag)
        for one, made in zip(incoming, chunks, strict=True)
        for chunk, bag in zip(made, one.bags, strict=True)
    ]


def _carry_over(
    curated: dict[int, list[carrying.Work]], incoming: Sequence[Incoming], rows: list[lexical.Row]
) -> list[lexical.Row]:
    """Do again what curators made of the passages; the words of what came of it."""
    carried = carrying.carry_over(curated, [one.revision for one in incoming])
    if not carried.rows:
        return rows
    Embedding.objects.filter(chunk__in=carried.gone).delete()
    return [row for row in rows if row.chunk_id not in carried.gone] + [
        _row(chunk) for chunk in carried.rows
    ]


def _chunk(revision: Revision, position: int, draft: chunking.ChunkDraft) -> Chunk:
    return Chunk(
        knowledge_base_id=revision.document.knowledge_base_id,
        document_id=revision.document_id,
        revision=revision,
        position=position,
        kind=draft.kind,
        heading_path=draft.heading_path,
        question=draft.question,
        text=draft.text,
        questions=draft.questions,
        digest=digest(draft),
        page=draft.page,
        page_end=draft.page_end,
        locator=draft.locator,
        regions=draft.regions,
    )


def _row(chunk: Chunk) -> lexical.Row:
    return lexical.Row(chunk.pk, lexical.bag(lexical.passage_text(chunk.document.title, chunk)))


def _finish(read: Iterable[tuple[Revision, dict[str, Any]]]) -> None:
    parsed = {revision.pk: document for revision, document in read}
    with connection.cursor() as cursor:  # many at once, ten times faster than bulk_update
        cursor.execute(
            "UPDATE knowledge_revision SET parsed = new.parsed,"
            " parser = left(new.parsed->>'parser', 100), pages = (new.parsed->>'pages')::int"
            " FROM jsonb_each(%s::jsonb) AS new (id, parsed)"
            " WHERE knowledge_revision.id = new.id::bigint",
            [json.dumps(parsed)],
        )
    _mark_ready(parsed)


def _mark_ready(revisions: Collection[int]) -> None:
    Revision.objects.filter(pk__in=revisions).update(
        status=Status.READY, stage="", progress=100, error="", finished_at=timezone.now()
    )
    RevisionPart.objects.filter(revision__in=revisions).delete()


def _answer(revisions: Sequence[Revision]) -> None:
    answering = Revision.objects.filter(
        pk__in=[revision.pk for revision in revisions], document=OuterRef("pk")
    )
    Document.objects.filter(pk__in=[revision.document_id for revision in revisions]).update(
        current=Subquery(answering.values("pk")), updated_at=timezone.now()
    )


def _changed(base_id: int) -> None:
    KnowledgeBase.objects.filter(pk=base_id).raise_version()


# --- pictures and tables ----------------------------------------------------------


def _save_attachments(
    items: Sequence[tuple[Revision, Sequence[Asset]]],
) -> list[list[Attachment]]:
    """Of each revision a row an asset, in their order; rows of an earlier attempt are written
    over."""
    showing = [revision.pk for revision, assets in items if assets]
    if not showing:
        return [[] for _ in items]
    there = Attachment.objects.filter(revision__in=showing)
    earlier = {(row.revision_id, row.position): row for row in there}
    saved = []
    for revision, assets in items:
        rows = []
        for position, asset in enumerate(assets):
            row = earlier.get((revision.pk, position)) or Attachment(position=position)
            row.revision = revision
            _fill(row, asset)
            rows.append(row)
        saved.append(rows)
    new = [row for row in chain.from_iterable(saved) if not row.pk]
    Attachment.objects.bulk_create(new, batch_size=BATCH)
    return saved


def _fill(row: Attachment, asset: Asset) -> None:
    """Write an asset into its row, with its file; a row that is new is left to the caller."""
    row.kind, row.number = asset.kind, clean(asset.number[:50])
    row.caption = clean(asset.caption)
    row.page, row.box, row.media_type = asset.page, asset.box, asset.media_type
    row.width, row.height = asset.width, asset.height
    row.html, row.text = clean(asset.html), clean(asset.text)
    digest = hashlib.sha256(asset.data).hexdigest() if asset.data else ""
    if digest != row.digest:
        row.digest, row.description, row.description_state = digest, "", ""
    if asset.data:
        row.file.delete(save=False)
        name = f"{row.position}{SUFFIXES.get(asset.media_type, '')}"
        row.file.save(name, ContentFile(asset.data), save=False)
    if row.pk:
        row.save()


def _clean_draft(draft: chunking.ChunkDraft) -> chunking.ChunkDraft:
    draft.heading_path = clean(draft.heading_path)
    draft.question, draft.text = clean(draft.question), clean(draft.text)
    draft.questions, draft.locator = clean(draft.questions), clean(draft.locator)
    return draft


def _batches(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
