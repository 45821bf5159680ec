import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from opsdesk.diagnosis import Level, examine


class Command(BaseCommand):
    help = (
        "Look at everything OpsDesk depends on: a line each, and what to do. Fails when one does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="For programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = []
        styles = {Level.OK: self.style.SUCCESS, Level.WARN: self.style.WARNING}
        for finding in examine():
            found.append(finding)
            if not options["json"]:
                level = styles.get(finding.level, self.style.ERROR)(f"{finding.level:<5}")
                remedy = f" → {finding.remedy}" if finding.remedy else ""
                self.stdout.write(f"{level} {finding.subject:<12} {finding.message}{remedy}")
        if options["json"]:
            lines = [finding.as_json() for finding in found]
            self.stdout.write(json.dumps(lines, ensure_ascii=False, indent=1))
        if any(finding.level is Level.FAIL for finding in found):
            sys.exit(1)
