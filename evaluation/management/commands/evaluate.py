"""`manage.py evaluate SET`: how well questions of a set are found, and answered."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation.question_sets import Question, QuestionSet, Reply, ask, ingest, judge, report
from knowledge.models import KnowledgeBase


class Command(BaseCommand):
    help = "Index a question set's corpus and measure retrieval, and answers, on its questions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("set", type=Path, help="folder with set.json")
        parser.add_argument("--answers", action="store_true", help="answer each question as well")
        parser.add_argument("--limit", type=int, metavar="N", help="ask N questions, spread evenly")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            questions = QuestionSet(options["set"])
            asked = spread(questions.questions, options["limit"])
            made = ingest(questions)
        except (OSError, ValueError, KeyError) as error:
            raise CommandError(
                _("%(folder)s is not a question set: %(error)s")
                % {"folder": options["set"], "error": error}
            ) from error
        found = [ask(question, made.base) for question in asked]
        replies = self.answer(questions, asked, made.base) if options["answers"] else []
        figures = report(found, replies, made)
        if options["json"]:
            options["json"].write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        self.show(figures)

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
                text = (
                    "–"
                    if number is None
                    else f"{number:.3f}"
                    if isinstance(number, float)
                    else number
                )
                self.stdout.write(f"{label:22}{text}")


def spread(questions: list[Question], limit: int | None) -> list[Question]:
    """`limit` of them from all over the set: its file may hold one kind after the other."""
    count = len(questions)
    if limit is None or limit >= count:
        return questions
    return [questions[number * count // limit] for number in range(limit)]
