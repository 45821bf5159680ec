"""`manage.py bench_learning SET…`: how much better a base finds with what people confirmed."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation.learning_benchmark import PLACES, as_row, curve
from evaluation.question_sets import QuestionSet


class Command(BaseCommand):
    help = "Confirm some questions of sets, ask the others, and print the learning curve."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sets", type=Path, nargs="+", help="folders with set.json")
        parser.add_argument(
            "--pairs", type=int, nargs="+", default=[0, 50, 250, 500, 1000, 1360], metavar="N",
            help="so many confirmed questions",
        )  # fmt: skip
        parser.add_argument("--limit", type=int, metavar="N", help="ask about N of the others")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    def handle(self, *args: Any, **options: Any) -> None:
        rows: dict[str, list[dict[str, Any]]] = {}
        for folder in options["sets"]:
            try:
                questions = QuestionSet(folder)
                points = curve(questions, options["pairs"], options["limit"])
                self.stdout.write(f"{questions.name}: hit@{' / '.join(map(str, PLACES))}")
                for point in points:
                    rows.setdefault(questions.name, []).append(as_row(point))
                    self.show(rows[questions.name][-1])
            except (OSError, ValueError, KeyError) as error:
                raise CommandError(
                    _("%(folder)s is not a question set: %(error)s")
                    % {"folder": folder, "error": error}
                ) from error
        if options["json"]:
            options["json"].write_text(json.dumps(rows, indent=1) + "\n", "utf-8")

    def show(self, row: dict[str, Any]) -> None:
        parts = [
            f"{name} ({figures['questions']}) "
            + " / ".join(f"{figures[f'hit@{k}']:.3f}" for k in PLACES)
            for name, figures in row.items()
            if isinstance(figures, dict) and figures["questions"]
        ]
        head = f"{row['split']:>7} {row['pairs']:>5} pairs, weight {row['weight']:.1f}"
        self.stdout.write(f"{head}: {'; '.join(parts)}")
        self.stdout.flush()
