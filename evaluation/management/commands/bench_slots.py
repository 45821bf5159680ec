"""`manage.py bench_slots [FILE]`: what customers tell, found and asked for without a model."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation import slot_filling


class Command(BaseCommand):
    help = "Measure on dialogues that we wrote how slots are filled; with --misses say where not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, nargs="?", help="JSON Lines instead of our own")
        parser.add_argument(
            "--issues", type=Path, help="JSON Lines with a title: what is asked back"
        )
        parser.add_argument("--misses", action="store_true", help="say what was not right")

    def handle(
        self, *args: Any, file: Path | None, issues: Path | None, misses: bool, **options: Any
    ) -> None:
        settings.UNDERSTAND_SECONDS = 0  # no model is asked in this process
        if issues:
            self._issues(issues, misses)
            return
        files = [file] if file else sorted(slot_filling.DATA.glob("*.jsonl"))
        names = ["messages", "topic", "precision", "recall", "questions back"]
        self.stdout.write(f"| dialogues | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for one in files:
            try:
                dialogues = slot_filling.read(one)
                made = slot_filling.measure(dialogues, slot_filling.topics())
            except (OSError, ValueError, KeyError) as error:
                raise CommandError(
                    _("%(file)s cannot be read: %(error)s") % {"file": one, "error": error}
                ) from error
            self.stdout.write(
                f"| {one.stem} | {made.messages} | {made.share('topic', 'topics'):.3f} | "
                f"{made.share('right', 'taken'):.3f} | {made.share('right', 'told'):.3f} | "
                f"{sum(made.asked) / max(1, len(made.asked)):.2f} |"
            )
            for miss in made.misses if misses else ():
                self.stdout.write(f"  {miss}")

    def _issues(self, file: Path, misses: bool) -> None:
        data = slot_filling.DATA
        ways = {
            "no topic": [],
            "topics of the dialogues": slot_filling.topics(),
            "a topic for them": slot_filling.topics(data / "issues_topic.json"),
        }
        titles = slot_filling.issues(file)
        names = ["of a topic", "topic", "vague", "searched", "values"]
        self.stdout.write(f"| {len(titles)} | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for way, known in ways.items():
            made = slot_filling.asked_back(titles, known)
            counts = " | ".join(str(made["counts"][name]) for name in names)
            self.stdout.write(f"| {way} | {counts} |")
            for message, kind, values in made["replies"] if misses else ():
                self.stdout.write(f"  {kind}: {message!r} {values or ''}")
