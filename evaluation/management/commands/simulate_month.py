"""`manage.py simulate_month`: do figures, certificates and pools hold what they claim?"""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError

from evaluation import simulation
from evaluation.management.commands.evaluate import read
from evaluation.simulation import Month, Raters

SETS = ("refusal_ops", "refusal_cmrc", "refusal_rgb")  # of OPSDESK_DATA: with unanswerable ones
ACCURACIES = (0.86, 0.88, 0.89, 0.90, 0.91, 0.92, 0.93, 0.94, 0.96)
GOAL = 0.90
COVERED = 0.93  # of the intervals at least
APART = 0.05  # that pools may be from what is known
# A verdict may be wrong in one of forty samples, and chance adds to that.
WRONG = 0.025


class Command(BaseCommand):
    help = "Draw, label and reckon samples of a month whose truth is known, again and again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--repetitions", type=int, default=1000, metavar="N")
        parser.add_argument("--size", type=int, default=400, metavar="N", help="items of a sample")
        parser.add_argument("--seed", type=int, default=7)
        parser.add_argument(
            "--sets", nargs="*", type=Path, metavar="SET",
            help="question sets of the second month; else those of OPSDESK_DATA",
        )  # fmt: skip
        parser.add_argument("--limit", type=int, metavar="N", help="ask N questions of each set")

    def handle(self, *args: Any, **options: Any) -> None:
        repetitions, seed, size = options["repetitions"], options["seed"], options["size"]
        chance = np.random.default_rng(seed)
        months = {"generated": simulation.generated(chance, 0.92)}
        if folders := self.folders(options["sets"]):
            from evaluation import traffic  # its imports take seconds

            kept = traffic.known([read(folder) for folder in folders], options["limit"])
            self.stdout.write(f"{len(kept)} questions asked\n")
            months["question sets"] = traffic.month(kept, chance, 20_000)
        missed = [
            complaint
            for name, month in months.items()
            for complaint in self.cover(name, month, size, repetitions, seed)
        ]
        missed += self.certify(size, repetitions, seed)
        if missed:
            raise CommandError("; ".join(missed))

    def folders(self, given: list[Path] | None) -> list[Path]:
        data = os.environ.get("OPSDESK_DATA")
        if given is None and data:
            return [Path(data) / "sets" / name for name in SETS]
        return given or []

    def cover(
        self, name: str, month: Month, size: int, repetitions: int, seed: int
    ) -> list[str]:  # fmt: skip
        """Write how often each interval held the truth; what did not as often as it says."""
        self.table(
            f"{name}, {len(month.kind):,} turns in {len(month.populations)} strata",
            ["sample", *simulation.FIGURES, "pooled less known recall"],
        )
        missed = []
        for design in simulation.designs(month, size):
            design.run(repetitions, seed)
            cells = [f"{design.name}, {design.size}"]
            for figure in simulation.FIGURES:
                of = design.figures[figure]
                cells.append(f"{of.share:.3f} (± {of.width / 2:.3f})")
                if of.share < COVERED:
                    missed.append(f"{name}, {design.name}: {figure} {of.share:.3f}")
            apart = design.figures["recall known"].bias
            cells.append(f"{apart * 100:+.1f} points")
            if abs(apart) > APART:
                missed.append(f"{name}, {design.name}: pooled recall {apart:+.3f}")
            self.row(cells)
        truth = " · ".join(f"{figure} {value:.3f}" for figure, value in month.truth.items())
        self.stdout.write(f"\ntruth: {truth} · known recall {month.known_recall:.3f}\n")
        return missed

    def certify(self, size: int, repetitions: int, seed: int) -> list[str]:
        self.table(
            f"verdicts on “accuracy ≥ {GOAL:.2f}”, {size} items",
            ["true accuracy", "pass", "not enough evidence", "fail", "wrong"],
        )
        most = WRONG + 3 * (WRONG * (1 - WRONG) / repetitions) ** 0.5
        missed = []
        for true in ACCURACIES:
            made = simulation.verdicts(true, size, GOAL, Raters(), repetitions, seed)
            wrong = made.wrong(GOAL)
            self.row([f"{true:.2f}", *(f"{one:.3f}" for one in (made.passed, made.open, made.failed, wrong))])  # fmt: skip  # noqa: E501
            if wrong > most:
                missed.append(f"certificates of a true {true:.2f} are wrong in {wrong:.3f}")
        return missed

    def table(self, title: str, head: list[str]) -> None:
        self.stdout.write(f"\n{title}\n\n")
        self.row(head)
        self.row(["---"] * len(head))

    def row(self, cells: list[str]) -> None:
        self.stdout.write(f"| {' | '.join(cells)} |")
