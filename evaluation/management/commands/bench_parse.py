"""`manage.py bench_parse [FOLDER]`: what is read of real documents, beside other parsers."""

import json
import os
from argparse import ArgumentParser
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation import parsing_benchmark as benchmark


class Command(BaseCommand):
    help = (
        "Measure text, tables, headings, order, seconds and memory of parsing on a folder with"
        " manifest.jsonl (OPSDESK_DATA/documents), beside DocVortex alone and markitdown."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, nargs="?")
        parser.add_argument(
            "--parsers", nargs="+", choices=benchmark.PARSERS, default=benchmark.PARSERS
        )
        parser.add_argument(
            "--only", nargs="+", default=["*"], metavar="GLOB", help="of the files' names"
        )
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    def handle(self, *args: Any, **options: Any) -> None:
        folder = options["folder"] or Path(os.environ.get("OPSDESK_DATA", ".")) / "documents"
        try:
            cases = benchmark.cases(folder)
        except (OSError, ValueError, KeyError) as error:
            raise CommandError(
                _("%(folder)s is not a folder of documents with a manifest: %(error)s")
                % {"folder": folder, "error": error}
            ) from error
        cases = [case for case in cases if any(fnmatch(case.path.name, g) for g in options["only"])]
        figures = {parser: self.measure(parser, cases) for parser in options["parsers"]}
        if options["json"]:
            text = json.dumps(figures, ensure_ascii=False, indent=1)
            options["json"].write_text(text + "\n", "utf-8")

    def measure(self, parser: str, cases: list[benchmark.Case]) -> dict[str, dict[str, Any]]:
        python = benchmark.interpreter(parser)
        if python is None:
            self.stdout.write(f"\n## {parser}: not installed (make bench-parse)")
            return {}
        columns = " | ".join(benchmark.MEASURES)
        self.stdout.write(f"\n## {parser}\n\n| file | {columns} | |")
        self.stdout.write("| --- |" + " ---: |" * len(benchmark.MEASURES) + " --- |")
        rows = {}
        for case in cases:
            row = benchmark.measure(case, benchmark.run(parser, python, case.path))
            rows[case.path.name] = row
            self.show(case.path.name, row)
        self.show("mean of the files with a reference", benchmark.averages(rows.values()))
        return rows

    def show(self, name: str, row: dict[str, Any]) -> None:
        cells = [_figure(measure, row.get(measure)) for measure in benchmark.MEASURES]
        remark = row.get("error") or "; ".join(row.get("warnings") or ())
        if "text" not in row and "characters" in row:
            remark = f"{row['characters']} characters. {remark}".strip()
        self.stdout.write(f"| {name} | {' | '.join(cells)} | {' '.join(remark.split())[:120]} |")
        self.stdout.flush()


def _figure(measure: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if measure == "MB" else f"{value:.{1 if measure == 'seconds' else 3}f}"
