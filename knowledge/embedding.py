"""Which vectors answer for which base: building them beside those that do, switching, asking.

An EmbeddingIndex remembers which embedder made it, so the old one goes on answering, asked
through its own embedder, while another is built. The active one answers for every base that
names no other. A chunk without a vector is still found by its words; `build` gives it one,
however it came to miss it.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from knowledge import vectors
from knowledge.asked import standings
from knowledge.embedders import Embedder, Meaning, made, named
from knowledge.lexical import passage_text
from knowledge.models import Chunk, Embedding, EmbeddingIndex, KnowledgeBase
from opsdesk import locking, queues
from opsdesk.backends import backend
from opsdesk.errors import Conflict, ModelError

log = logging.getLogger(__name__)
State = EmbeddingIndex.State
GROUP = "embedding:%d"
GRAPH_SECONDS = 6 * 3600
SLICE_SECONDS = 60.0  # of one task: documents that wait in the same queue get their turn


# --- Embedders ------------------------------------------------------------------
def choices() -> list[str]:
    """The names of the embedders an index can be built with."""
    return [
        name
        for name, config in settings.EMBEDDERS.items()
        if config.get("OPTIONS", {}).get("model")
    ]


def configured(name: str = "") -> EmbeddingIndex | None:
    """The index, unsaved, that the embedder called `name` makes, else the one that
    `settings.EMBEDDER` asks for; None when it asks for none."""
    name = name or settings.EMBEDDER
    embedder = backend("embedder") if name == settings.EMBEDDER else named(name)
    if embedder is None:
        return None
    return EmbeddingIndex(
        embedder=name,
        model=embedder.model,
        dimensions=embedder.dimensions,
        sparse=embedder.sparse,
    )


def embedder_of(index: EmbeddingIndex) -> Embedder:
    """The embedder that made `index`; a permanent ModelError when it is not configured any more."""
    wanted = (index.embedder, index.model, index.dimensions)
    chosen = backend("embedder")
    if chosen and wanted == (settings.EMBEDDER, chosen.model, chosen.dimensions):
        return chosen  # so that a model is loaded once
    return made(*wanted)


# --- Asking ---------------------------------------------------------------------
def active() -> EmbeddingIndex | None:
    """The index that answers for bases that name no other, if one does."""
    return EmbeddingIndex.objects.filter(state=State.ACTIVE).first()


def answering(base_ids: Sequence[int]) -> dict[EmbeddingIndex, list[int]]:
    """The bases by the index that answers for them; without those that only words answer for.

    Read in one statement, so that a switch is seen for all of them or for none.
    """
    by_index: dict[EmbeddingIndex, list[int]] = {}
    for one in standings(base_ids):
        if one.index:
            by_index.setdefault(one.index, []).append(one.base_id)
    return by_index


# --- Along with documents -------------------------------------------------------
def meanings_for(texts: Sequence[str], base_id: int) -> dict[int, list[Meaning]]:
    """What new passages of a base mean, by the id of each index that must hold them.

    An embedder that fails loses nobody a document: its index is left out and `catch_up`
    has it filled later.
    """
    made = {}
    for index in _live_for(base_id):
        try:
            made[index.pk] = list(embedder_of(index).passages(texts))
        except ModelError as error:
            log.warning("no vectors for %d passages in index %d: %s", len(texts), index.pk, error)
    return made


def save(meanings: dict[int, list[Meaning]], chunks: Sequence[Chunk]) -> None:
    """Store what `meanings_for` the texts of `chunks` gave, in the caller's transaction."""
    indexes = EmbeddingIndex.objects.filter(pk__in=meanings).select_for_update(no_key=True)
    for index in indexes.order_by("pk"):  # one that was dropped meanwhile is not there
        vectors.insert(index, zip(chunks, meanings[index.pk], strict=True))


def live() -> QuerySet[EmbeddingIndex]:
    """The indexes that new chunks go into: those that answer for some base or are being built."""
    named = KnowledgeBase.objects.filter(index=OuterRef("pk"))
    return EmbeddingIndex.objects.filter(
        Q(state__in=[State.ACTIVE, State.BUILDING]) | Exists(named)
    )


def _live_for(base_id: int) -> QuerySet[EmbeddingIndex]:
    named = KnowledgeBase.objects.values_list("index", flat=True).get(pk=base_id)
    of_all = Q(pk=named) if named else Q(knowledge_base=None)
    return live().filter(of_all | Q(knowledge_base=base_id))


def catch_up() -> None:
    """Queue the building of every live index that misses vectors and is not queued; also a task
    by the clock, for what a failing embedder or a killed worker left."""
    for index in live():
        behind = index.state == State.BUILDING or missing(index).exists()
        if behind and GROUP % index.pk not in queues.groups():
            enqueue(index.pk)


# --- Building -------------------------------------------------------------------
def create(name: str = "", base: KnowledgeBase | None = None) -> EmbeddingIndex:
    """The index of the embedder called `name`, else of the configured one, over all bases or
    over `base`: the one there is, or a new one; its building queued.

    Conflict when no embedder is configured.
    """
    wanted = configured(name)
    if wanted is None:
        raise Conflict(_("No embedder is configured: set OPSDESK_EMBEDDER."))
    wanted.knowledge_base = base
    with transaction.atomic():
        _lock()
        index = same_as(wanted) or wanted
        if index.state == State.FAILED:
            index.state = State.BUILDING
        index.error = ""
        index.save()
        index.total = chunks_of(index).count()
        index.save(update_fields=["total"])
        enqueue(index.pk)
    return index


def same_as(wanted: EmbeddingIndex) -> EmbeddingIndex | None:
    """The stored index of the same embedder, model and dimensions over the same bases."""
    return EmbeddingIndex.objects.filter(
        embedder=wanted.embedder,
        model=wanted.model,
        dimensions=wanted.dimensions,
        sparse=wanted.sparse,
        knowledge_base=wanted.knowledge_base_id,
    ).first()


def enqueue(index_id: int) -> None:
    # `advance` ends by itself, but for the making of a large graph.
    async_task(
        "knowledge.embedding.build",
        index_id,
        group=GROUP % index_id,
        cluster=settings.Q_CLUSTER["name"],
        timeout=GRAPH_SECONDS,
    )


def build(index_id: int) -> None:
    """Work on an index for a while and queue the rest; a task."""
    if not advance(index_id, SLICE_SECONDS):
        enqueue(index_id)


def advance(index_id: int, seconds: float) -> bool:
    """Add missing vectors for about `seconds`; True when there is nothing left to do.

    Idempotent, and what is committed stays when the process is killed. Does nothing while
    another process is at it. The first index takes over when it is complete; while another one
    answers it waits for `activate`. A ModelError that may pass is raised, to be tried again.
    """
    with _alone(index_id) as alone:
        index = EmbeddingIndex.objects.exclude(state=State.FAILED).filter(pk=index_id).first()
        if index is None or not alone:
            return True
        try:
            if not _fill(index, time.monotonic() + seconds):
                return False
        except ModelError as error:
            _complain(index, error)
            if error.permanent:
                return True
            raise
        if vectors.wants_graph(index):
            vectors.make_graph(index)
        return _finish(index)


def chunks_of(index: EmbeddingIndex) -> QuerySet[Chunk]:
    """The chunks that must have a vector in `index`: of its own base, else of all bases but those
    that name another. What a base asked through another model says is not sent to this one.
    """
    if index.knowledge_base_id:
        return Chunk.objects.filter(knowledge_base=index.knowledge_base_id)
    return Chunk.objects.filter(Q(knowledge_base__index=None) | Q(knowledge_base__index=index))


def missing(index: EmbeddingIndex) -> QuerySet[Chunk]:
    """The chunks that want a vector in `index`."""
    held = Embedding.objects.filter(index=index, chunk=OuterRef("pk"))
    return chunks_of(index).filter(~Exists(held)).order_by("pk")


def _fill(index: EmbeddingIndex, deadline: float) -> bool:
    """Whether every chunk has its vector; those added meanwhile too."""
    embedder = embedder_of(index)
    _count(index)
    last = 0
    rest = missing(index).select_related("document")
    while chunks := list(rest.filter(pk__gt=last)[: embedder.batch_size]):
        texts = list(map(_passage, chunks))
        _store(index, chunks, list(embedder.passages(texts)))
        last = chunks[-1].pk
        if time.monotonic() > deadline:
            break
    return not missing(index).exists()


def _count(index: EmbeddingIndex) -> None:
    index.total = chunks_of(index).count()
    index.done = index.total - missing(index).count()
    index.save(update_fields=["total", "done"])


def _store(index: EmbeddingIndex, chunks: list[Chunk], meanings: list[Meaning]) -> None:
    """Save what is known of the chunks that still read so, in an index that is still there."""
    with transaction.atomic():
        if not EmbeddingIndex.objects.select_for_update(no_key=True).filter(pk=index.pk).exists():
            return
        held = Chunk.objects.select_for_update(no_key=True, of=("self",)).order_by("pk")
        now = held.select_related("document").in_bulk([chunk.pk for chunk in chunks])
        pairs = [
            (chunk, meaning)
            for chunk, meaning in zip(chunks, meanings, strict=True)
            if chunk.pk in now and _passage(now[chunk.pk]) == _passage(chunk)
        ]
        vectors.insert(index, pairs)
        EmbeddingIndex.objects.filter(pk=index.pk).update(done=F("done") + len(pairs))


def _passage(chunk: Chunk) -> str:
    return passage_text(chunk.document.title, chunk)


def _complain(index: EmbeddingIndex, error: ModelError) -> None:
    """Say on the index why it does not come on; one that answers goes on answering."""
    index.error = str(error)
    if error.permanent and index.state == State.BUILDING:
        index.state = State.FAILED
    index.save(update_fields=["error", "state"])


def _finish(index: EmbeddingIndex) -> bool:
    with transaction.atomic():
        _lock()
        index.refresh_from_db()
        if missing(index).exists():
            return False
        _count(index)
        index.error = ""
        if index.state == State.BUILDING:
            index.state = State.READY
        index.save()
        of_all = index.knowledge_base_id is None and index.state == State.READY
        if of_all and index.activated_at is None and active() is None:
            activate(index)
    return True


# --- Taking over and going back -------------------------------------------------
def activate(index: EmbeddingIndex) -> None:
    """Let a complete index answer from now on for all bases that name no other; the one that did
    is kept, to go back to.

    Conflict when `index` is not complete. One that was left behind by later uploads answers at
    once and is brought up to date by the worker.
    """
    with transaction.atomic():
        _lock()
        index.refresh_from_db()
        if index.state == State.ACTIVE:
            return
        _check(index, None)
        EmbeddingIndex.objects.filter(state=State.ACTIVE).update(state=State.READY)
        index.state, index.activated_at = State.ACTIVE, timezone.now()
        index.save(update_fields=["state", "activated_at"])
        _follow()


def use(base: KnowledgeBase, index: EmbeddingIndex | None) -> None:
    """Let `index` answer for `base` from now on, or with None the one that answers for all.

    Conflict as with `activate`.
    """
    with transaction.atomic():
        _lock()
        base.refresh_from_db(fields=["index", "index_before"])
        if index:
            index.refresh_from_db()
            _check(index, base)
        if base.index == index:
            return
        base.index, base.index_before = index, base.index
        KnowledgeBase.objects.filter(pk=base.pk).update(
            index=base.index, index_before=base.index_before
        )
        _follow(base)


def _check(index: EmbeddingIndex, base: KnowledgeBase | None) -> None:
    if index.state not in (State.READY, State.ACTIVE):
        raise Conflict(_("This index is not complete yet."))
    if index.knowledge_base_id and index.knowledge_base != base:
        raise Conflict(_("This index is of the knowledge base %s alone.") % index.knowledge_base)


def go_back(base: KnowledgeBase | None = None) -> EmbeddingIndex | None:
    """Let the index answer that did before, for `base` or for all that name none.

    None, and only words rank, when there is none; for a base: the one that answers for all.
    Going back twice changes nothing. Conflict when nothing but that has ever answered for `base`.
    """
    with transaction.atomic():
        _lock()
        if base:
            base.refresh_from_db(fields=["index", "index_before"])
            if base.index == base.index_before:
                raise Conflict(_("There is nothing to go back to."))
            use(base, base.index_before)
            return base.index
        current = active()
        before = EmbeddingIndex.objects.filter(state=State.READY, activated_at__isnull=False)
        previous = before.order_by("-activated_at").first() if current else None
        EmbeddingIndex.objects.filter(state=State.ACTIVE).update(state=State.READY)
        if previous:
            activate(previous)
        _follow()
    return previous


def drop(index: EmbeddingIndex) -> None:
    """Delete an index with its vectors; Conflict for one that answers."""
    with transaction.atomic():
        _lock()
        index.refresh_from_db()
        if index.state == State.ACTIVE or index.bases.exists():
            raise Conflict(_("This index answers. Go back from it before you delete it."))
        vectors.drop_graph(index)
        index.delete()


def drop_of(base: KnowledgeBase) -> None:
    """Delete the indexes of a base that is about to be deleted."""
    with transaction.atomic():
        use(base, None)
        for index in base.own_indexes.all():
            drop(index)


def _follow(base: KnowledgeBase | None = None) -> None:
    """Make good what an index that answers now misses, and forget kept answers."""
    catch_up()
    bases = KnowledgeBase.objects.filter(pk=base.pk) if base else KnowledgeBase.objects.all()
    bases.raise_version()


def _lock() -> None:
    """One at a time may change which indexes there are, until its transaction ends."""
    locking.wait("embedding indexes")


def _alone(index_id: int) -> AbstractContextManager[bool]:
    """Whether this process is the only one that builds the index."""
    return locking.held(f"embedding index {index_id}")
