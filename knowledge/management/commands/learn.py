"""`manage.py learn [SLUG…]`: fit what bases learn from confirmed questions, now."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from knowledge import learning
from knowledge.models import KnowledgeBase
from opsdesk import locking


class Command(BaseCommand):
    help = "Learn from the confirmed questions of the named bases, or of all that learn."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SLUG")

    def handle(self, *args: Any, **options: Any) -> None:
        bases = KnowledgeBase.objects.all()
        if slugs := options["slugs"]:
            bases = bases.filter(slug__in=slugs)
            if missing := set(slugs) - set(bases.values_list("slug", flat=True)):
                message = _("There is no knowledge base %(slugs)s.")
                raise CommandError(message % {"slugs": ", ".join(sorted(missing))})
        for base in bases.filter(learns=True):
            with locking.held(f"learn:{base.pk}") as claimed:
                self.stdout.write(f"{base.slug}: {self.learn(base) if claimed else _('busy')}")

    def learn(self, base: KnowledgeBase) -> str:
        adapter = learning.learn(base)
        if adapter is None:
            return _("fewer than %(n)d confirmed questions") % {"n": learning.LEAST}
        before, after = adapter.effect["without"]["5"], adapter.effect["with"]["5"]
        said = _("%(pairs)d confirmed questions, hit@5 %(before).3f → %(after).3f")
        return said % {"pairs": adapter.pairs, "before": before, "after": after}
