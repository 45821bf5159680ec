"""How search and ingest grow: words, vectors and both, beside libraries in this process.

Everything is asked through the product's own path (`evaluation.recombined` has the data).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from django.conf import settings
from django.core.files import File
from django.db import connection, transaction
from django_q.models import OrmQ
from numpy.typing import NDArray

from evaluation import references
from evaluation.metrics import mean, percentile, recall_at
from evaluation.recombined import DOCUMENT, PRODUCT, RARE, Corpus, Texts, chunks_of
from knowledge import (
    dense,
    indexing,
    lexical,
    parsing,
    retrieval,
    scope,
    tasks,
    uploading,
    weighing,
)
from knowledge.models import Chunk, KnowledgeBase, Revision, Status
from opsdesk.replicas import in_binary

TOP = 10
PAGES = 200  # that are read in one turn
REAL = {".pdf", ".docx", ".xlsx", ".pptx", ".xls", ".html", ".txt"}
REAL_BYTES = 200_000  # larger ones take minutes

Times = list[float]  # milliseconds


@dataclass
class Measured:
    """One way of finding, with or without the filter."""

    way: str
    inside: str
    times: Times
    beside: Times
    recall: float | None

    def row(self) -> list[str]:
        """p50, p95 in ms; the same of the reference; how many times as long; recall@10."""
        mine, other = p(self.times), p(self.beside)
        ratios = [f"{a / b:.1f}" for a, b in zip(mine, other, strict=True)]
        recall = "–" if self.recall is None else f"{self.recall:.3f}"
        return [
            self.way, self.inside, *(f"{ms:.1f}" for ms in (*mine, *other)), *ratios, recall,
        ]  # fmt: skip


@dataclass
class Size:
    """What was measured with so many chunks."""

    chunks: int
    figures: dict[str, float] = field(default_factory=dict)
    rows: list[Measured] = field(default_factory=list)
    plans: dict[str, list[str]] = field(default_factory=dict)  # how embeddings are looked at


def p(times: Times) -> tuple[float, float]:
    return percentile(times, 0.5) or 0.0, percentile(times, 0.95) or 0.0


# --- asking -------------------------------------------------------------------------


def measure(base: KnowledgeBase, corpus: Corpus, chunks: int, say: Callable[[str], None]) -> Size:
    """Every way of finding at one size; the base holds so many chunks and an index answers."""
    size = Size(chunks)
    say(f"{chunks:,}: building the references")
    words, graph = references.Words(corpus.bags), references.Graph(corpus.vectors)
    size.figures |= {
        "bm25s s": words.seconds, "bm25s MB": words.megabytes,
        "faiss s": graph.seconds, "faiss MB": graph.megabytes,
    }  # fmt: skip
    place = {chunk: n for n, chunk in enumerate(chunks_of(base))}
    numbers = np.arange(chunks) // DOCUMENT % RARE == 0
    for named, within, inside in (
        ("–", scope.EVERYTHING, None),
        ("1 %", scope.Scope(product=PRODUCT), numbers),
    ):
        say(f"{chunks:,}: asking, filter {named}")
        asking = _Asking(base, corpus, within, inside, place)
        asking.equal(graph)
        size.plans[named] = plans(base, corpus.questions[0], within)
        exact = asking.exact()
        for way, mine, beside in asking.ways(words, graph):
            found, times = _timed(mine, corpus.questions)
            _, others = _timed(beside, corpus.questions)
            share = mean(
                recall_at(TOP, one, gold[:TOP])
                for one, gold in zip(found, exact[way], strict=True)
                if gold
            )
            size.rows.append(Measured(way, named, times, others, share))
    return size


class _Asking:
    """The same question asked in all ways; what is found are places in the corpus."""

    def __init__(
        self,
        base: KnowledgeBase,
        corpus: Corpus,
        within: scope.Scope,
        inside: NDArray[np.bool_] | None,
        place: dict[int, int],
    ) -> None:
        self.base, self.corpus, self.within, self.inside = base, corpus, within, inside
        self.place = place
        self.vector = dict(zip(corpus.questions, corpus.asked, strict=True))

    def words(self, question: str) -> list[int]:
        asked = weighing.query(question, [self.base.pk])
        found = lexical.best(asked, [self.base.pk], retrieval.CANDIDATES, scope=self.within)
        return [self.place[chunk] for chunk in found]

    def dense(self, question: str) -> list[int]:
        near = dense.nearest_in(
            question, [self.base.pk], retrieval.CANDIDATES, self.within
        ).stages.get("dense", {})
        order = sorted(near, key=lambda chunk: -near[chunk])
        return [self.place[chunk] for chunk in order]

    def hybrid(self, question: str) -> list[int]:
        found = retrieval.search(question, [self.base], TOP, self.within)
        return [self.place[passage.chunk_id] for passage in found.passages]

    def ways(
        self, words: references.Words, graph: references.Graph
    ) -> Iterator[tuple[str, Callable[[str], list[int]], Callable[[str], list[int]]]]:
        def best(question: str) -> references.Found:
            return words.best(question, retrieval.CANDIDATES, self.inside)

        def near(question: str) -> references.Found:
            return graph.nearest(self.vector[question], retrieval.CANDIDATES, self.inside)

        yield "words", self.words, lambda question: list(best(question))
        yield "vectors", self.dense, lambda question: list(near(question))
        yield (
            "both",
            self.hybrid,
            lambda question: references.fuse(best(question), near(question)),
        )

    def exact(self) -> dict[str, list[list[int]]]:
        """What each way finds when every chunk is looked at."""
        every = float("inf")
        with patch.multiple(lexical, EXACT_CHUNKS=every, EXACT_INSIDE=every), _without_graph():
            return {
                way: [ask(question) for question in self.corpus.questions]
                for way, ask in
                (("words", self.words), ("vectors", self.dense), ("both", self.hybrid))
            }  # fmt: skip

    def equal(self, graph: references.Graph) -> None:
        """Let the reference look as far as it must to find as much as the product does."""
        with _without_graph():
            gold = [self.dense(question)[:TOP] for question in self.corpus.questions]

        def recall(ask: Callable[[str], list[int]]) -> float:
            found = map(ask, self.corpus.questions)
            return mean(recall_at(TOP, one, g) for one, g in zip(found, gold, strict=True)) or 0.0

        def beside(question: str) -> list[int]:
            return list(graph.nearest(self.vector[question], retrieval.CANDIDATES, self.inside))

        graph.reach_for(recall(self.dense), lambda: recall(beside))


def _timed(
    ask: Callable[[str], list[int]], questions: Sequence[str]
) -> tuple[list[list[int]], Times]:
    found, times = [], []
    for question in questions:  # references are in memory: so is what is read then
        ask(question)
    for question in questions:
        start = time.perf_counter()
        found.append(ask(question))
        times.append((time.perf_counter() - start) * 1000)
    return found, times


@contextmanager
def _without_graph() -> Iterator[None]:
    """Index scans give the graph's order: without them every vector is looked at. In a transaction,
    where all is read by one connection."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_indexscan = off")
        yield
        cursor.execute("SET LOCAL enable_indexscan = on")


def plans(base: KnowledgeBase, question: str, within: scope.Scope = scope.EVERYTHING) -> list[str]:
    """How a search looks at embeddings: the plan of each statement under the settings it has."""
    seen: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "FROM knowledge_embedding" in sql and "<=>" in sql:
            with in_binary() as cursor:
                cursor.cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
                seen.extend(_scans(list(cursor.cursor.fetchone())))
        return execute(sql, params, many, context)

    # In a transaction all is read by one connection.
    with transaction.atomic(), connection.execute_wrapper(explain):
        retrieval.search(question, [base], TOP, within)
    return seen


def is_full(scan: str) -> bool:
    """Whether a scan looks at the whole table."""
    return scan.startswith(("Seq Scan", "Parallel Seq Scan"))


def _scans(plan: Any) -> Iterator[str]:
    if isinstance(plan, list):
        for part in plan:
            yield from _scans(part)
    elif isinstance(plan, dict):
        if plan.get("Relation Name") == "knowledge_embedding":
            yield f"{plan['Node Type']} {plan.get('Index Name', '')}".strip()
        for part in plan.values():
            yield from _scans(part)


# --- bringing in --------------------------------------------------------------------


def ingest(base: KnowledgeBase, sets: Sequence[Texts], pages: int) -> dict[str, float]:
    """Chunks a second of Markdown pages through as many workers as there are, beside reading,
    cutting and term counting alone, by one process; in turns, so that both meet the same
    machine."""
    rows = [row for one in sets for row in one.rows if len(row.text) < tasks.LIGHT_BYTES // 4]
    return _beside(
        [uploading.add_text(base, text=row.text, title=row.title or row.id, approved=True).revision
         for row in rows[:pages]],
        PAGES,
        settings.Q_CLUSTER["workers"],
    )  # fmt: skip


def ingest_files(base: KnowledgeBase, folder: Path) -> dict[str, float]:
    """The same of real documents, one after the other: PDF, Office, web pages and text of up to
    REAL_BYTES, without pictures alone. Reading them is real work."""
    added = []
    for path in sorted(folder.iterdir()):
        if path.suffix in REAL and path.stat().st_size <= REAL_BYTES:
            with path.open("rb") as file:
                added.append(
                    uploading.add(base, file=File(file), name=path.name, approved=True).revision
                )
    return _beside(added, 1, 1)


def _beside(added: Sequence[Revision], together: int, workers: int) -> dict[str, float]:
    queued = {tasks.GROUP % revision.pk for revision in added}
    for task in OrmQ.objects.all():  # nobody else is to read them
        if task.group() in queued:
            task.delete()
    reading = whole = inside = 0.0
    with _workers(workers) as process:
        for first in range(0, len(added), together):
            some = added[first : first + together]
            _read(some)  # the first who does finds files, libraries and models on the disk
            steps = [_read, process]
            if first // together % 2:
                steps.reverse()
            for step in steps:
                start = time.perf_counter()
                inside += step(some) or 0
                seconds = time.perf_counter() - start
                if step is _read:
                    reading += seconds
                else:
                    whole += seconds
    ids = [revision.pk for revision in added]
    if Revision.objects.filter(pk__in=ids).exclude(status=Status.READY).exists():
        raise ValueError("not every page could be read")
    chunks = Chunk.objects.filter(revision__in=ids).count()
    return {
        "documents": len(added), "chunks": chunks, "workers": workers,
        "parse-only, chunks/s": chunks / reading, "ingest, chunks/s": chunks / whole,
        "ratio": reading / whole, "reading's share of ingest": inside / whole / workers,
    }  # fmt: skip


@contextmanager
def _workers(number: int) -> Iterator[Callable[[Sequence[Revision]], float]]:
    """Has revisions processed by so many processes, which take one after the other as those of a
    cluster do and keep their connections; gives the seconds that these read, cut and counted."""
    connection.close()  # each has its own
    with (
        patch.dict(connection.settings_dict, CONN_MAX_AGE=None),
        ProcessPoolExecutor(number, get_context("fork")) as pool,
    ):
        yield lambda revisions: sum(pool.map(_process, [revision.pk for revision in revisions]))


def _read(revisions: Sequence[Revision]) -> None:
    """Read, cut and count the terms: no worker's time."""
    for revision in revisions:
        parsed = parsing.parse(Path(revision.file.path), revision.name)
        indexing.prepare(revision.document.title, parsed)


def _process(revision_id: int) -> float:
    with _clocked() as clock:
        tasks.process(revision_id)
    return clock.seconds


@dataclass
class _Clock:
    seconds: float = 0.0  # that were spent on reading, cutting and counting

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.perf_counter() - start

        return call


@contextmanager
def _clocked() -> Iterator[_Clock]:
    """The same file takes longer or shorter from one reading to the next: this tells of one."""
    clock = _Clock()
    parse, prepare = clock.timed(parsing.parse), clock.timed(indexing.prepare)
    with patch.object(parsing, "parse", parse), patch.object(indexing, "prepare", prepare):
        yield clock
