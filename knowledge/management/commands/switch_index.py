"""manage.py switch_index: which embedding index answers; another one, or the one before."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge import embedding
from knowledge.management.commands.build_index import base_called
from knowledge.models import EmbeddingIndex
from opsdesk.errors import Conflict


class Command(BaseCommand):
    help = "Lists the embedding indexes; lets another one answer, goes back, or deletes one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("index", nargs="?", type=int, help="the number of an index")
        parser.add_argument("--base", metavar="SLUG", help="for this knowledge base alone")
        way = parser.add_mutually_exclusive_group()
        way.add_argument("--back", action="store_true", help="let the one before answer")
        way.add_argument(
            "--as-all", action="store_true", help="with --base: what answers for all, for it too"
        )
        way.add_argument("--drop", action="store_true", help="delete the index")

    def handle(self, *args: Any, **options: Any) -> None:
        base = base_called(options["base"])
        try:
            if options["back"]:
                embedding.go_back(base)
            elif options["as_all"]:
                if base is None:
                    raise CommandError("--as-all wants --base.")
                embedding.use(base, None)
            elif options["drop"]:
                embedding.drop(self._index(options["index"]))
            elif options["index"] and base:
                embedding.use(base, self._index(options["index"]))
            elif options["index"]:
                embedding.activate(self._index(options["index"]))
        except Conflict as conflict:
            raise CommandError(str(conflict)) from conflict
        self._list()

    def _index(self, number: int | None) -> EmbeddingIndex:
        index = EmbeddingIndex.objects.filter(pk=number).first() if number else None
        if index is None:
            raise CommandError(f"There is no index {number}." if number else "Which index?")
        return index

    def _list(self) -> None:
        for index in EmbeddingIndex.objects.select_related("knowledge_base").order_by("pk"):
            bases = [base.slug for base in index.bases.order_by("slug")]
            of = f", of {index.knowledge_base.slug} alone" if index.knowledge_base else ""
            answers = f", answers for {', '.join(bases)}" if bases else ""
            self.stdout.write(
                f"{index.pk}: {index.model} by {index.embedder}, {index.dimensions} dimensions, "
                f"{index.done} / {index.total} ({index.get_state_display()}){of}{answers}"
            )
