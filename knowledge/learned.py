"""What bases learned, asked with a question: how near passages are by their adapters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from knowledge import adapting
from knowledge.asked import standings
from knowledge.models import Adapter
from knowledge.scope import HIDDEN, Scope
from opsdesk.replicas import connection

BASES = 20  # whose adapters a process keeps, about 12 MB each


@dataclass(frozen=True)
class Boost:
    """An order of passages beside the other ones."""

    scores: dict[int, float]  # 0–1: half of what the cosine is above −1
    weight: float  # 0–1, of the z-scores of this order; what is left is for the others


NOTHING = Boost({}, 0.0)


@dataclass(frozen=True)
class _Held:
    made: tuple[object, ...]  # of which rows
    projection: adapting.Projection
    points: adapting.Points


_kept: dict[int, _Held] = {}  # by base
_lock = Lock()


def boost(
    question: str, base_ids: Sequence[int], found: Iterable[int], limit: int, scope: Scope
) -> Boost:
    """The passages nearest to a question, `limit` at most, and how near those are that were
    `found` otherwise. One that no adapter knows yet is as near as they are on average.

    Nothing where no base has learned anything that helps.
    """
    found = set(found)
    scores: dict[int, float] = {}
    weights = [0.0]
    for one in standings(base_ids):
        if one.adapter is None:
            continue
        pk, made, weight = one.adapter
        held = _adapter(one.base_id, pk, made)
        asked = held.projection.point(adapting.asked(question))
        if asked.any():
            scores |= _scores(*held.points.near(asked), found, limit)
            weights.append(weight)
    best = sorted(scores.keys() - found, key=lambda chunk: (-scores[chunk], chunk))[:limit]
    answering = found.union(_answering(best, base_ids, scope)) if best else found
    known = {chunk: score for chunk, score in scores.items() if chunk in answering}
    if not known:
        return NOTHING
    usual = float(np.mean(list(known.values())))
    return Boost({**dict.fromkeys(found, usual), **known}, max(weights))


def _scores(
    chunks: adapting.Numbers, near: adapting.Floats, found: set[int], limit: int
) -> dict[int, float]:
    """Of the nearest chunks, and of those found otherwise."""
    best = np.argsort(-near, kind="stable")[:limit]
    others = np.flatnonzero(np.isin(chunks, list(found)))
    chosen = np.union1d(best, others)
    shares = ((1 + near[chosen]) / 2).clip(0, 1)
    return dict(zip(chunks[chosen].tolist(), shares.tolist(), strict=True))


def _answering(chunks: Sequence[int], base_ids: Sequence[int], scope: Scope) -> list[int]:
    """Those that may answer."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH hidden AS MATERIALIZED ({HIDDEN}) SELECT chunk_id FROM knowledge_chunkterms"  # noqa: S608
            " WHERE chunk_id = ANY(%(chunks)s)"
            f" AND NOT EXISTS (SELECT FROM hidden WHERE hidden.id = chunk_id) {scope.condition}",
            {**scope.parameters(base_ids), "chunks": list(chunks)},
        )
        return [chunk for (chunk,) in cursor.fetchall()]


def _adapter(base_id: int, pk: int, made: object) -> _Held:
    held = _kept.get(base_id)
    if held and held.made == (pk, made):
        return held
    row = Adapter.objects.select_related("vectors").get(pk=pk)
    held = _Held(
        (pk, made),
        adapting.Projection.from_bytes(bytes(row.projection)),
        adapting.Points.from_bytes(bytes(row.vectors.points)),
    )
    with _lock:
        if len(_kept) >= BASES:
            _kept.clear()
        _kept[base_id] = held
    return held
