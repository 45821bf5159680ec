"""`manage.py evaluate SET…`: how well questions of sets are found, and answered."""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation.question_sets import Question, QuestionSet, Reply, ask, ingest, judge, report
from knowledge.models import KnowledgeBase

COLUMNS = {
    "hit@1": "hit@1",
    "hit@5": "hit@5",
    "hit@10": "hit@10",
    "recall@5": "recall@5",
    "mrr@10": "MRR@10",
    "auroc": "AUROC of the confidence",
    "answered": "answered",
    "answerable": "the base has an answer",
    "found": "a gold document found",
    "precision": "precision",
    "offered": "offered a choice",
    "among": "a gold one offered",
}
SIZES = ("documents", "chunks", "questions")


class Command(BaseCommand):
    help = "Index question sets' corpora and measure retrieval, and answers, on their questions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "sets", nargs="+", type=Path, metavar="SET", help="folder with its set.json"
        )
        parser.add_argument("--answers", action="store_true", help="answer each question as well")
        parser.add_argument("--limit", type=int, metavar="N", help="ask N questions, spread evenly")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
        parser.add_argument("--markdown", action="store_true", help="a table in Markdown")

    def handle(self, *args: Any, **options: Any) -> None:
        sets = [read(folder) for folder in options["sets"]]
        figures: dict[str, dict[str, Any]] = {}
        for questions in sets:
            figures[questions.name] = self.measure(questions, options)
            if options["json"]:  # after each, since a run of all takes long
                written = figures if len(sets) > 1 else figures[questions.name]
                options["json"].write_text(json.dumps(written, indent=1) + "\n", "utf-8")
            if len(sets) > 1:
                self.stderr.write(questions.name)
        if options["markdown"] or len(sets) > 1:
            self.stdout.write(table(figures))
        else:
            self.show(*figures.values())

    def measure(self, questions: QuestionSet, options: dict[str, Any]) -> dict[str, Any]:
        made = ingest(questions)
        asked = spread(questions.questions, options["limit"])
        found = [ask(question, made.base) for question in asked]
        replies = self.answer(questions, asked, made.base) if options["answers"] else []
        return report(found, replies, made)

    def answer(
        self, questions: QuestionSet, asked: list[Question], base: KnowledgeBase
    ) -> list[Reply]:
        from chat.graph import answer_question  # its imports take seconds

        replies = []
        for question in asked:
            given = answer_question(question.text, [base])
            cited = [citation["external_id"] for citation in given.citations]
            replies.append(judge(question, given.outcome, given.text, cited, questions.exact_spans))
        return replies

    def show(self, figures: dict[str, Any]) -> None:
        for name, value in figures.items():
            parts = value.items() if isinstance(value, dict) else [("", value)]
            for part, number in parts:
                label = f"{name} {part}".strip()
                self.stdout.write(f"{label:22}{said(number, '–')}")


def read(folder: Path) -> QuestionSet:
    """Raises CommandError where there is none, before any is measured."""
    try:
        questions = QuestionSet(folder)
        questions.slug, questions.questions  # noqa: B018  reads its files
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(
            _("%(folder)s is not a question set: %(error)s") % {"folder": folder, "error": error}
        ) from error
    return questions


def table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures of several sets in Markdown, as docs/retrieval.md has them."""
    head = ["set", *COLUMNS.values(), "search p50 / p95 ms", " / ".join(SIZES)]
    rows = [
        [
            name,
            *(said(of[column]) for column in COLUMNS),
            f"{of['search_ms']['p50']:.0f} / {of['search_ms']['p95']:.0f}",
            " / ".join(f"{of[size]:,}" for size in SIZES),
        ]
        for name, of in figures.items()
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def said(number: float | None, nothing: str = "") -> str:
    if number is None:
        return nothing
    return f"{number:.3f}".removeprefix("0") if isinstance(number, float) else str(number)


def spread(questions: list[Question], limit: int | None) -> list[Question]:
    """`limit` of them from all over the set: its file may hold one kind after the other."""
    count = len(questions)
    if limit is None or limit >= count:
        return questions
    return [questions[number * count // limit] for number in range(limit)]
