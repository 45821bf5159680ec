"""manage.py build_index: make the vectors of an embedder, here and now."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge import embedding
from knowledge.models import EmbeddingIndex, KnowledgeBase
from opsdesk.errors import Conflict, ModelError

REPORT_EVERY = 5.0  # seconds


def base_called(slug: str | None) -> KnowledgeBase | None:
    """CommandError when there is none of that name."""
    base = KnowledgeBase.objects.filter(slug=slug).first() if slug else None
    if slug and base is None:
        raise CommandError(f"There is no knowledge base {slug}.")
    return base


class Command(BaseCommand):
    help = (
        "Builds the index of an embedder beside the one that answers, over all knowledge bases or "
        "over one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--base", metavar="SLUG", help="only this knowledge base, for it alone")
        parser.add_argument(
            "--embedder", default="", choices=embedding.choices(), help="else OPSDESK_EMBEDDER's"
        )
        parser.add_argument(
            "--activate", action="store_true", help="let it answer as soon as it is complete"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            base = base_called(options["base"])
            index = embedding.create(options["embedder"], base)
            while not embedding.advance(index.pk, REPORT_EVERY):
                self._report(index)
            index.refresh_from_db()
            if options["activate"] and base:
                embedding.use(base, index)
            elif options["activate"]:
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
