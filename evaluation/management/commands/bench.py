"""`manage.py bench`: how fast search and ingest are, as Markdown for docs/scaling.md."""

import os
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation import benchmark, recombined
from evaluation.question_sets import QuestionSet
from knowledge import vectors

SETS = ("ops", "reading")
ASKED = [
    "found by", "filter", "p50 ms", "p95 ms", "reference p50", "p95", "ratio p50", "p95",
    "recall@10",
]  # fmt: skip


class Command(BaseCommand):
    help = (
        "Measure search and ingest on chunks recombined from question sets, beside bm25s and faiss."
        " Vectors are synthetic. Wants a database with nothing else in it (OPSDESK_HOME)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "sets", type=Path, nargs="*",
            help="folders with set.json; else those of OPSDESK_DATA, else the demo documents",
        )  # fmt: skip
        parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000], metavar="N")
        parser.add_argument("--dimensions", type=int, default=1024, metavar="N")
        parser.add_argument("--questions", type=int, default=100, metavar="N", help="at most")
        parser.add_argument("--pages", type=int, default=400, metavar="N", help="brought in")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        call_command("createcachetable", verbosity=0)
        try:
            self.measure(self.sets(options["sets"]), options)
        except (OSError, ValueError, KeyError) as error:
            raise CommandError(_("This cannot be measured: %s") % error) from error

    def sets(self, folders: Sequence[Path]) -> list[recombined.Texts]:
        data = Path(os.environ.get("OPSDESK_DATA", "")) / "sets"
        folders = folders or [data / name for name in SETS if (data / name).is_dir()]
        found: list[recombined.Texts] = [QuestionSet(folder) for folder in folders]
        return found or [recombined.DemoTexts()]

    def measure(self, sets: Sequence[recombined.Texts], options: dict[str, Any]) -> None:
        sizes = sorted(options["sizes"])
        corpus = recombined.Corpus(sets, sizes[-1], options["dimensions"])
        self.write(
            f"Sentences of {', '.join(one.name for one in sets)}; synthetic vectors of"
            f" {options['dimensions']:,} numbers; load {os.getloadavg()[0]:.1f} on"
            f" {os.cpu_count()} cores."
        )
        with recombined.temporary_base() as base:
            self.figures(
                "Ingest of Markdown, which costs next to nothing to read",
                benchmark.ingest(base, sets, options["pages"]),
            )
        real = Path(os.environ.get("OPSDESK_DATA", "")) / "documents" / "files"
        if real.is_dir():
            with recombined.temporary_base() as base:
                self.figures("Ingest of real documents", benchmark.ingest_files(base, real))
        before: benchmark.Size | None = None
        with recombined.temporary_base() as base:
            for chunks in sizes:
                self.say(f"{chunks:,}: writing")
                figures = recombined.grow(base, corpus, chunks)
                if before is None:
                    corpus.ask(base, sets, options["questions"])
                with recombined.index(base, corpus, chunks) as made:
                    size = benchmark.measure(base, corpus, chunks, self.say)
                self.show(size, figures | made)
                if before:
                    self.compare(before, size)
                before = size

    def show(self, size: benchmark.Size, made: dict[str, float]) -> None:
        self.figures(f"{size.chunks:,} chunks", made | size.figures)
        self.table(ASKED, (row.row() for row in size.rows))
        for inside, scans in size.plans.items():
            self.write(f"Embeddings, filter {inside}: {', '.join(scans) or 'not looked at'}.\n")
        scans = [scan for plan in size.plans.values() for scan in plan]
        if size.chunks > vectors.GRAPH_FROM and (not scans or any(map(benchmark.is_full, scans))):
            raise CommandError(f"every vector is looked at among {size.chunks:,}: {scans}")

    def compare(self, small: benchmark.Size, large: benchmark.Size) -> None:
        """How much longer the same takes with more chunks."""
        rows = [
            [one.way, one.inside, f"{benchmark.p(other.times)[1] / benchmark.p(one.times)[1]:.1f}"]
            for one, other in zip(small.rows, large.rows, strict=True)
        ]
        self.table(["found by", "filter", f"p95, {large.chunks:,} ÷ {small.chunks:,}"], rows)

    def figures(self, title: str, figures: dict[str, float]) -> None:
        self.write(f"\n**{title}**: " + ", ".join(f"{n} {v:,.4g}" for n, v in figures.items()))

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self.write(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            self.write(f"| {' | '.join(row)} |")
        self.write("")

    def write(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def say(self, line: str) -> None:
        self.stderr.write(line)
