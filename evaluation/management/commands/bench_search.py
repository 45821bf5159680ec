"""`manage.py bench_search SET…`: size and speed of ranking by words at a number of chunks."""

import json
import math
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation import benchmark
from evaluation.question_sets import QuestionSet
from knowledge.lexical import CANDIDATES


class Command(BaseCommand):
    help = (
        "Measure ranking by words on chunks recombined from question sets, in a knowledge base"
        " that is removed afterwards. Wants a database with nothing else in it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sets", type=Path, nargs="+", help="folders with set.json")
        parser.add_argument("--chunks", type=int, default=20_000, metavar="N")
        parser.add_argument("--questions", type=int, default=100, metavar="N", help="at most")
        parser.add_argument(
            "--candidates", type=int, nargs="+", default=[CANDIDATES], metavar="N", help="to try"
        )
        parser.add_argument("--postings", action="store_true", help="try a postings table as well")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            figures = self.measure([QuestionSet(folder) for folder in options["sets"]], options)
        except (OSError, ValueError, KeyError) as error:
            raise CommandError(
                _("%(folder)s is not a question set: %(error)s")
                % {"folder": ", ".join(map(str, options["sets"])), "error": error}
            ) from error
        if options["json"]:
            options["json"].write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        for name, value in figures.items():
            parts = value if isinstance(value, dict) else {"": value}
            row = "  ".join(f"{part} {number:,.6g}".strip() for part, number in parts.items())
            self.stdout.write(f"{name:26}{row}")

    def measure(self, sets: list[QuestionSet], options: dict[str, Any]) -> dict[str, Any]:
        with benchmark.temporary_base() as base:
            figures = benchmark.fill(base, sets, options["chunks"])
            asked = benchmark.questions(base, sets, options["questions"])
            exact, times = benchmark.timed(benchmark.best(base, math.inf), asked)
            figures |= {"questions": len(asked), "exact": times}
            for number in options["candidates"]:
                found, times = benchmark.timed(benchmark.best(base, number), asked)
                figures[f"{number} candidates"] = times | benchmark.recall(found, exact)
            if options["postings"]:
                with benchmark.postings(base) as (rank, made):
                    found, times = benchmark.timed(rank, asked)
                figures["postings"] = made | times | benchmark.recall(found, exact)
        return figures
