"""`manage.py export_base SLUG FILE`: a knowledge base as one file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from knowledge import transfer
from knowledge.models import KnowledgeBase


class Command(BaseCommand):
    help = "Write a whole knowledge base to a file that import_base reads on another installation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, slug: str, file: Path, **options: Any) -> None:
        base = KnowledgeBase.objects.filter(slug=slug).first()
        if base is None:
            raise CommandError(_("There is no knowledge base %(slug)s.") % {"slug": slug})
        unfinished = file.with_name(f"{file.name}.unfinished")
        try:
            with unfinished.open("wb") as content:
                counts = transfer.export(base, content)
            unfinished.replace(file)
        except (transfer.TransferError, OSError) as error:
            unfinished.unlink(missing_ok=True)
            raise CommandError(str(error)) from error
        self.stdout.write("  ".join(f"{kind} {count}" for kind, count in counts.items()))
