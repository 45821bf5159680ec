"""`manage.py fit_confidence SET…`: the shipped confidence, fitted anew and left one set out."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation import sureness
from evaluation.question_sets import QuestionSet
from knowledge import confidence

LIMIT = 700  # questions of a set
KINDS = ("answerable", "among", "first", "shown")


class Command(BaseCommand):
    help = (
        "Fit the confidence to question sets, and print how well a fit without a set, and without"
        " those that share documents with it, tells which of its questions can be answered."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sets", type=Path, nargs="+", help="folders with set.json")
        parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help="ask N of each")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sets = [QuestionSet(folder) for folder in options["sets"]]
            found = [sureness.cases(one, options["limit"]) for one in sets]
        except (OSError, ValueError, KeyError) as error:
            raise CommandError(
                _("%(folder)s is not a question set: %(error)s")
                % {"folder": ", ".join(map(str, options["sets"])), "error": error}
            ) from error
        figures = {}
        for one in found:
            rest = sureness.without(found, one)
            if rest:
                held = sureness.fit(rest)
                figures[one.name] = sureness.measured(held, sureness.fit_right(rest, held), one)
        shipped = {
            one.name: sureness.measured(confidence.SHIPPED, confidence.RIGHT, one) for one in found
        }
        model = sureness.fit(found)
        right = sureness.fit_right(found, confidence.SHIPPED)
        if options["json"]:
            made = {
                "left_out": figures,
                "shipped": shipped,
                "intercept": model.intercept,
                "coefficients": dict(model.coefficients),
                "right": {"intercept": right.intercept, "share": right.coefficients["share"]},
            }
            options["json"].write_text(json.dumps(made, indent=1) + "\n", "utf-8")
        self.stdout.write("Left out of the fitting")
        self.show(figures)
        self.stdout.write("\nAs shipped")
        self.show(shipped)
        weights = ", ".join(f"{name} {of:.2f}" for name, of in model.coefficients.items())
        self.stdout.write(f"\nFitted to all: {model.intercept:.2f}, {weights}")
        beside = right.intercept - confidence.SHIPPED.intercept
        share = right.coefficients["share"]
        self.stdout.write(f"Right, beside the shipped one: {beside:.2f}, share {share:.2f}")

    def show(self, figures: dict[str, Any]) -> None:
        for name, of in figures.items():
            auroc = "–" if of["auroc"] is None else f"{of['auroc']:.3f}"
            self.stdout.write(
                f"{name:14} {of['questions']:5} questions  AUROC {auroc}"
                f"  ECE {of['ece']:.3f}  Brier {of['brier']:.3f}"
            )
            rows = [f"{told:.2f}→{true:.2f}" for told, true, _share in of["reliability"]]
            self.stdout.write(f"    said→true {' '.join(rows)}")
            for name_of, kinds in (("thresholds", KINDS), ("right", ("answerable", "shown"))):
                for row in of[name_of]:
                    shares = " ".join(
                        f"{kind} {'–' if row[kind] is None else format(row[kind], '.3f')}"
                        for kind in kinds
                    )
                    self.stdout.write(
                        f"    {name_of} from {row['threshold']:.2f}:"
                        f" {row['coverage']:.3f} answered, {shares}"
                    )
