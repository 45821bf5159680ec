"""`manage.py bench_import`: p95 of an answer while pages and rows are imported, and the memory."""

import json
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from evaluation import import_benchmark


class Command(BaseCommand):
    help = (
        "Import generated Markdown pages and CSV rows by a real worker while questions are asked"
        " through a real runner. Wants an installation of its own (OPSDESK_HOME) that does not run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--pages", type=int, default=20_000, metavar="N")
        parser.add_argument("--rows", type=int, default=0, metavar="N", help="of one CSV file")
        parser.add_argument("--asked-pages", type=int, default=1_000, metavar="N")
        parser.add_argument("--answers", type=int, default=300, metavar="N", help="while idle")
        parser.add_argument("--same", action="store_true", help="fill the base that is asked")
        parser.add_argument("--pause", type=float, default=0.1, help="seconds between questions")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = {name: options[name] for name in ("pages", "rows", "answers", "same", "pause")}
        call_command("migrate", verbosity=0)
        call_command("createcachetable", verbosity=0)
        with TemporaryDirectory(prefix="opsdesk-bench-") as folder:
            try:
                figures = import_benchmark.measure(
                    Path(folder), asked_pages=options["asked_pages"], **wanted
                )
            except (RuntimeError, TimeoutError) as error:
                raise CommandError(str(error)) from error
        if options["json"]:
            options["json"].write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        for name, parts in figures.items():
            row = "  ".join(f"{part} {value:,.4g}" for part, value in parts.items())
            self.stdout.write(f"{name:20}{row}")
