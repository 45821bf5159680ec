"""Exports and imports of whole bases behind the scenes, with how far they are.

What is under way is remembered in the cache for a day, and so are the files in their folder.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.files.base import File
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from knowledge import transfer
from knowledge.models import KnowledgeBase
from opsdesk import locking

DAY = 24 * 3600  # seconds
LONGEST = 6 * 3600  # seconds of one export or import


def state(key: str) -> dict[str, Any]:
    """{"state": "queued" | "running" | "done" | "failed", "percent", "error", "base"}, or {}."""
    return cache.get(f"shipping:{key}") or {}


def export_key(base: KnowledgeBase) -> str:
    return f"export-{base.pk}"


def export_path(base: KnowledgeBase) -> Path:
    return _folder() / f"export-{base.pk}.zip"


def begin_export(base: KnowledgeBase) -> None:
    """Queue it, unless it is under way."""
    if state(export_key(base)).get("state") in {"queued", "running"}:
        return
    export_path(base).unlink(missing_ok=True)
    _tell(export_key(base), state="queued", percent=0)
    _queue("knowledge.shipping.export", base.pk)


def export(base_id: int) -> None:
    """A task; again it makes the same file."""
    base = KnowledgeBase.objects.filter(pk=base_id).first()
    if base is None:
        return
    # A task that takes long is delivered again while it runs.
    with locking.held(f"shipping:{export_key(base)}") as alone:
        if alone:
            with _told(export_key(base)):
                _export(base)


def _export(base: KnowledgeBase) -> None:
    key, path = export_key(base), export_path(base)
    unfinished = path.with_suffix(".unfinished")
    try:
        with unfinished.open("wb") as file:
            transfer.export(base, file, _reporter(key))
        unfinished.replace(path)
    except (transfer.TransferError, OSError) as error:
        unfinished.unlink(missing_ok=True)
        _tell(key, state="failed", error=str(error))
    else:
        _tell(key, state="done", percent=100)


def begin_import(file: File, slug: str, user: User) -> str:
    """Keep an uploaded export and queue it; the key of its state. Raises TransferError."""
    transfer.look(file)  # type: ignore[arg-type]  # reads as one
    key = f"import-{secrets.token_hex(8)}"
    with (_folder() / key).open("wb") as kept:
        for piece in file.chunks():
            kept.write(piece)
    _tell(key, state="queued", percent=0)
    _queue("knowledge.shipping.restore", key, slug, user.pk)
    return key


def restore(key: str, slug: str, user_id: int) -> None:
    """A task; when it was done already, or its file is gone, nothing."""
    with locking.held(f"shipping:{key}") as alone:
        path = _folder() / key
        if alone and path.exists():
            with _told(key):
                _restore(path, key, slug, user_id)


def _restore(path: Path, key: str, slug: str, user_id: int) -> None:
    try:
        with path.open("rb") as file:
            user = User.objects.filter(pk=user_id).first()
            base = transfer.restore(file, slug, user, _reporter(key))
    except transfer.TransferError as error:
        _tell(key, state="failed", error=str(error))
    else:
        _tell(key, state="done", percent=100, base=base.pk)
    path.unlink(missing_ok=True)


@contextmanager
def _told(key: str) -> Iterator[None]:
    """Whatever goes wrong, it is not said to be under way for ever."""
    try:
        yield
    finally:
        if state(key).get("state") in {"queued", "running"}:
            _tell(key, state="failed", error=_("Something unexpected went wrong."))


def _queue(task: str, *arguments: Any) -> None:
    async_task(task, *arguments, cluster=settings.Q_CLUSTER["name"], timeout=LONGEST)


def _tell(key: str, **values: Any) -> None:
    cache.set(f"shipping:{key}", values, DAY)


def _reporter(key: str) -> transfer.Report:
    told = 0.0

    def report(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > 1:
            told = time.monotonic()
            _tell(key, state="running", percent=100 * done // max(total, 1))

    return report


def _folder() -> Path:
    """Where they lie; what is older than a day goes."""
    folder = Path(settings.MEDIA_ROOT) / "transfers"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process tidies up as well
            if path.stat().st_mtime < time.time() - DAY:
                path.unlink()
    return folder


def name(base: KnowledgeBase) -> str:
    """What a person saves the file as."""
    return f"{base.slug}.opsdesk.zip"
