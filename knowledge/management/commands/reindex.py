from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from knowledge import lexical
from knowledge.indexing import reindex
from knowledge.models import KnowledgeBase


class Command(BaseCommand):
    help = "Reckon the words of all chunks anew; `doctor` says when that is wanted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slugs", nargs="*", help="Knowledge bases; all when none is named.")

    def handle(self, *args: Any, slugs: list[str], **options: Any) -> None:
        bases = KnowledgeBase.objects.all()
        if slugs:
            bases = bases.filter(slug__in=slugs)
            if unknown := set(slugs) - set(bases.values_list("slug", flat=True)):
                raise CommandError(f"There is no knowledge base {', '.join(sorted(unknown))}.")
        for base in bases:
            with transaction.atomic():
                reindex(base)
                lexical.recount(base.pk)
            self.stdout.write(f"{base.slug}: {base.chunks.count()}")
