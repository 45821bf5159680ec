"""Fitting an adapter to the confirmed questions of a base, and keeping it up to date.

It is fitted again when enough has been confirmed, and at night. Passages that come in
meanwhile get their points within minutes; what was fitted before can be gone back to.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import scipy  # its parts are imported when they are used: they take a second
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Max
from django.utils import timezone
from django_q.tasks import async_task

from knowledge import adapting, confirmed, lexical, pacing, suggestions, terms, weighing, wire
from knowledge.adapting import Floats, Lesson, Numbers, Points, Projection, Text
from knowledge.models import (
    Adapter,
    AdapterVectors,
    Chunk,
    ConfirmedPair,
    KnowledgeBase,
    Lexicon,
)
from opsdesk import locking

log = logging.getLogger(__name__)

LEAST = 30  # confirmed questions: fewer teach nothing that holds for others
MOST = 5_000  # the latest ones
PASSAGES = 15_000  # learned from, those that answer and others at random
POINTS = 50_000  # passages at most that get a point, chosen in the same way
NEWS = 0.05  # share of confirmed questions that are new, from which on it is worth the while
QUIET = timedelta(minutes=5)  # after the last of them: who labels is not finished yet
KEPT = 5  # adapters of a base
BATCH = 2_000


# --- when -----------------------------------------------------------------------------


def learn_all() -> None:
    """Nightly: learn wherever anything was confirmed or taken out since."""
    for base in KnowledgeBase.objects.filter(learns=True):
        if _changed(base, 1):
            enqueue(base.pk)


def catch_up() -> None:
    """Every few minutes: learn where enough was confirmed, and give new passages their points."""
    for base in KnowledgeBase.objects.filter(learns=True):
        known = confirmed.counting(base).count()
        if _changed(base, max(1, round(NEWS * known)), QUIET):
            enqueue(base.pk)
        elif adapter := _outdated(base):
            with locking.held(f"learn:{base.pk}") as claimed:
                if claimed:
                    renew(adapter)


def enqueue(base_id: int, force: bool = False) -> None:
    """Queue the learning of a base; by `force` also when nothing changed."""
    async_task(
        "knowledge.learning.learn_task",
        base_id,
        force,
        group=f"learn:{base_id}",
        cluster=settings.Q_CLUSTER["name"],
    )


def learn_task(base_id: int, force: bool = False) -> None:
    """Task: learn, unless another worker is at it or has just done it."""
    with locking.held(f"learn:{base_id}") as claimed:
        base = KnowledgeBase.objects.filter(pk=base_id, learns=True).first()
        if claimed and base and (force or _changed(base, 1)):
            pacing.give_way()
            learn(base)


def _changed(base: KnowledgeBase, news: int, quiet: timedelta = timedelta(0)) -> bool:
    """Whether so many confirmed questions came or went since it learned, and then no more."""
    count, latest = _state(base)
    if count < LEAST and not base.adapters.filter(active=True).exists():
        return False
    known = confirmed.counting(base)
    seen = base.learned_until
    new = known.filter(created_at__gt=seen).count() if seen else count
    moved = max(new, abs(count - base.learned_from))
    return moved >= news and (latest is None or latest <= timezone.now() - quiet)


def _state(base: KnowledgeBase) -> tuple[int, datetime | None]:
    found = confirmed.counting(base).aggregate(latest=Max("created_at"), count=Count("pk"))
    return found["count"], found["latest"]


def _outdated(base: KnowledgeBase) -> Adapter | None:
    adapter = base.adapters.filter(active=True).select_related("vectors").first()
    return adapter if adapter and adapter.vectors.version != base.version else None


# --- learning -------------------------------------------------------------------------


def learn(base: KnowledgeBase) -> Adapter | None:
    """Fit an adapter to what is confirmed by now and let it count; None when that is too little,
    then none counts any more."""
    version = KnowledgeBase.objects.get(pk=base.pk).version
    count, latest = _state(base)
    held = material(base)
    itself = KnowledgeBase.objects.filter(pk=base.pk)
    itself.update(learned_from=count, learned_until=latest)  # whatever comes of it: see `_changed`
    if held is None:
        if base.adapters.filter(active=True).update(active=False):
            itself.raise_version()
        return None
    begin = adapting.start(held.lesson.passages)
    effect = adapting.cross_validated(held.lesson, begin)
    projection = adapting.fit(held.lesson, begin)
    points = _points(base, projection, held.pairs)
    with transaction.atomic():
        base.adapters.update(active=False)
        adapter = Adapter.objects.create(
            knowledge_base=base,
            active=True,
            pairs=len(held.pairs),
            latest=max(pair.created_at for pair in held.pairs),
            weight=effect.best,
            effect={
                "asked": len(held.pairs),
                "without": effect.hits(0.0),
                "with": effect.hits(effect.best),
            },
            projection=projection.to_bytes(),
        )
        AdapterVectors.objects.create(adapter=adapter, version=version, points=points.to_bytes())
        old = base.adapters.values_list("pk", flat=True)[KEPT:]
        base.adapters.filter(pk__in=list(old)).delete()
        suggestions.propose(base, held.pairs, held.texts)
        KnowledgeBase.objects.filter(pk=base.pk).raise_version()
        AdapterVectors.objects.filter(pk=adapter.pk).update(version=version + 1)
    log.info("%s learned from %d confirmed questions", base.slug, len(held.pairs))
    return adapter


def activate(adapter: Adapter) -> None:
    """Go back, or forward, to `adapter`; it counts until something new is learned."""
    with transaction.atomic():
        Adapter.objects.filter(knowledge_base=adapter.knowledge_base_id).update(active=False)
        Adapter.objects.filter(pk=adapter.pk).update(active=True)
        KnowledgeBase.objects.filter(pk=adapter.knowledge_base_id).raise_version()


def switch(base: KnowledgeBase, learns: bool) -> None:
    """Let a base learn, and what it learned count; or neither."""
    with transaction.atomic():
        KnowledgeBase.objects.filter(pk=base.pk).update(learns=learns)
        KnowledgeBase.objects.filter(pk=base.pk).raise_version()


def renew(adapter: Adapter) -> None:
    """Give passages that came in since their points, and take out those that are gone."""
    base = adapter.knowledge_base
    version = KnowledgeBase.objects.get(pk=base.pk).version
    pairs = _latest(base)
    points = _points(base, Projection.from_bytes(bytes(adapter.projection)), pairs)
    AdapterVectors.objects.update_or_create(
        adapter=adapter, defaults={"version": version, "points": points.to_bytes()}
    )


# --- what it is made of -----------------------------------------------------------------


def _latest(base: KnowledgeBase) -> list[ConfirmedPair]:
    return list(confirmed.counting(base).order_by("-pk")[:MOST])[::-1]


@dataclass(frozen=True)
class Material:
    pairs: list[ConfirmedPair]
    texts: list[str]  # of the passages that answer them, as they read without these questions
    lesson: Lesson


def material(base: KnowledgeBase, pairs: Sequence[ConfirmedPair] | None = None) -> Material | None:
    """The confirmed questions with the passages among which they are asked; None if too few.

    A question that stands in its own passage, as the other questions of an entry do, would
    teach nothing there: it is left out of it.
    """
    pairs = _latest(base)
    documents = dict(base.chunks.order_by("pk").values_list("pk", "document"))
    asked = {pair.document_id for pair in pairs}
    chosen = _chosen(documents, asked, PASSAGES)
    lexicon = Lexicon.objects.filter(pk=base.pk).first()
    if not chosen or lexicon is None:
        return None
    held = dict(_texts(chosen))
    stripped = _stripped(asked, pairs, lexicon.means)
    held |= {pk: text for pk, (text, _) in stripped.items() if pk in held}
    if len(held) < 2:
        return None
    chunks = np.array(sorted(held))
    groups = np.array([documents[pk] for pk in chunks])
    words = _words([pair.question for pair in pairs], [held[pk] for pk in chunks])
    kept, answers = _answers(pairs, chunks, groups, words)
    if len(kept) < LEAST:
        return None
    pairs = [pairs[row] for row in kept]
    lesson = Lesson(
        adapting.rows([held[pk] for pk in chunks]),
        adapting.rows([adapting.asked(pair.question) for pair in pairs]),
        answers,
        groups,
        words[kept],
    )
    shown = [stripped[int(chunks[row])][1] for row in answers]
    return Material(pairs, shown, lesson)


def _chosen(documents: dict[int, int], asked: set[int], most: int) -> list[int]:
    """All passages, or those of the documents asked for and others at random, `most` if there
    are no more of the former."""
    ours = [pk for pk, document in documents.items() if document in asked]
    others = np.array([pk for pk, document in documents.items() if document not in asked], int)
    room = max(0, most - len(ours))
    return ours + np.random.default_rng(0).permutation(others)[:room].tolist()


def _texts(chunks: Sequence[int]) -> Iterator[tuple[int, Text]]:
    """Passages by their terms, as they are indexed."""
    for start in range(0, len(chunks), BATCH):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT chunk_id, sparsevec_send(weights) FROM knowledge_chunkterms"
                " WHERE chunk_id = ANY(%s)",
                [list(chunks[start : start + BATCH])],
            )
            for pk, vector in cursor.fetchall():
                yield pk, wire.unpacked(vector)


def _stripped(
    documents: set[int], pairs: Sequence[ConfirmedPair], means: Sequence[float]
) -> dict[int, tuple[Text, str]]:
    """Passages of documents without the confirmed questions that stand in them."""
    said: dict[int, set[str]] = {}
    for pair in pairs:
        said.setdefault(pair.document_id, set()).add(pair.key)
    found = {}
    rows = Chunk.objects.filter(document__in=documents).select_related("document")
    for chunk in rows.iterator(chunk_size=BATCH):
        text = lexical.passage_text(chunk.document.title, chunk)
        keys = said[chunk.document_id]
        kept = [line for line in text.split("\n") if not line or confirmed.key(line) not in keys]
        bag = lexical.bag("\n".join(kept))
        found[chunk.pk] = (bag.keys, lexical.weights(bag, means)), "\n".join(kept)
    return found


def _words(questions: Sequence[str], passages: Sequence[Text]) -> Floats:
    """BM25 of every passage for every question, as `lexical` reckons it: questions × passages."""
    asked = [terms.query_terms(question) for question in questions]
    numbers = {
        weighing.key(view, term) for found in asked for view in found for term in found[view]
    }
    columns = np.array(sorted(numbers), np.int32)
    keys = np.concatenate([keys for keys, _ in passages])
    values = np.concatenate([values for _, values in passages])
    row = np.repeat(np.arange(len(passages)), [len(keys) for keys, _ in passages])
    wanted = np.isin(keys, columns)
    place = np.searchsorted(columns, keys[wanted])
    shape = (len(passages), len(columns))
    held = scipy.sparse.csr_matrix((values[wanted], (row[wanted], place)), shape=shape)
    counts = np.bincount(place, minlength=len(columns))
    weighed = [
        (at, np.searchsorted(columns, weighing.key(view, term)), share, weighing.VIEW_WEIGHTS[view])
        for at, found in enumerate(asked)
        for view, shares in found.items()
        for term, share in shares.items()
    ]
    worth = [
        share * weight * weighing.idf(int(counts[column]), len(passages))
        for _, column, share, weight in weighed
    ]
    at, column = [one[0] for one in weighed], [one[1] for one in weighed]
    shape = (len(questions), len(columns))
    return (scipy.sparse.csr_matrix((worth, (at, column)), shape=shape) @ held.T).toarray()


def _answers(
    pairs: Sequence[ConfirmedPair], chunks: Numbers, groups: Numbers, words: Floats
) -> tuple[list[int], Numbers]:
    """Which pairs still have a passage, and its row: the one that was meant, else the one of the
    document that says most of the question."""
    rows: dict[int, list[int]] = {}
    for row, document in enumerate(groups.tolist()):
        rows.setdefault(document, []).append(row)
    meant = _meant(pairs, chunks)
    kept, answers = [], []
    for at, pair in enumerate(pairs):
        if ours := rows.get(pair.document_id):
            best = max(ours, key=lambda row: words[at, row])
            kept.append(at)
            answers.append(meant.get((pair.document_id, pair.digest), best))
    return kept, np.array(answers, np.int64)


def _meant(pairs: Sequence[ConfirmedPair], chunks: Numbers) -> dict[tuple[int, str], int]:
    digests = {pair.digest for pair in pairs if pair.digest}
    known = Chunk.objects.filter(digest__in=digests).values_list("pk", "document", "digest")
    row = {int(pk): at for at, pk in enumerate(chunks)}
    return {(document, said): row[pk] for pk, document, said in known if pk in row}


def _points(base: KnowledgeBase, projection: Projection, pairs: Sequence[ConfirmedPair]) -> Points:
    """Passages of a base, and the confirmed questions of those that answer, as points."""
    documents = dict(base.chunks.order_by("pk").values_list("pk", "document"))
    ids = sorted(_chosen(documents, {pair.document_id for pair in pairs}, POINTS))
    held, found = [], []
    for start in range(0, len(ids), BATCH):
        texts = dict(_texts(ids[start : start + BATCH]))
        held += list(texts)
        found.append(projection.points(adapting.rows(list(texts.values()))))
    empty = np.empty((0, projection.matrix.shape[1]), np.float32)
    passages = np.concatenate([empty, *found])
    owners, asked = _owners(base, pairs, np.array(held, np.int64), passages, projection)
    return Points.of(
        np.concatenate([np.array(held, np.int64), owners]),
        np.concatenate([passages, adapting.CONFIRMED * asked]).astype(np.float32),
    )


def _owners(
    base: KnowledgeBase,
    pairs: Sequence[ConfirmedPair],
    chunks: Numbers,
    passages: Floats,
    projection: Projection,
) -> tuple[Numbers, Floats]:
    """The passage that each confirmed question belongs to, and its point."""
    documents = dict(base.chunks.values_list("pk", "document"))
    groups = np.array([documents.get(int(pk), 0) for pk in chunks])
    points = projection.points(adapting.rows([adapting.asked(pair.question) for pair in pairs]))
    rows: dict[int, list[int]] = {}
    for row, document in enumerate(groups.tolist()):
        rows.setdefault(document, []).append(row)
    meant = _meant(pairs, chunks)
    owners, kept = [], []
    for at, pair in enumerate(pairs):
        if ours := rows.get(pair.document_id):
            best = ours[int(np.argmax(passages[ours] @ points[at]))]
            owners.append(chunks[meant.get((pair.document_id, pair.digest), best)])
            kept.append(at)
    return np.array(owners, np.int64), points[kept]
