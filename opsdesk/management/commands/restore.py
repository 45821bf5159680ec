from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from opsdesk.backups import BackupError, restore


class Command(BaseCommand):
    help = "Replace this installation by what `backup` wrote."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--force", action="store_true", help="Even when it is in use.")

    def handle(self, *args: Any, file: Path, force: bool, **options: Any) -> None:
        try:
            manifest = restore(file, force)
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            _("Restored what was saved at %(created)s. Start OpsDesk again if it is running.")
            % {"created": manifest["created"]}
        )
