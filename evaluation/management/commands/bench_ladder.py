"""`manage.py bench_ladder SET`: what is answered, and how fast, while more and more fails."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from evaluation import ladder
from evaluation.management.commands.evaluate import read, spread
from evaluation.question_sets import ingest

COLUMNS = [
    "rung", "hit@1", "hit@5", "answered", "right", "named", "p50 ms", "p95 ms", "slowest ms",
]  # fmt: skip


class Command(BaseCommand):
    help = (
        "Ask a set's questions with everything, without the reranker, by words alone, without a"
        " model, and with nothing. What is not configured is a stand-in on loopback."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("set", type=Path, metavar="SET", help="folder with its set.json")
        parser.add_argument("--limit", type=int, metavar="N", help="ask N questions, spread evenly")

    def handle(self, *args: Any, **options: Any) -> None:
        questions = read(options["set"])
        base = ingest(questions).base
        asked = spread(questions.questions, options["limit"])
        stood_in = ladder.stood_in()
        self.stdout.write(f"{questions.name}, {len(asked)} questions; stand-ins: "
                          f"{', '.join(stood_in) or 'none'}\n")  # fmt: skip
        self.stdout.write(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
        try:
            with ladder.everything(base):
                for name in ladder.RUNGS:
                    rung = ladder.measure(name, base, asked, questions.exact_spans)
                    self.stdout.write(f"| {' | '.join(rung.row(asked))} |")
                    self.stdout.flush()
        except ValueError as error:
            raise CommandError(str(error)) from error
