"""`manage.py fit_ranking SET…`: the weights of `knowledge.ranking`, and what they are worth on sets
that they were not fitted on."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand

from evaluation import fitting
from evaluation.management.commands.evaluate import read, said, spread
from evaluation.question_sets import ingest
from knowledge import ranking


class Command(BaseCommand):
    help = "Fit how passages are ranked by letters, headings and questions, leaving each set out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "sets", nargs="+", type=Path, metavar="SET", help="folder with its set.json"
        )
        parser.add_argument("--limit", type=int, metavar="N", help="N questions of each set")

    def handle(self, *args: Any, **options: Any) -> None:
        sets = {}
        for questions in map(read, options["sets"]):
            base = ingest(questions).base
            asked = [one for one in questions.questions if one.gold]
            sets[questions.name] = fitting.cases(spread(asked, options["limit"]), base)
        weights = fitting.fit(list(sets.values()))
        for name, weight in zip(ranking.FEATURES, weights[1:], strict=True):
            self.stdout.write(f"{name:12}{weight:.2f}")
        self.stdout.write("| set | words alone | left out | half seen | seen | as shipped |")
        self.stdout.write("|---|---|---|---|---|---|")
        for name, cases in sets.items():
            figures = [
                fitting.measured(cases, np.eye(len(weights))[0]),
                fitting.left_out(sets, name),
                fitting.half_seen(sets, name),
                fitting.measured(cases, weights),
                fitting.measured(cases, np.array([1.0, *ranking.WEIGHTS])),
            ]
            cells = [" / ".join(map(said, of)) for of in figures]
            self.stdout.write(f"| {name} | {' | '.join(cells)} |")
