"""Which of very many chunks to score for a question: posting lists, packed, in PostgreSQL.

The chunks of a base lie in segments, which never change. A list says of one term in which places
of a segment it stands and about how much it weighs there. What has come since the last segment
was made is pending, and always proposed. Lists may say what was so some time ago, and of chunks
that are gone: who asks scores what is proposed by its own row (`knowledge.lexical`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, QuerySet
from django_q.tasks import async_task
from numpy.typing import NDArray

from knowledge import pacing, wire
from knowledge.asked import farther
from knowledge.models import ChunkTerms, PendingTerms, PostingSegment
from knowledge.weighing import K1, Query, array
from opsdesk import locking
from opsdesk.replicas import connection, in_binary

FULL = 16_384  # chunks of a segment; a place takes two bytes, what a term weighs there one
PENDING = 1_000  # chunks that are too many to be scored with every question
READ = 100_000  # places of its most telling terms that a question reads, more of very many chunks
ALIKE = 3  # segments of about the same size that become one with what comes
ALIVE = 0.7  # of a segment's chunks; with fewer left it is made anew
BATCH = 1_000  # rows read at once
GROUP = "postings:%d"
SOME = 16  # every so many-th place is looked at to judge what the heaviest are worth
KEPT = 256  # segments whose chunks a process remembers
STEP = 255 / (K1 + 1)  # of a byte, for what weighs 1: no term weighs more than K1 + 1

Ids = NDArray[np.int64]
_kept: dict[int, Ids] = {}  # the chunks of segments, by place


# --- asking -----------------------------------------------------------------------


class Proposal(NamedTuple):
    chunks: list[int]  # ids, each once
    all: bool  # whether lists name no others


def propose(asked: Query, base_ids: Sequence[int], number: int) -> Proposal:
    """About so many chunks that are likely to score best, and all that are pending.

    The most telling terms decide, as many as READ allows, but at least one.
    """
    worth = asked.by_key()
    terms = _affordable(worth, asked.counts, round(READ * farther(asked.chunks)))
    with in_binary() as cursor:
        cursor.execute(
            "SELECT segment_id, term, packed FROM knowledge_posting"
            " WHERE term = ANY(%(terms)s::int4[]) AND segment_id = ANY(ARRAY("
            " SELECT id FROM knowledge_postingsegment"
            " WHERE knowledge_base_id = ANY(%(bases)s::bigint[])))"
            " UNION ALL SELECT NULL, chunk_id, NULL FROM knowledge_pendingterms"
            " WHERE knowledge_base_id = ANY(%(bases)s::bigint[])",
            {"terms": array(terms), "bases": list(base_ids)},
        )
        rows = cursor.fetchall()
    pending = {chunk for segment, chunk, _packed in rows if segment is None}
    lists: dict[int, list[tuple[float, bytes]]] = defaultdict(list)
    for segment, term, packed in rows:
        if segment is not None:
            lists[segment].append((worth[term], packed))
    sums = {segment: _sums(of) for segment, of in lists.items()}
    chunks = _chunks_of(sums)
    if len(chunks) < len(sums):  # one became part of a larger one this moment
        return propose(asked, base_ids, number)
    best = _best(sums, chunks, number)
    return Proposal(sorted(pending.union(best)), len(best) < number)


def _affordable(worth: Mapping[int, float], counts: Mapping[int, int], room: int) -> list[int]:
    """The terms worth most whose lists have no more than `room` places together."""
    best = sorted(worth, key=lambda term: (-worth[term], term))
    chosen = []
    for term in best:
        if counts[term] <= room:
            chosen.append(term)
            room -= counts[term]
    return chosen or sorted(worth, key=lambda term: counts[term])[:1]


def _sums(lists: Sequence[tuple[float, bytes]]) -> NDArray[np.float32]:
    """What each place of a segment is worth by the lists of terms that are worth so much."""
    counts = [len(packed) // 3 for _worth, packed in lists]
    both = list(zip(lists, counts, strict=True))
    places = b"".join(packed[: 2 * count] for (_worth, packed), count in both)
    levels = b"".join(packed[2 * count :] for (_worth, packed), count in both)
    weights = np.repeat([worth for worth, _packed in lists], counts)
    weights *= np.frombuffer(levels, np.uint8)
    return np.bincount(np.frombuffer(places, "<u2"), weights, FULL).astype(np.float32)


def _best(
    sums: Mapping[int, NDArray[np.float32]], chunks: Mapping[int, Ids], number: int
) -> list[int]:
    """The heaviest; a chunk whose terms have changed may be among them twice."""
    least = _least(sums, number)
    hits = {segment: np.flatnonzero(of > least) for segment, of in sums.items()}
    scores = np.concatenate([np.empty(0), *(sums[one][hit] for one, hit in hits.items())])
    ids = np.concatenate([np.empty(0, np.int64), *(chunks[one][hit] for one, hit in hits.items())])
    if len(ids) > number:
        ids = ids[np.argpartition(scores, -number)[-number:]]
    found: list[int] = ids.tolist()
    return found


def _least(sums: Mapping[int, NDArray[np.float32]], number: int) -> float:
    """What at least `number` places are worth more than, and not many more do: judged by some of
    them, which takes a tenth of the time of ordering all. 0 where few are worth anything."""
    some = np.sort(np.concatenate([np.zeros(1), *(of[::SOME] for of in sums.values())]))
    least = float(some[-min(2 * number // SOME + 8, len(some))])
    enough = sum(int(np.count_nonzero(of > least)) for of in sums.values()) >= number
    return least if enough else 0.0


def _chunks_of(segments: Mapping[int, object]) -> dict[int, Ids]:
    """The chunks of each segment that is still there, by place."""
    known = dict(_kept)
    new = segments.keys() - known.keys()
    for row in PostingSegment.objects.filter(pk__in=new) if new else ():
        if len(_kept) >= KEPT:
            _kept.clear()
        known[row.pk] = _kept[row.pk] = _ids(row)
    return {segment: known[segment] for segment in segments if segment in known}


# --- keeping up -------------------------------------------------------------------


def pend(base_id: int, chunk_ids: Sequence[int]) -> None:
    """To be called, in the same transaction, when chunks get terms."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO knowledge_pendingterms (knowledge_base_id, chunk_id)"
            " SELECT %s, unnest(%s::bigint[])",
            [base_id, array(chunk_ids)],
        )


def tend(base_id: int) -> None:
    """Make segments of what is pending, once it is much; never inside a transaction."""
    some = PendingTerms.objects.filter(knowledge_base=base_id)[:PENDING]
    if some.count() == PENDING:
        merge(base_id)


def sweep() -> None:
    """As `tend`, by the clock, of all bases: chunks are written elsewhere than in a worker, too."""
    rows = PendingTerms.objects.values("knowledge_base").annotate(number=Count("pk"))
    for row in rows.filter(number__gte=PENDING):
        merge(row["knowledge_base"])


def rewritten(base_id: int, latest: int) -> None:
    """To be called inside the transaction that reckoned all weights of a base anew. Its chunks are
    not pending for that: lists go on as they are, until a worker has written them anew.

    `latest` is what `latest_pending` said before, when nobody else could write any more.
    """
    ids = np.concatenate([np.empty(0, "<i8"), *map(_ids, _segments(base_id))])
    PendingTerms.objects.filter(
        knowledge_base=base_id, pk__gt=latest, chunk_id__in=ids.tolist()
    ).delete()
    transaction.on_commit(
        partial(
            async_task, "knowledge.postings.rewrite", base_id, cluster=settings.Q_CLUSTER["name"]
        )
    )


def latest_pending() -> int:
    return PendingTerms.objects.aggregate(latest=Max("pk"))["latest"] or 0


def rewrite(base_id: int) -> None:
    """Write every segment anew, one after the other."""
    with locking.held(GROUP % base_id, wait=True):
        for segment in list(_segments(base_id)):
            chunks, postings = _read(base_id, _ids(segment).tolist())
            with transaction.atomic():
                if len(chunks):
                    _write(base_id, chunks, postings)
                segment.delete()
    merge(base_id)


def tidy(base_id: int) -> None:
    """Nightly: make segments of all that is pending, of what is in none for whatever reason, and
    of what is left of segments that lost much: chunks that are gone, or written anew since."""
    there, covered = _there(base_id), _pending(base_id)
    for segment in _segments(base_id).order_by("-pk"):
        left = np.setdiff1d(np.intersect1d(_ids(segment), there), covered)
        covered = np.union1d(covered, left)
        if len(left) < ALIVE * segment.size:
            with transaction.atomic():
                pend(base_id, left.tolist())
                segment.delete()
    pend(base_id, np.setdiff1d(there, covered).tolist())
    merge(base_id)


def missing(base_id: int) -> int:
    """How many chunks of a base are neither in a segment nor pending."""
    covered = np.concatenate([_pending(base_id), *map(_ids, _segments(base_id))])
    return len(np.setdiff1d(_there(base_id), covered))


def _segments(base_id: int) -> QuerySet[PostingSegment]:
    return PostingSegment.objects.filter(knowledge_base=base_id)


def _ids(segment: PostingSegment) -> Ids:
    return np.frombuffer(segment.chunks, "<i8")


def _there(base_id: int) -> Ids:
    rows = ChunkTerms.objects.filter(knowledge_base=base_id)
    return np.fromiter(rows.values_list("chunk_id", flat=True), np.int64)


def _pending(base_id: int) -> Ids:
    rows = PendingTerms.objects.filter(knowledge_base=base_id)
    return np.fromiter(rows.values_list("chunk_id", flat=True), np.int64)


def merge(base_id: int) -> None:
    """Make segments of all that is pending, one process at a time."""
    with locking.held(GROUP % base_id) as alone:
        while alone and _merge_some(base_id):
            pass


def _merge_some(base_id: int) -> bool:
    """One segment of pending chunks, and of other segments once there are ALIKE of about its size,
    so that each chunk is written again a few times only. Whether anything was pending."""
    pending = PendingTerms.objects.filter(knowledge_base=base_id).order_by("pk")
    rows = dict(pending.values_list("pk", "chunk_id")[:FULL])
    if not rows:
        return False
    wanted = set(rows.values())
    there = list(_segments(base_id).order_by("size"))
    absorbed = _alike(there, len(wanted))
    wanted.update(*(_ids(one).tolist() for one in absorbed))
    chunks, postings = _read(base_id, sorted(wanted))
    with transaction.atomic():
        if len(chunks):
            _write(base_id, chunks, postings)
        PostingSegment.objects.filter(pk__in=[one.pk for one in absorbed]).delete()
        PendingTerms.objects.filter(pk__in=rows.keys()).delete()
    return True


def _alike(there: Sequence[PostingSegment], size: int) -> list[PostingSegment]:
    """Segments, the smallest first, to become one with so many new chunks."""
    absorbed: list[PostingSegment] = []
    while True:
        rest = there[len(absorbed) :]
        alike = [one for one in rest if one.size <= min(2 * size, FULL - size)]
        if len(alike) < ALIKE:
            return absorbed
        for one in alike:
            if size + one.size <= FULL:
                size += one.size
                absorbed.append(one)


def _read(base_id: int, wanted: Sequence[int]) -> tuple[Ids, NDArray[np.int64]]:
    """Those of the chunks that are there, and their postings in order: term, place and weight in
    one number (32, 16 and 16 bits)."""
    chunks: list[int] = []
    batches = [np.empty(0, "<i8")]
    for start in range(0, len(wanted), BATCH):
        pacing.give_way()
        vectors = _vectors(base_id, wanted[start : start + BATCH])
        batches.append(_numbered(len(chunks), vectors.values()))
        chunks += vectors
    postings = np.concatenate(batches)
    postings.sort()
    return np.array(chunks, "<i8"), postings


def _vectors(base_id: int, chunk_ids: Sequence[int]) -> dict[int, bytes]:
    """The terms of chunks, in pgvector's wire format."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT chunk_id, sparsevec_send(weights) FROM knowledge_chunkterms"
            " WHERE knowledge_base_id = %s AND chunk_id = ANY(%s::bigint[])",
            [base_id, array(chunk_ids)],
        )
        return dict(cursor.fetchall())


def _numbered(first: int, vectors: Iterable[bytes]) -> NDArray[np.int64]:
    """The postings of chunks that stand in the places from `first` on."""
    found = [np.empty(0, "<i8")]
    for place, vector in enumerate(vectors, first):
        keys, weights = wire.unpacked(vector)
        found.append(
            keys.astype("<i8") << 32 | place << 16 | np.rint(weights * STEP).clip(1).astype("<i8")
        )
    return np.concatenate(found)


def _write(base_id: int, chunks: Ids, postings: NDArray[np.int64]) -> None:
    segment = PostingSegment.objects.create(
        knowledge_base_id=base_id, size=len(chunks), chunks=chunks.tobytes()
    )
    terms, places = postings.view("<i4")[1::2], postings.view("<u2")[1::4]
    levels = postings.view(np.uint8)[::8]
    starts = np.flatnonzero(np.diff(terms, prepend=-1)).tolist()
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(
            "COPY knowledge_posting (segment_id, term, packed) FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        copy.set_types(["int8", "int4", "bytea"])
        for start, end in pairwise([*starts, len(terms)]):
            packed = places[start:end].tobytes() + levels[start:end].tobytes()
            copy.write_row((segment.pk, int(terms[start]), packed))
