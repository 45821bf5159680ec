"""A folder of this machine: what is dropped there comes in, what is removed answers no more."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from knowledge import uploading
from knowledge.models import KnowledgeBase, Source, SourceItem
from knowledge.sources.base import Backend, Content, Found, Options
from knowledge.sources.fetching import Gone
from opsdesk.errors import FetchError

SETTLED = 2.0  # seconds after the last change of a file, before which it may be half written
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".download", ".swp", ".lock", ".filepart")


def drop_folder(base: KnowledgeBase) -> Path:
    """Where files for `base` may be dropped without any setting up.

    It stays when the base gets another slug; another base of the old slug gets another folder.
    """
    named = Path(settings.INBOX) / base.slug
    inboxes = Source.objects.filter(memory__inbox=True)
    known = inboxes.filter(Q(knowledge_base=base) | Q(options__path=str(named)))
    paths = dict(known.values_list("knowledge_base", "options__path"))
    if base.pk in paths:
        return Path(paths[base.pk])
    return named.with_name(f"{base.slug}-{base.pk}") if paths else named


def permitted(path: Path, base: KnowledgeBase) -> bool:
    """Whether `base` may read below `path`: its own inbox, or what the settings allow."""
    path = path.resolve()
    roots = [drop_folder(base), *map(Path, settings.WATCH_ROOTS)]
    return any(path.is_relative_to(root.resolve()) for root in roots)


class FolderOptions(Options):
    path = forms.CharField(
        label=gettext_lazy("folder"),
        max_length=1000,
        help_text=gettext_lazy(
            "On the server: the inbox of the knowledge base, or below one of OPSDESK_WATCH_ROOTS."
        ),
    )

    def clean_path(self) -> str:
        path = Path(self.cleaned_data["path"])
        if not path.is_absolute():
            path = drop_folder(self.source.knowledge_base) / path
        if not permitted(path, self.source.knowledge_base):
            inbox = drop_folder(self.source.knowledge_base)
            raise ValidationError(
                _("Only %(inbox)s and folders below OPSDESK_WATCH_ROOTS can be watched.")
                % {"inbox": inbox}
            )
        if self.source.memory.get("inbox") and str(path) != self.source.options["path"]:
            # `watch` would take it for another machine's, and let go of its documents.
            raise ValidationError(_("The inbox stays where it is. Add a source for that folder."))
        return str(path)


class Folder(Backend):
    label = gettext_lazy("watched folder")
    about = gettext_lazy("What is put into a folder on the server, within seconds.")
    options_form = FolderOptions
    default_every = 1
    patience = 1  # a file system knows what is there
    watched = True

    def __init__(self, source: Any) -> None:
        super().__init__(source)
        self.root = Path(self.options["path"])

    def items(self) -> Iterator[Found]:
        self.incomplete, self.again = "", 0.0
        identity = self._identity()
        found = list(self._walk(self.root))
        known = self.source.memory.get("root")
        if known and known != identity and self._knows_none(found):
            raise FetchError(
                _(
                    "%(folder)s is another folder than before and holds none of its files. It may "
                    "not be mounted; nothing is retired."
                )
                % {"folder": self.root},
                permanent=False,
            )
        if known != identity and self.source.pk:
            self.source.memory["root"] = identity
            self.source.save(update_fields=["memory"])
        yield from found

    def fetch(self, item: SourceItem) -> Content | None:
        path = self.root / item.key
        try:
            descriptor = os.open(self._inside(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise Gone(_("It was removed."), permanent=True) from error
        except OSError as error:
            raise FetchError(
                _("This file cannot be opened: %(reason)s.") % {"reason": error.strerror},
                permanent=True,
            ) from error
        if problem := uploading.too_large(os.fstat(descriptor).st_size):
            os.close(descriptor)  # before it is copied: it may be larger than the disk
            raise FetchError(problem, permanent=True)
        return Content(file=open(descriptor, "rb"), name=path.name)

    def _identity(self) -> list[int]:
        """What the folder is on its file system: another one after it was unmounted."""
        try:
            inbox = self.source.memory.get("inbox")  # made by `watch`; the base may be renamed
            if not inbox and not permitted(self.root, self.source.knowledge_base):
                message = _("%(folder)s may not be watched (OPSDESK_WATCH_ROOTS).")
                raise FetchError(message % {"folder": self.root}, permanent=True)
            status = self.root.stat()
            os.listdir(self.root)
        except OSError as error:
            raise FetchError(
                _("%(folder)s cannot be read: %(reason)s. Nothing is retired.")
                % {"folder": self.root, "reason": error.strerror},
                permanent=False,
            ) from error
        return [status.st_dev, status.st_ino]

    def _knows_none(self, found: list[Found]) -> bool:
        items = self.source.items.filter(document__isnull=False)
        return items.exists() and not items.filter(key__in=[each.key for each in found]).exists()

    def _walk(self, folder: Path) -> Iterator[Found]:
        def failed(error: OSError) -> None:
            self.incomplete = _("%(folder)s cannot be read: %(reason)s.") % {
                "folder": os.fsencode(error.filename or "").decode("utf-8", "replace"),
                "reason": error.strerror,
            }

        for where, folders, files in os.walk(folder, onerror=failed):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if _wanted(name) and (found := self._look(Path(where) / name)):
                    yield found

    def _look(self, path: Path) -> Found | None:
        key = path.relative_to(self.root).as_posix()
        try:
            key.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(key).decode("gb18030", "replace")
            self.incomplete = _("The name of %(file)s is not UTF-8.") % {"file": shown}
            return None
        try:
            status = self._inside(path).stat()
        except OSError:  # gone again, or a link to nothing
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        changed = max(status.st_mtime, status.st_ctime)
        if abs(time.time() - changed) < SETTLED:
            return self._unsettled(key)
        return Found(key, version=f"{status.st_mtime_ns}-{status.st_size}")

    def _inside(self, path: Path) -> Path:
        """Where `path` leads; FileNotFoundError when that is outside of the folder."""
        resolved = path.resolve()
        if not resolved.is_relative_to(self.root.resolve()):
            raise FileNotFoundError
        return resolved

    def _unsettled(self, key: str) -> Found | None:
        """Still being written: as it was, until the next look."""
        self.again = SETTLED + 0.1
        item = self.source.items.filter(key=key).first() if self.source.pk else None
        return Found(key, version=item.data.get("version", ""), ready=False) if item else None


def _wanted(name: str) -> bool:
    return not name.startswith((".", "~$")) and not name.lower().endswith((*UNFINISHED, "~"))
