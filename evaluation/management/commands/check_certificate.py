"""`manage.py check_certificate N | FILE`: does a certificate come out of its record again, and is a
file what was issued?"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation import certifying
from evaluation.models import Certificate


class Command(BaseCommand):
    help = (
        "Reckon a certificate again from its record, or tell whether its PDF or Word was changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("certificate", metavar="N|FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        given = str(options["certificate"])
        said = self._record(int(given)) if given.isdecimal() else self._file(Path(given))
        self.stdout.write(said)

    @staticmethod
    def _record(number: int) -> str:
        certificate = Certificate.objects.filter(pk=number).first()
        if certificate is None:
            raise CommandError(_("There is no such certificate."))
        check = certifying.check(certificate)
        if not check.untouched:
            raise CommandError(_("The record was changed: it does not bear its signature."))
        if not check.same:
            raise CommandError(_("The figures do not come out again."))
        return _("The record bears its signature, and its figures come out again.")

    @staticmethod
    def _file(path: Path) -> str:
        try:
            file = path.read_bytes()
        except OSError as error:
            raise CommandError(str(error)) from error
        if not certifying.as_issued(file):
            raise CommandError(_("The file was changed, or not issued here."))
        return _("The file is as it was issued here.")
