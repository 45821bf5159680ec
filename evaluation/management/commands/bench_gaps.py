from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evaluation import gap_finding
from evaluation.question_sets import QuestionSet


class Command(BaseCommand):
    help = "How well questions are gathered into topics, on sets whose topics are known."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("set", type=Path, nargs="+", help="a folder with set.json")
        parser.add_argument("--topics", type=int, default=100, help="at most, of a set")
        parser.add_argument("--seed", type=int, default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        for folder in options["set"]:
            try:
                held = gap_finding.asked(QuestionSet(folder), options["topics"], options["seed"])
            except (OSError, ValueError) as error:
                raise CommandError(f"{folder}: {error}") from error
            self.stdout.write(f"### {folder.name}\n")
            if not held.questions:
                self.stdout.write("no document is asked about often enough")
                continue
            self.stdout.write("\n".join(gap_finding.report(held, gap_finding.measured(held))))
