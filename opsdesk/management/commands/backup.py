from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from opsdesk.backups import BackupError, backup


class Command(BaseCommand):
    help = "Write the database, the uploaded files and the secret key to one tar file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            backup(file.absolute())
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            _("Wrote %(file)s (%(size).1f MB). It holds the secret key: keep it safe.")
            % {"file": file, "size": file.stat().st_size / 1e6}
        )
