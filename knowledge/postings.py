"""Which of very many chunks to score for a question: posting lists, packed, in PostgreSQL.

The chunks of a base lie in segments, which never change. A list says of one term in which places
of a segment it stands and about how much it weighs there. What has come since the last segment
was made is pending, and always proposed. Lists may say what was so some time ago, and of chunks
that are gone: who asks scores what is proposed by its own row (`knowledge.lexical`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from knowledge import pacing, wire
from knowledge.models import PendingTerms, PostingSegment
from knowledge.weighing import K1, Query, array
from opsdesk import locking
from opsdesk.replicas import connection

FULL = 16_384  # chunks of a segment; a place takes two bytes, what a term weighs there one
PENDING = 1_000  # chunks that are too many to be scored with every question
READ = 100_000  # places that a question reads at most, of its most telling terms
ALIKE = 3  # segments of about the same size that become one with what comes
ALIVE = 0.7  # of a segment's chunks; with fewer left it is made anew
BATCH = 1_000  # rows read at once
KEPT = 256  # segments whose chunks a process remembers
STEP = 255 / (K1 + 1)  # of a byte, for what weighs 1: no term weighs more than K1 + 1

Ids = NDArray[np.int64]
_kept: dict[int, Ids] = {}  # the chunks of segments, by place


# --- asking -----------------------------------------------------------------------


def propose(asked: Query, base_ids: Sequence[int], number: int) -> list[int]:
    """The ids of so many chunks that are likely to score best, and of all that are pending.

    The most telling terms decide, as many as READ allows, but at least one.
    """
    worth = asked.by_key()
    terms = _affordable(worth, asked.counts)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT segment_id, term, packed FROM knowledge_posting"
            " WHERE term = ANY(%(terms)s::int4[]) AND segment_id = ANY(ARRAY("
            " SELECT id FROM knowledge_postingsegment WHERE knowledge_base_id = ANY(%(bases)s)))"
            " UNION ALL SELECT NULL, chunk_id, NULL FROM knowledge_pendingterms"
            " WHERE knowledge_base_id = ANY(%(bases)s)",
            {"terms": array(terms), "bases": list(base_ids)},
        )
        rows = cursor.fetchall()
    pending = {chunk for segment, chunk, _packed in rows if segment is None}
    sums: dict[int, NDArray[np.float32]] = defaultdict(lambda: np.zeros(FULL, np.float32))
    for segment, term, packed in rows:
        if segment is not None:
            places, weights = _unpacked(packed)
            np.add.at(sums[segment], places, weights * np.float32(worth[term]))
    chunks = _chunks_of(sums)
    if len(chunks) < len(sums):  # one became part of a larger one this moment
        return propose(asked, base_ids, number)
    return sorted(pending.union(_best(sums, chunks, number)))


def _affordable(worth: Mapping[int, float], counts: Mapping[int, int]) -> list[int]:
    """The terms worth most whose lists are short enough together."""
    best = sorted(worth, key=lambda term: (-worth[term], term))
    room, chosen = READ, []
    for term in best:
        if counts[term] <= room:
            chosen.append(term)
            room -= counts[term]
    return chosen or sorted(worth, key=lambda term: counts[term])[:1]


def _best(
    sums: Mapping[int, NDArray[np.float32]], chunks: Mapping[int, Ids], number: int
) -> list[int]:
    if not sums:
        return []
    scores = np.concatenate([sums[segment][: len(ids)] for segment, ids in chunks.items()])
    ids = np.concatenate(list(chunks.values()))
    least = np.partition(scores, -number)[-number] if len(scores) > number else 0.0
    first = np.flatnonzero(scores > least)
    if least > 0:  # of those that score the same some
        first = np.append(first, np.flatnonzero(scores == least)[: number - len(first)])
    found: list[int] = ids[first].tolist()
    return found


def _chunks_of(segments: Collection[int]) -> dict[int, Ids]:
    """The chunks of each segment that is still there, by place."""
    if missing := [segment for segment in segments if segment not in _kept]:
        if len(_kept) > KEPT:
            _kept.clear()
            missing = list(segments)
        for row in PostingSegment.objects.filter(pk__in=missing):
            _kept[row.pk] = np.frombuffer(row.chunks, "<i8")
    return {segment: _kept[segment] for segment in segments if segment in _kept}


def _unpacked(packed: bytes) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """The places of a term, and its weight in each by STEP."""
    count = len(packed) // 3
    return np.frombuffer(packed, "<u2", count), np.frombuffer(packed, np.uint8, offset=2 * count)


# --- keeping up -------------------------------------------------------------------


def pend(base_id: int, chunk_ids: Sequence[int]) -> None:
    """To be called, in the same transaction, when chunks get terms."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO knowledge_pendingterms (knowledge_base_id, chunk_id)"
            " SELECT %s, unnest(%s::bigint[])",
            [base_id, array(chunk_ids)],
        )


def forget(base_id: int) -> None:
    """Drop what is in segments, all of which is about to be written anew."""
    PostingSegment.objects.filter(knowledge_base=base_id).delete()


def tend(base_id: int) -> None:
    """Make segments of what is pending, once it is much. For after a transaction, in a worker."""
    some = PendingTerms.objects.filter(knowledge_base=base_id)[:PENDING]
    if some.count() == PENDING:
        merge(base_id)


def tidy(base_id: int) -> None:
    """Nightly: make segments of all that is pending, of what is in none for whatever reason, and
    of what is left of segments that lost much."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT chunk_id FROM knowledge_chunkterms WHERE knowledge_base_id = %s", [base_id]
        )
        there = np.array([row[0] for row in cursor.fetchall()], np.int64)
    covered = list(PendingTerms.objects.filter(knowledge_base=base_id).values_list("chunk_id"))
    known = [np.array(covered, np.int64).ravel()]
    for segment in PostingSegment.objects.filter(knowledge_base=base_id):
        ids = np.frombuffer(segment.chunks, "<i8")
        left = np.intersect1d(ids, there)
        known.append(ids)
        if len(left) < ALIVE * len(ids):
            with transaction.atomic():
                pend(base_id, left.tolist())
                segment.delete()
    pend(base_id, np.setdiff1d(there, np.concatenate(known)).tolist())
    merge(base_id)


def merge(base_id: int) -> None:
    """Make segments of all that is pending, one process at a time."""
    with locking.held(f"postings:{base_id}") as alone:
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
    there = list(PostingSegment.objects.filter(knowledge_base=base_id).order_by("size"))
    absorbed = _alike(there, len(wanted))
    wanted.update(*(np.frombuffer(one.chunks, "<i8").tolist() for one in absorbed))
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
        found.append(keys.astype("<i8") << 32 | place << 16 | np.rint(weights * STEP).astype("<i8"))
    return np.concatenate(found)


def _write(base_id: int, chunks: Ids, postings: NDArray[np.int64]) -> None:
    segment = PostingSegment.objects.create(
        knowledge_base_id=base_id, size=len(chunks), chunks=chunks.tobytes()
    )
    terms, places = postings.view("<i4")[1::2], postings.view("<u2")[1::4]
    levels = postings.view(np.uint8)[::8]
    starts = np.flatnonzero(np.diff(terms, prepend=-1)).tolist()
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY knowledge_posting (segment_id, term, packed) FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        copy.set_types(["int8", "int4", "bytea"])
        for start, end in zip(starts, [*starts[1:], len(terms)], strict=True):
            packed = places[start:end].tobytes() + levels[start:end].tobytes()
            copy.write_row((segment.pk, int(terms[start]), packed))
