"""`manage.py bench_slips SET…`: what slips in questions cost, and what mending them gives back."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation import damage
from evaluation.management.commands.evaluate import spread
from evaluation.question_sets import QuestionSet, ingest


class Command(BaseCommand):
    help = "Damage the questions of sets by chance, and measure how well they are still found."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sets", type=Path, nargs="+", help="folders with set.json")
        parser.add_argument("--limit", type=int, metavar="N", help="ask N questions, spread evenly")
        parser.add_argument("--seed", type=int, default=1, help="of the slips")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    def handle(self, *args: Any, **options: Any) -> None:
        figures = {}
        for folder in options["sets"]:
            try:
                questions = QuestionSet(folder)
                asked = spread(questions.questions, options["limit"])
                base = ingest(questions).base
            except (OSError, ValueError, KeyError) as error:
                raise CommandError(
                    _("%(folder)s is not a question set: %(error)s")
                    % {"folder": folder, "error": error}
                ) from error
            figures[questions.name] = damage.measure(asked, base, options["seed"])
            self.stdout.write(f"{questions.name}\n")
            self.stdout.write(json.dumps(figures[questions.name], indent=1) + "\n")
        if options["json"]:
            options["json"].write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
