"""`manage.py bench_intents`: what the rules take a message for, without a model."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from chat import reading
from evaluation import intents


class Command(BaseCommand):
    help = "Measure how intents and moods are told by the rules, on labelled messages."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "files", type=Path, nargs="*", help="JSON Lines: text, intent; default: our own, held"
        )
        parser.add_argument(
            "--questions", type=Path, nargs="*", default=[],
            help="JSON Lines of questions, none of which may be taken for something else",
        )  # fmt: skip
        parser.add_argument("--wrong", action="store_true", help="list what was taken wrongly")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for file in options["files"] or [intents.DATA / "held.jsonl"]:
                self._labelled(file, options["wrong"])
            for file in options["questions"]:
                self._questions(file, options["wrong"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CommandError(
                _("%(file)s cannot be read: %(error)s") % {"file": file, "error": error}
            ) from error

    def _labelled(self, file: Path, wrong: bool) -> None:
        messages = intents.read(file)
        self.stdout.write(f"{file.name}: {len(messages)}\n")
        self._table(intents.confusion(messages), intents.INTENTS)
        self._table(intents.moods(messages), reading.MOODS)
        for one in messages if wrong else ():
            found = intents.told(one.text, answered=one.answered)
            if found != one.intent:
                self.stdout.write(f"{one.intent} → {found}: {one.text}")

    def _table(self, counts: Counter[tuple[str, str]], names: Sequence[str]) -> None:
        self.stdout.write(f"| | {' | '.join(names)} | precision | recall |")
        self.stdout.write(f"|---|{'---|' * (len(names) + 2)}")
        for name, precision, recall in intents.scores(counts, names):
            taken = " | ".join(str(counts[name, found]) for found in names)
            self.stdout.write(f"| {name} | {taken} | {precision:.3f} | {recall:.3f} |")
        self.stdout.write("")

    def _questions(self, file: Path, wrong: bool) -> None:
        texts = intents.questions(file)
        taken = intents.taken_for_others(texts, answered=True)
        share = len(taken) / len(texts) if texts else 0.0
        self.stdout.write(
            f"{file.parent.name}/{file.name}: {len(taken)} / {len(texts)} ({share:.4f})"
        )
        for text, intent in taken if wrong else ():
            self.stdout.write(f"{intent}: {text}")
