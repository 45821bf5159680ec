"""The passages that might answer the question of an item: its pool.

What the answerer was shown, the first of each way of finding and of other settings, and what a
rater looks up. Of these raters say which are relevant; that gives recall its denominator. A
passage is known again by its text, for chunks change their numbers when a document is read anew.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from chat import turns
from chat.models import Turn
from evaluation.models import Item, PooledPassage
from knowledge import addressed, retrieval
from knowledge.models import Chunk, KnowledgeBase
from knowledge.scope import Scope

DEPTH = 10  # passages that each way of finding puts into the pool
FOUND = 10  # that a search of a rater shows
STAGES = ("words", "dense", "sparse", "learned", "fused", "ranked")
SHOWN, CITED, REWORDED, SEARCH = "shown", "cited", "reworded", "search"


@dataclass
class Pooled:
    """A passage on its way into the pool."""

    chunk_id: int | None
    methods: list[str] = field(default_factory=list)
    rank: int | None = None
    title: str = ""
    locator: str = ""
    # Where the chunk is gone and a citation keeps it.
    document_id: int | None = None
    text: str = ""


def pool_all(sample_id: int) -> None:
    """Find the pools of a sample; a task, safe to be delivered twice."""
    waiting = Item.objects.filter(sample=sample_id, pooled_at=None, turn__isnull=False)
    for pk in waiting.order_by("position").values_list("pk", flat=True):
        pool(Item.objects.get(pk=pk))


def pool(item: Item) -> None:
    """Fill the pool of an item that has none yet."""
    if item.pooled_at or item.turn_id is None:
        return
    turn = Turn.objects.select_related("message", "reply", "conversation__user").get(
        pk=item.turn_id
    )
    found = list(_merged([*_shown(turn), *_found(turn)]))
    rows = list(_rows(item, found))
    with transaction.atomic():
        held = Item.objects.select_for_update().get(pk=item.pk)
        if held.pooled_at is None:
            PooledPassage.objects.bulk_create(rows, ignore_conflicts=True)
            held.bases = _bases(held, rows)
            held.pooled_at = timezone.now()
            held.save(update_fields=["bases", "pooled_at"])
    item.bases, item.pooled_at = held.bases, held.pooled_at


def _bases(item: Item, rows: Sequence[PooledPassage]) -> list[int]:
    chunks = Chunk.objects.filter(pk__in=[row.chunk_id for row in rows if row.chunk_id])
    return sorted({*item.bases, *chunks.values_list("knowledge_base", flat=True)})


def _shown(turn: Turn) -> Iterator[Pooled]:
    """What the answerer was shown, then what else it cites."""
    citations = list(turn.reply.citations.all()) if turn.reply else []
    by_name = {(one.title, one.locator): one for one in citations}
    for rank, one in enumerate(turn.trace.get("passages", []), 1):
        title, locator = one.get("title", ""), one.get("locator", "")
        kept = by_name.get((title, locator))
        said = (kept.document_id, kept.quote) if kept else (None, "")
        yield Pooled(one.get("chunk_id"), [SHOWN], rank, title, locator, *said)
    for one in citations:
        yield Pooled(
            one.chunk_id, [CITED], None, one.title, one.locator, one.document_id, one.quote
        )


def _found(turn: Turn) -> Iterator[Pooled]:
    """The first by each way of finding; then in other words and without the question's scope."""
    query = turn.trace.get("query") or turn.message.text
    bases = turns.bases(turn.conversation)
    scope = Scope.of(turn.trace.get("scope", {}))
    found = retrieval.search(query, bases, settings.RERANK_PASSAGES, scope)
    for stage in STAGES:
        for chunk in found.order.get(stage, [])[:DEPTH]:
            yield Pooled(chunk, [stage])
    for again, within in ((turn.message.text, scope), (query, Scope())):
        if (again, within) != (query, scope):
            other = retrieval.search(again, bases, DEPTH, within, mend=False)
            for passage in other.passages:
                yield Pooled(passage.chunk_id, [REWORDED])


def _merged(found: Iterable[Pooled]) -> Iterator[Pooled]:
    """Each chunk once, with all ways by which it came, in the order of the first."""
    merged: dict[Any, Pooled] = {}
    for one in found:
        there = merged.setdefault(one.chunk_id or (one.title, one.locator), one)
        if there is not one:
            there.methods += [way for way in one.methods if way not in there.methods]
            there.rank = there.rank or one.rank
    yield from merged.values()


def _rows(item: Item, found: Sequence[Pooled]) -> Iterator[PooledPassage]:
    """As rows, each text once: a passage that is in the base twice is one to read."""
    chunks = Chunk.objects.select_related("document").in_bulk(
        [one.chunk_id for one in found if one.chunk_id]
    )
    rows: dict[str, PooledPassage] = {}
    for one in found:
        row = _row(item, one, chunks.get(one.chunk_id or 0))
        there = rows.setdefault(row.key, row)
        if there is not row:
            there.methods += [way for way in row.methods if way not in there.methods]
            there.rank = there.rank or row.rank
    yield from rows.values()


def _row(item: Item, one: Pooled, chunk: Chunk | None) -> PooledPassage:
    text = read(chunk) if chunk else one.text
    title = addressed.blanked(chunk.document.title) if chunk else one.title
    document = chunk.document_id if chunk else one.document_id
    return PooledPassage(
        item=item,
        key=key(document, text or f"{one.title}\n{one.locator}"),
        chunk=chunk,
        document_id=document,
        title=title[:500],
        locator=(addressed.blanked(chunk.locator) if chunk else one.locator)[:500],
        text=text,
        methods=one.methods,
        rank=one.rank,
    )


def read(chunk: Chunk) -> str:
    """A passage as it is read: its question before its answer."""
    return f"{chunk.question}\n\n{chunk.text}" if chunk.question else chunk.text


def key(document: int | None, text: str) -> str:
    """The passage's name whatever its number: its document and its text without white space."""
    folded = "".join(text.split())
    return hashlib.sha256(f"{document or ''}\n{folded}".encode()).hexdigest()[:32]


# --- looked up by a rater ------------------------------------------------------------------


def look_up(item: Item, query: str, bases: Iterable[KnowledgeBase]) -> list[retrieval.Passage]:
    """The best passages for a rater's words, in the bases that the asker and the rater may read."""
    return retrieval.search(query, asked(item, bases), FOUND).passages


def asked(item: Item, bases: Iterable[KnowledgeBase]) -> list[KnowledgeBase]:
    """Those of `bases` that the asker may read."""
    assert item.turn  # noqa: S101
    readable = {base.pk for base in turns.bases(item.turn.conversation)}
    return [one for one in bases if one.pk in readable]


@transaction.atomic
def add(item: Item, chunk: Chunk) -> PooledPassage:
    """Put a passage that a rater looked up into the pool; once, whoever finds it. From now on only
    who may read its base may label the item."""
    row = _row(item, Pooled(chunk.pk, [SEARCH]), chunk)
    held = Item.objects.select_for_update().get(pk=item.pk)
    held.bases = _bases(held, [row])
    held.save(update_fields=["bases"])
    item.bases = held.bases
    made, _created = PooledPassage.objects.get_or_create(
        item=item,
        key=row.key,
        defaults={
            name: getattr(row, name)
            for name in ("chunk", "document_id", "title", "locator", "text", "methods", "rank")
        },
    )
    return made
