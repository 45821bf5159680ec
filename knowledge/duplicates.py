"""Documents of a base that say the same, and documents that may be out of date.

Passages are compared by their runs of letters (`knowledge.likeness`): MinHash signatures bring
together what may be alike, band by band, and the runs themselves decide. Short passages and
those that stand in many documents (headers, legal notes) tell nothing and are left out.
"""

import hashlib
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import combinations

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django_q.tasks import async_task
from numpy.typing import NDArray

from knowledge import scope
from knowledge.likeness import ALIKE, normal, shingles, similarity
from knowledge.models import Chunk, Document, KnowledgeBase, Similarity
from opsdesk import locking

SHORTEST = 40  # characters of a passage that is compared, without spaces and marks
COMMON = 20  # documents: a passage that stands in more is boilerplate
BANDS, ROWS = 16, 4  # of a signature; two of .8 are missed with a chance of 1 in 4000
CROWD = 50  # passages of one band that are compared with each other
BATCH = 1000  # pairs verified at a time
PAIRS = 5000  # of documents that are kept of a base
EXAMPLES = 500  # pairs of passages kept of a pair of documents: those that can be disabled at once
AGES = (90, 180, 365, 730)  # days
SOON = timedelta(days=30)
KINDS = ("expired", "soon", "retired", "old", "superseded")
_VERSION = re.compile(r"\d+")
_SEED = 1

Pair = tuple[int, int]  # documents, or chunks, the smaller number first


def enqueue(base_id: int) -> None:
    async_task(
        "knowledge.duplicates.find",
        base_id,
        group=f"duplicates:{base_id}",
        cluster=settings.Q_CLUSTER["name"],
        timeout=3600,
    )


def find_all() -> None:
    """Nightly: look at each base."""
    for pk in KnowledgeBase.objects.values_list("pk", flat=True):
        enqueue(pk)


def find(base_id: int) -> int:
    """Look for documents of a base that say the same; how many pairs. The dismissed stay so.

    Nothing while another process is at it.
    """
    with locking.held(f"duplicates:{base_id}") as alone:
        return _find(base_id) if alone else 0


def _find(base_id: int) -> int:
    chunks = Chunk.objects.filter(
        knowledge_base=base_id, enabled=True, document__retired_at=None
    ).order_by("pk")
    ids, documents, signatures = _signed(chunks)
    alike = _verified(_candidates(ids, documents, signatures))
    return _save(base_id, alike, Counter(documents.tolist()))


# --- looking ----------------------------------------------------------------------------


def _signed(
    chunks: QuerySet[Chunk],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    """Passages worth comparing, their documents and their signatures: parallel arrays."""
    from datasketch import MinHash  # takes a second

    common = _boilerplate(chunks)
    ids, documents, signatures = [], [], []
    blank = MinHash(BANDS * ROWS, seed=_SEED, hashfunc=zlib.crc32)
    for pk, document, text in _texts(chunks):
        if len(normal(text)) < SHORTEST or _digest(text) in common:
            continue
        signature = blank.copy()
        signature.update_batch(shingles(text))
        ids.append(pk)
        documents.append(document)
        signatures.append(signature.hashvalues.astype(np.uint32))
    width = BANDS * ROWS
    return np.array(ids, np.int64), np.array(documents, np.int64), (
        np.array(signatures, np.uint32).reshape(-1, width)
    )  # fmt: skip


def _texts(chunks: QuerySet[Chunk]) -> Iterator[tuple[int, int, str]]:
    rows = chunks.values_list("pk", "document", "question", "text").iterator(chunk_size=2000)
    return ((pk, document, f"{question}\n{text}") for pk, document, question, text in rows)


def _boilerplate(chunks: QuerySet[Chunk]) -> set[bytes]:
    holders: dict[bytes, set[int]] = defaultdict(set)
    for _pk, document, text in _texts(chunks):
        held = holders[_digest(text)]
        if len(held) <= COMMON:
            held.add(document)
    return {digest for digest, held in holders.items() if len(held) > COMMON}


def _digest(text: str) -> bytes:
    return hashlib.blake2b(normal(text).encode(), digest_size=12).digest()


def _candidates(
    ids: NDArray[np.int64], documents: NDArray[np.int64], signatures: NDArray[np.uint32]
) -> set[Pair]:
    """Pairs of passages of different documents that share a band of their signatures."""
    pairs: set[Pair] = set()
    for band in range(BANDS):
        part = np.ascontiguousarray(signatures[:, band * ROWS : (band + 1) * ROWS])
        keys = part.view(np.dtype((np.void, part.dtype.itemsize * ROWS))).ravel()
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1
        for group in np.split(order, edges):
            if len(group) > 1:
                pairs |= {
                    (int(ids[one]), int(ids[other]))
                    for one, other in combinations(sorted(group.tolist())[:CROWD], 2)
                    if documents[one] != documents[other]
                }
    return pairs


def _verified(pairs: set[Pair]) -> list[tuple[Pair, float]]:
    """Those that are alike indeed, with how much."""
    alike, ordered = [], sorted(pairs)
    for start in range(0, len(ordered), BATCH):
        some = ordered[start : start + BATCH]
        wanted = {pk for pair in some for pk in pair}
        runs = {pk: shingles(text) for pk, _, text in _texts(Chunk.objects.filter(pk__in=wanted))}
        alike += [
            (pair, share)
            for pair in some
            if runs.keys() >= set(pair)
            and (share := similarity(runs[pair[0]], runs[pair[1]])) >= ALIKE
        ]
    return alike


def _save(base_id: int, alike: Iterable[tuple[Pair, float]], sizes: Counter[int]) -> int:
    scored = dict(alike)
    owner = dict(
        Chunk.objects.filter(pk__in={pk for pair in scored for pk in pair}).values_list(
            "pk", "document"
        )
    )
    found: dict[Pair, list[tuple[Pair, float]]] = defaultdict(list)
    for (one, other), share in scored.items():
        if one in owner and other in owner:
            if owner[one] > owner[other]:
                one, other = other, one
            found[owner[one], owner[other]].append(((one, other), share))
    rows = [_row(base_id, pair, matches, sizes) for pair, matches in found.items()]
    rows.sort(key=lambda row: (-row.share, -row.passages))
    with transaction.atomic():
        kept = {(row.first_id, row.second_id) for row in rows[:PAIRS]}
        Similarity.objects.bulk_create(
            rows[:PAIRS],
            batch_size=500,
            update_conflicts=True,
            unique_fields=["first", "second"],
            update_fields=["passages", "share", "examples", "found_at"],
        )
        old = Similarity.objects.filter(knowledge_base=base_id, dismissed_at=None)
        gone = [pk for pk, *pair in old.values_list("pk", "first", "second")
                if tuple(pair) not in kept]  # fmt: skip
        Similarity.objects.filter(pk__in=gone).delete()
    return len(kept)


def _row(
    base_id: int, pair: Pair, matches: list[tuple[Pair, float]], sizes: Counter[int]
) -> Similarity:
    matches.sort(key=lambda match: -match[1])
    passages = min(len({one for (one, _), _ in matches}), len({other for (_, other), _ in matches}))
    return Similarity(
        knowledge_base_id=base_id,
        first_id=pair[0],
        second_id=pair[1],
        passages=passages,
        share=passages / min(sizes[pair[0]], sizes[pair[1]]),
        examples=[
            {"first": one, "second": other, "score": round(share, 3)}
            for (one, other), share in _telling(matches)[:EXAMPLES]
        ],
        found_at=timezone.now(),
    )


def _telling(matches: Sequence[tuple[Pair, float]]) -> list[tuple[Pair, float]]:
    """Enough of them that every passage is there, the best first."""
    seen: set[int] = set()
    kept = []
    for match in matches:
        if not seen.issuperset(match[0]):
            seen.update(match[0])
            kept.append(match)
    return kept


def dismiss(row: Similarity, user: User | None) -> None:
    row.dismissed_at, row.dismissed_by = timezone.now(), user
    row.save(update_fields=["dismissed_at", "dismissed_by"])


def undismiss(row: Similarity) -> None:
    row.dismissed_at = row.dismissed_by = None
    row.save(update_fields=["dismissed_at", "dismissed_by"])


# --- out of date ------------------------------------------------------------------------


def outdated(base_ids: Sequence[int], kind: str, days: int = AGES[1]) -> QuerySet[Document]:
    """Documents of bases that have expired, expire soon, are retired, were not touched for
    so many `days`, or have the title of another with a higher version."""
    documents = Document.objects.filter(knowledge_base__in=base_ids).select_related(
        "knowledge_base"
    )
    today = scope.today()
    if kind == "expired":
        return documents.filter(expires_on__lte=today).order_by("expires_on", "pk")
    if kind == "soon":
        soon = documents.filter(expires_on__gt=today, expires_on__lte=today + SOON)
        return soon.order_by("expires_on", "pk")
    if kind == "retired":
        return documents.exclude(retired_at=None).order_by(F("retired_at").desc(), "pk")
    if kind == "superseded":
        return documents.filter(pk__in=_superseded(documents)).order_by("title", "version", "pk")
    old = documents.filter(scope.answering(), updated_at__lt=timezone.now() - timedelta(days=days))
    return old.order_by("updated_at", "pk")


def _superseded(documents: QuerySet[Document]) -> list[int]:
    named: dict[tuple[int, str], list[tuple[list[int], int]]] = defaultdict(list)
    rows = documents.filter(scope.answering()).exclude(version="")
    for pk, base, title, version in rows.values_list("pk", "knowledge_base", "title", "version"):
        if numbers := list(map(int, _VERSION.findall(version))):
            named[base, scope.fold(title)].append((numbers, pk))
    return [
        pk for versions in named.values() for numbers, pk in versions if numbers < max(versions)[0]
    ]


def touch(documents: QuerySet[Document]) -> int:
    """Note that documents were looked at and are right; how many."""
    return documents.update(updated_at=timezone.now())
