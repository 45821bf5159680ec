"""`manage.py check_certificate N`: does a certificate come out of its record again?"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from evaluation import certifying
from evaluation.models import Certificate


class Command(BaseCommand):
    help = "Reckon a certificate again from its record, and compare it with its digest."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        certificate = Certificate.objects.filter(pk=options["number"]).first()
        if certificate is None:
            raise CommandError(_("There is no such certificate."))
        check = certifying.check(certificate)
        if not check.untouched:
            raise CommandError(_("The record was changed: it does not have its digest."))
        if not check.same:
            raise CommandError(_("The figures do not come out again."))
        self.stdout.write(_("The record has its digest, and its figures come out again."))
