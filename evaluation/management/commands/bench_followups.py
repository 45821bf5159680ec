"""`manage.py bench_followups FILE`: follow-ups completed without a model, beside simpler ways."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation import followups


class Command(BaseCommand):
    help = "Measure how follow-ups are completed, on dialogues that people completed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", type=Path, help="JSON Lines: history, follow_up, complete_question"
        )
        parser.add_argument("--second-half", action="store_true", help="every other dialogue only")

    def handle(self, *args: Any, file: Path, second_half: bool, **options: Any) -> None:
        try:
            dialogues = followups.read(file)[1 if second_half else 0 :: 2 if second_half else 1]
        except (OSError, ValueError, KeyError) as error:
            raise CommandError(
                _("%(file)s cannot be read: %(error)s") % {"file": file, "error": error}
            ) from error
        if not dialogues:
            raise CommandError(_("There is no dialogue in %(file)s.") % {"file": file})
        names = ["same", "right", "found", "F1"]
        self.stdout.write(f"| {len(dialogues)} | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for name, way in followups.WAYS.items():
            found = followups.measure(way, dialogues)
            self.stdout.write(f"| {name} | {' | '.join(f'{found[one]:.3f}' for one in names)} |")
