"""`manage.py parse FILE`: what OpsDesk reads in a file."""

import json
import sys
from argparse import ArgumentParser
from getpass import getpass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from knowledge.models import Tier
from knowledge.parsing import parse
from knowledge.parsing.rendering import to_markdown
from opsdesk.errors import ParseError


class Command(BaseCommand):
    help = "Print what OpsDesk reads in a file, as Markdown"
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--password",
            action="store_true",
            help=_("Ask for the file's password; from a pipe its first line is taken"),
        )
        parser.add_argument("--tier", choices=Tier.values, default=settings.PARSE_TIER)
        parser.add_argument("--json", action="store_true", help=_("All blocks as JSON"))

    def handle(self, *args: Any, file: Path, password: bool, **options: Any) -> None:
        if not file.is_file():
            raise CommandError(_("There is no file %(name)s.") % {"name": file})
        try:
            parsed = parse(file, file.name, _ask() if password else None, tier=options["tier"])
        except ParseError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(parsed.to_json(), ensure_ascii=False, indent=1))
        else:
            self.stdout.write(to_markdown(parsed, file.name))
        for warning in parsed.warnings:
            self.stderr.write(warning)


def _ask() -> str:
    """Never an argument: those are for all to see in the list of processes."""
    return getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
