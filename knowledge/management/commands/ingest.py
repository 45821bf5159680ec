"""一键建库: a folder becomes a knowledge base."""

import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import slug_re
from django.db import connection
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from knowledge import pacing, uploading
from knowledge.models import Document, KnowledgeBase, Revision, Status


class Command(BaseCommand):
    help = "Put every file of a folder into a knowledge base; unchanged files are left alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--knowledge-base", required=True, metavar="SLUG")
        parser.add_argument("--wait", action="store_true", help="until the worker has read all")

    def handle(self, *args: Any, folder: Path, wait: bool, **options: Any) -> None:
        if not folder.is_dir():
            raise CommandError(_("There is no folder %(folder)s.") % {"folder": folder})
        slug = options["knowledge_base"]
        if not slug_re.fullmatch(slug):
            raise CommandError(
                _("%(slug)s cannot be a slug: use letters, digits, - and _.") % {"slug": slug}
            )
        if getattr(self, "_called_from_command_line", False):  # not for ever in a test
            connection.close()  # the next one is nice too
            pacing.be_nice()
        base, _created = KnowledgeBase.objects.get_or_create(slug=slug, defaults={"name": slug})
        revisions = self._add(base, folder)
        if wait:
            self._wait(base, revisions)
        if failed := self._report(revisions):
            message = ngettext(
                "%(n)d file could not be read.", "%(n)d files could not be read.", failed
            )
            raise CommandError(message % {"n": failed})

    def _add(self, base: KnowledgeBase, folder: Path) -> list[int]:
        paths = [path for path in sorted(folder.rglob("*")) if _wanted(path, folder)]
        revisions, unchanged = [], 0
        for number, path in enumerate(paths, 1):
            pacing.give_way()
            relative = path.relative_to(folder).as_posix()
            with path.open("rb") as content:
                added = uploading.add(
                    base,
                    file=File(content),
                    name=path.name,
                    external_id=relative[:500],
                    origin=Document.Origin.INGEST,
                    approved=True,
                )
            revisions.append(added.revision.pk)
            unchanged += not added.created
            self._progress(_("stored"), number, len(paths))
        self.stdout.write(
            _("%(files)d files, %(unchanged)d of them unchanged.")
            % {"files": len(paths), "unchanged": unchanged}
        )
        return revisions

    def _wait(self, base: KnowledgeBase, revisions: list[int]) -> None:
        ours = set(revisions)
        rows = Revision.objects.unfinished().filter(document__knowledge_base=base)
        while unfinished := len(ours.intersection(rows.values_list("pk", flat=True))):
            self._progress(_("read"), len(revisions) - unfinished, len(revisions))
            time.sleep(max(0.5, unfinished / 2000))  # to look costs, the more are left

    def _report(self, revisions: list[int]) -> int:
        """How many have failed, after saying what became of all and why of these."""
        counts: Counter[str] = Counter()
        for ids in _batched(revisions, 1000):
            rows = Revision.objects.filter(pk__in=ids)
            counts.update(rows.values_list("status", flat=True))
            for row in (
                rows.filter(status=Status.FAILED)
                .select_related("document")
                .only("error", "document__external_id")
            ):
                self.stderr.write(f"{row.document.external_id}: {row.error}")
        for status in Status:
            if count := counts[status]:
                self.stdout.write(f"{status.label}: {count}")
        return counts[Status.FAILED]

    def _progress(self, what: str, done: int, total: int) -> None:
        if self.stdout.isatty():
            self.stdout.write(f"\r{what} {done}/{total}", ending="\n" if done == total else "")


def _batched(values: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _wanted(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.is_file() and not path.is_symlink() and not hidden
