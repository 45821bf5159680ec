from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from opsdesk.models import ApiToken


class Command(BaseCommand):
    help = "Print a new API token of a user. It is shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="manage.py token", help="what will use it")
        parser.add_argument("--write", action="store_true", help="it may also write, not only read")

    def handle(self, *, username: str, name: str, write: bool, **options: Any) -> None:
        user = get_user_model().objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(_("There is no active user %(name)s.") % {"name": username})
        scope = ApiToken.Scope.WRITE if write else ApiToken.Scope.READ
        token = ApiToken(user=user, name=name, scope=scope)
        raw = token.generate()
        token.save()
        self.stdout.write(raw)
