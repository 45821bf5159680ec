"""`manage.py rebuild_store`: fill the store that is named by OPSDESK_STORE from PostgreSQL."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from knowledge.stores import store
from knowledge.stores.outside import Outside
from opsdesk.errors import StoreError


class Command(BaseCommand):
    help = "Empty the store beside PostgreSQL and write all chunks anew."

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = store()
        if not isinstance(chosen, Outside):
            raise CommandError(_("No other store is configured: set OPSDESK_STORE."))
        try:
            chunks = chosen.rebuild()
        except StoreError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(_("%d chunks written") % chunks)
