"""manage.py build_index: make the vectors of the configured embedder, here and now."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge import embedding
from knowledge.models import EmbeddingIndex
from opsdesk.errors import Conflict, ModelError

REPORT_EVERY = 5.0  # seconds


class Command(BaseCommand):
    help = (
        "Builds the index of the embedder that OPSDESK_EMBEDDER names, beside the one that answers."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--activate", action="store_true", help="let it answer as soon as it is complete"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            index = embedding.create()
            while not embedding.advance(index.pk, REPORT_EVERY):
                self._report(index)
            index.refresh_from_db()
            if options["activate"]:
                embedding.activate(index)
        except (Conflict, ModelError) as error:
            raise CommandError(str(error)) from error
        if index.state == EmbeddingIndex.State.FAILED:
            raise CommandError(index.error)
        self._report(index)

    def _report(self, index: EmbeddingIndex) -> None:
        index.refresh_from_db()
        self.stdout.write(
            f"{index.model}: {index.done} / {index.total} ({index.get_state_display()})"
        )
