"""A folder with a corpus and questions: read, indexed in a knowledge base of its own, measured."""

import hashlib
import json
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from evaluation.metrics import (
    auroc,
    distinct,
    hit_at,
    mean,
    percentile,
    recall_at,
    reciprocal_rank,
)
from knowledge import (
    chunking,
    indexing,
    lexical,
    pieces,
    postings,
    retrieval,
    sentences,
    terms,
    vocabulary,
    weighing,
)
from knowledge.models import Chunk, Document, KnowledgeBase, Lexicon, Revision
from knowledge.parsing import markdown

PASSAGES = 50  # asked for, so that ten distinct documents are among them
BATCH = 1000  # documents indexed in one transaction
PROCESSES = 2
LONGEST_USUAL_SPAN = 50  # characters of the median answer
# What decides how a text is indexed: when one of these files changes, so does every base.
CUTTING = (markdown, pieces, sentences, chunking, terms, lexical, weighing)


@dataclass(frozen=True)
class Row:
    """A document of the corpus."""

    id: str
    title: str
    text: str  # Markdown


@dataclass(frozen=True)
class Question:
    id: str
    text: str
    gold: frozenset[str]  # ids of the documents that answer it
    answers: tuple[str, ...]
    answerable: bool


class QuestionSet:
    """The folder that holds `set.json`. Raises OSError or ValueError when it is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.about: dict[str, Any] = json.loads((folder / "set.json").read_text("utf-8"))

    @cached_property
    def rows(self) -> list[Row]:
        where = self.about.get("where", {}).items()
        return [
            Row(row["id"], row["title"], row["text"])
            for file in self.about["corpus"]
            for row in _lines(self.folder / file)
            if all(row.get(name) == value for name, value in where)
        ]

    @cached_property
    def questions(self) -> list[Question]:
        return [
            Question(
                row["id"],
                row["question"],
                frozenset(row["gold"]),
                tuple(row["answers"]),
                row["answerable"],
            )
            for row in _lines(self.folder / self.about["questions"])
        ]

    @cached_property
    def exact_spans(self) -> bool:
        """Whether `answers` are the exact words to show; else whole answers, any part will do."""
        lengths = sorted(len(answer) for question in self.questions for answer in question.answers)
        return bool(lengths) and lengths[len(lengths) // 2] <= LONGEST_USUAL_SPAN

    @cached_property
    def slug(self) -> str:
        """Of the knowledge base that holds this corpus, indexed by this code."""
        digest = hashlib.sha256()
        for module in CUTTING:
            digest.update(Path(str(module.__file__)).read_bytes())
        for row in self.rows:
            digest.update(f"{row.id}\0{row.title}\0{row.text}\0".encode())
        return f"{self.prefix}{digest.hexdigest()[:12]}"

    @property
    def prefix(self) -> str:
        return f"evaluate-{self.name.lower().replace('_', '-')}-"


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


# --- indexing -----------------------------------------------------------------------


@dataclass(frozen=True)
class Ingest:
    base: KnowledgeBase
    chunks_per_s: float | None  # None when everything was there from an earlier run


def ingest(questions: QuestionSet) -> Ingest:
    """The set's knowledge base, with whatever is missing of its corpus put in."""
    KnowledgeBase.objects.filter(slug__regex=f"^{questions.prefix}[0-9a-f]{{12}}$").exclude(
        slug=questions.slug
    ).delete()
    base, _created = KnowledgeBase.objects.get_or_create(
        slug=questions.slug,
        defaults={
            "name": questions.folder.name,
            "description": questions.about.get("about", ""),
            "audience": KnowledgeBase.Audience.GROUPS,  # of which it has none: nobody's answers
        },
    )
    there = set(Document.objects.filter(knowledge_base=base).values_list("external_id", flat=True))
    missing = [row for row in questions.rows if row.id not in there]
    # In no order, so that the first documents are as long as the last: else all are weighed twice.
    missing.sort(key=lambda row: hashlib.sha256(row.id.encode()).digest())
    if not missing:
        vocabulary.catch_up(base.pk)
        return Ingest(base, None)
    before, start = Chunk.objects.filter(knowledge_base=base).count(), time.perf_counter()
    # Cutting texts into chunks and terms keeps one processor busy, the database another.
    with ProcessPoolExecutor(PROCESSES, get_context("fork")) as pool:
        prepared = pool.map(_prepare, missing, chunksize=20)
        for rows in _batches(missing):
            _put(base, [(row, next(prepared)) for row in rows])
    indexing.renew(base)
    postings.merge(base.pk)
    added = Chunk.objects.filter(knowledge_base=base).count() - before
    seconds = time.perf_counter() - start
    vocabulary.catch_up(base.pk)
    return Ingest(base, added / seconds)


def _prepare(row: Row) -> indexing.Prepared:
    return indexing.prepare(row.title, markdown.parse(row.text))


@transaction.atomic
def _put(base: KnowledgeBase, rows: Sequence[tuple[Row, indexing.Prepared]]) -> None:
    documents = Document.objects.bulk_create(
        Document(
            knowledge_base=base,
            title=row.title[:500],
            external_id=row.id,
            origin=Document.Origin.INGEST,
            approved_at=timezone.now(),
        )
        for row, _ in rows
    )
    revisions = []
    for document, (row, _) in zip(documents, rows, strict=True):
        text = row.text.encode()
        revision = Revision(
            document=document,
            name=f"{row.title[:200] or row.id}.md",
            media_type="text/markdown",
            size=len(text),
            sha256=hashlib.sha256(text).hexdigest(),
        )
        revision.file.save(revision.name, ContentFile(text), save=False)
        revisions.append(revision)
    Revision.objects.bulk_create(revisions)
    latest = Revision.objects.filter(document=OuterRef("pk"))
    Document.objects.filter(pk__in=[document.pk for document in documents]).update(
        latest=Subquery(latest.values("pk"))
    )
    indexing.put_all([(revision, it) for revision, (_, it) in zip(revisions, rows, strict=True)])


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


# --- measuring ----------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What retrieval made of a question."""

    question: Question
    ranking: list[str]  # distinct documents, best first
    kept: frozenset[str]  # documents of which an answer may be made
    confidence: float
    milliseconds: float


@dataclass(frozen=True)
class Reply:
    """What was answered to a question, or offered instead, if anything."""

    question: Question
    answered: bool
    correct: bool
    offered: bool = False  # a choice of documents
    among: bool = False  # whether one that answers is among these


def ask(question: Question, base: KnowledgeBase) -> Asked:
    start = time.perf_counter()
    found = retrieval.search(question.text, [base], top_k=PASSAGES)
    milliseconds = (time.perf_counter() - start) * 1000
    ranking = distinct(passage.external_id for passage in found.passages)
    kept = frozenset(passage.external_id for passage in found.kept)
    return Asked(question, ranking, kept, found.confidence, milliseconds)


def judge(
    question: Question, outcome: str, text: str, cited: Iterable[str], exact_spans: bool
) -> Reply:
    """Correct: answerable, cites a gold document and, with exact spans, shows one of them. What
    asks back and cites offers a choice."""
    cited = set(cited)
    answered = outcome == "answered"
    shown = not (exact_spans and question.answers) or any(
        plain(answer) in plain(text) for answer in question.answers
    )
    among = question.answerable and not question.gold.isdisjoint(cited)
    offered = outcome == "clarifying" and bool(cited)
    return Reply(question, answered, answered and among and shown, offered, offered and among)


def plain(text: str) -> str:
    """Letters and digits alone: marks, spaces and width make no difference to what is shown."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def report(asked: Sequence[Asked], replies: Sequence[Reply], made: Ingest) -> dict[str, Any]:
    """The measures by the names that `evaluate --json` writes."""
    hits = [one for one in asked if one.question.gold]
    times = [one.milliseconds for one in asked]
    answered = [reply for reply in replies if reply.answered]
    offered = [reply for reply in replies if reply.offered]
    kept = {one.question.id: one.kept for one in asked}

    def over(measure: Callable[[int, list[str], frozenset[str]], float], k: int) -> float | None:
        return mean(measure(k, one.ranking, one.question.gold) for one in hits)

    lexicon = Lexicon.objects.filter(pk=made.base.pk).first()
    return {
        "hit@1": over(hit_at, 1),
        "hit@5": over(hit_at, 5),
        "hit@10": over(hit_at, 10),
        "recall@5": over(recall_at, 5),
        "mrr@10": over(reciprocal_rank, 10),
        "auroc": auroc(
            [one.confidence for one in asked if one.question.answerable],
            [one.confidence for one in asked if not one.question.answerable],
        ),
        "answered": len(answered) / len(replies) if replies else None,
        "precision": mean(reply.correct for reply in answered),
        "answerable": mean(reply.question.answerable for reply in answered),
        "found": mean(
            reply.question.answerable
            and not reply.question.gold.isdisjoint(kept[reply.question.id])
            for reply in answered
        ),
        "offered": len(offered) / len(replies) if replies else None,
        "among": mean(reply.among for reply in offered),
        "ingest_chunks_per_s": made.chunks_per_s,
        "search_ms": {"p50": percentile(times, 0.5), "p95": percentile(times, 0.95)},
        "documents": Document.objects.filter(knowledge_base=made.base).count(),
        "chunks": lexicon.chunks if lexicon else 0,
        "questions": len(asked),
    }
