"""What curators made of passages, brought over into the revision that replaces theirs.

A work is a run of passages as the parser made them and what became of it. It is done again
where the new revision has the same run, known by its digests; else it is kept as lost.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import Q
from django.utils import timezone

from knowledge.models import Chunk, ChunkEdit, Document, Revision
from knowledge.snapshots import (
    CONTENT,
    PLACE,
    Snapshot,
    digest,
    locator,
    place,
    snapshot,
    write,
)

Kind = ChunkEdit.Kind
FLAGS = [Kind.ENABLE, Kind.DISABLE]


@dataclass
class Work:
    originals: list[Snapshot]
    results: list[Snapshot]
    user_id: int | None = None
    rank: int = 0  # the how many-th of its digest it is, from 0
    lost: ChunkEdit | None = None  # where it is kept since an earlier replacement

    @property
    def only_switched(self) -> bool:
        return len(self.originals) == len(self.results) and all(
            before[name] == after[name]
            for before, after in zip(self.originals, self.results, strict=True)
            for name in CONTENT
            if name != "enabled"
        )


@dataclass
class Carried:
    """Rows of the new revision that were written over, and the rows they are now."""

    gone: set[int] = field(default_factory=set)
    rows: list[Chunk] = field(default_factory=list)


def works(documents: Sequence[int]) -> dict[int, list[Work]]:
    """What curators made of the answering revisions of documents, before these are replaced."""
    chunks = Chunk.objects.filter(document__in=documents)
    switched = chunks.filter(Q(enabled=False) | ~Q(questions=[]))
    touched = set(switched.values_list("document", flat=True))
    edits = ChunkEdit.objects.filter(document__in=documents, undone_at=None)
    touched |= set(edits.values_list("document", flat=True))
    found = Document.objects.filter(pk__in=touched, current__isnull=False)
    return {document.pk: _works(document) for document in found}


def carry_over(kept: dict[int, list[Work]], revisions: Iterable[Revision]) -> Carried:
    """Do works again on the revisions that come in; inside their swap, after their chunks."""
    carried = Carried()
    for revision in revisions:
        if held := kept.get(revision.document_id):
            _carry_over(revision, held, carried)
    return carried


def _works(document: Document) -> list[Work]:
    edits = ChunkEdit.objects.filter(
        document=document, revision=document.current_id, undone_at=None
    ).order_by("pk")
    rows = list(document.chunks.order_by("position").prefetch_related("attachments"))
    made, parsed = _edited(rows, edits)
    faq = document.origin == Document.Origin.FAQ  # its questions come from its entry
    for row in rows:
        if row.pk not in parsed:
            taken = snapshot(row)
            taken["digest"] = taken["digest"] or digest(row)
            parsed[row.pk] = taken["digest"]
            if not row.enabled or (row.questions and not faq):
                before = {**taken, "enabled": True, "questions": row.questions if faq else []}
                made.append(Work([before], [taken]))
    _rank(made, parsed)
    lost = [edit for edit in edits if edit.kind == Kind.LOST]
    return made + [Work(edit.before, edit.after, edit.user_id, lost=edit) for edit in lost]


def _edited(rows: Sequence[Chunk], edits: Iterable[ChunkEdit]) -> tuple[list[Work], dict[int, str]]:
    """The works of edits that hang together, and the digests of what all was parsed of theirs,
    with "" for passages that no parser made."""
    first: dict[int, Snapshot] = {}
    group: dict[int, set[int]] = {}
    by: dict[int, int | None] = {}
    for edit in edits:
        if edit.kind in (*FLAGS, Kind.LOST):
            continue
        for taken in edit.before:
            if taken["id"] not in group:
                first[taken["id"]] = taken
        ids = {taken["id"] for taken in edit.before + edit.after}
        together = ids.union(*(group.get(pk, set()) for pk in ids))
        group.update(dict.fromkeys(together, together))
        by.update(dict.fromkeys(together, edit.user_id))
    made = []
    for together in {id(ids): ids for ids in group.values()}.values():
        results = [snapshot(row) for row in rows if row.pk in together]
        originals = [first[pk] for pk in sorted(together) if pk in first]
        if results and not _alike(originals, results):
            made.append(Work(originals, results, by[originals[0]["id"]]))
    alive = {row.pk for row in rows}
    live = [ids for ids in group.values() if ids & alive]
    return made, {pk: first[pk]["digest"] if pk in first else "" for ids in live for pk in ids}


def _alike(before: Sequence[Snapshot], after: Sequence[Snapshot]) -> bool:
    return [[one[name] for name in CONTENT] for one in before] == [
        [one[name] for name in CONTENT] for one in after
    ]


def _rank(made: Sequence[Work], parsed: dict[int, str]) -> None:
    """Number what was parsed alike, in reading order; ids of one revision ascend."""
    seen: dict[str, int] = defaultdict(int)
    ranks = {}
    for pk in sorted(parsed):
        ranks[pk] = seen[parsed[pk]]
        seen[parsed[pk]] += 1
    for work in made:
        work.rank = ranks[work.originals[0]["id"]]


def _carry_over(revision: Revision, held: Sequence[Work], carried: Carried) -> None:
    rows = list(revision.chunks.order_by("position").prefetch_related("attachments"))
    places = defaultdict(list)
    for number, row in enumerate(rows):
        places[row.digest].append(number)
    taken: set[int] = set()
    found = []
    for work in held:
        at = _find(work, rows, places, taken)
        if at is None:
            _lose(work, revision)
        else:
            taken.update(range(at, at + len(work.originals)))
            found.append((at, work))
    # From the end: a split moves what stands behind it.
    found.sort(key=lambda pair: pair[0], reverse=True)
    switched = [_redo(work, rows[at : at + len(work.originals)], carried) for at, work in found]
    _switch(revision, [pk for one in switched for pk in one])


def _find(
    work: Work, rows: Sequence[Chunk], places: dict[str, list[int]], taken: set[int]
) -> int | None:
    """Where the run of passages stands: at its own rank, else the first that is free."""
    wanted = [original["digest"] for original in work.originals]
    if not all(wanted):
        return None
    starts = places.get(wanted[0], [])
    for at in starts[work.rank : work.rank + 1] + starts:
        run = range(at, at + len(wanted))
        if taken.isdisjoint(run) and [row.digest for row in rows[at : run.stop]] == wanted:
            return at
    return None


def _results(work: Work, sources: list[Snapshot], revision_id: int) -> list[Snapshot]:
    """What becomes of `sources`: the content of the results, at the place of the new passages."""
    if work.only_switched:  # the words of what is else as it was parsed are indexed already
        return [
            {**source, "enabled": made["enabled"]}
            for source, made in zip(sources, work.results, strict=True)
        ]
    results = []
    for number, made in enumerate(work.results):
        source = sources[min(number, len(sources) - 1)]
        pk = source["id"] if number < len(sources) else None
        results.append({**source, **{name: made[name] for name in CONTENT}, "id": pk})
        results[-1] |= {"edited": made["edited"], "digest": source["digest"] if pk else ""}
    if len(sources) > 1 or len(results) > 1:
        place(results, sources, revision_id)
    else:
        results[0] |= {name: sources[0][name] for name in PLACE} | {"locator": locator(sources)}
    return results


def _redo(work: Work, before: list[Chunk], carried: Carried) -> list[int]:
    """Write a work over `before`; the ids of what it only disabled."""
    sources = [snapshot(row) for row in before]
    results = _results(work, sources, before[0].revision_id)
    written = write(before, results)
    if work.lost:
        ChunkEdit.objects.filter(pk=work.lost.pk).update(undone_at=timezone.now())
    if work.only_switched:
        return [row.pk for row in written]
    carried.gone.update(source["id"] for source in sources)
    carried.rows += written
    ChunkEdit.objects.create(
        document_id=written[0].document_id,
        revision_id=written[0].revision_id,
        kind=kind(sources, results),
        before=sources,
        after=[snapshot(row) for row in written],
        user_id=work.user_id,
    )
    return []


def kind(before: Sequence[Snapshot], after: Sequence[Snapshot]) -> str:
    if len(before) == len(after):
        return Kind.EDIT
    return Kind.MERGE if len(before) > len(after) else Kind.SPLIT


def _switch(revision: Revision, ids: Sequence[int]) -> None:
    """One line of the history for all that is only disabled."""
    if ids:
        ChunkEdit.objects.create(
            document_id=revision.document_id,
            revision=revision,
            kind=Kind.DISABLE,
            before=[{"id": pk, "enabled": True} for pk in ids],
            after=[{"id": pk, "enabled": False} for pk in ids],
        )


def _lose(work: Work, revision: Revision) -> None:
    if work.lost:
        ChunkEdit.objects.filter(pk=work.lost.pk).update(revision=revision)
        return
    ChunkEdit.objects.create(
        document_id=revision.document_id,
        revision=revision,
        kind=Kind.LOST,
        before=work.originals,
        after=work.results,
        user_id=work.user_id,
    )
