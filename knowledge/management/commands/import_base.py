"""`manage.py import_base FILE`: the knowledge base that export_base wrote."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from knowledge import transfer


class Command(BaseCommand):
    help = "Make a knowledge base of what export_base wrote; all of it or nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--slug", default="", help="another than it had")

    def handle(self, *args: Any, file: Path, slug: str, **options: Any) -> None:
        try:
            with file.open("rb") as content:
                base = transfer.restore(content, slug)
        except (transfer.TransferError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{base.slug}: {base.documents.count()}, {base.chunks.count()}")
