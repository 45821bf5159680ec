"""What customers send with a message: screenshots and logs, received, kept, cleaned away.

What a file is, is told by its bytes. A picture is drawn anew before it is kept, so that
nothing else that it carried (places, comments, other formats) stays.
"""

import io
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from PIL import Image, ImageOps, UnidentifiedImageError

from chat import pasting
from chat.models import Message, Upload
from knowledge.parsing import detection
from knowledge.parsing.unreadable import Unreadable
from knowledge.uploading import clean_name
from opsdesk.errors import BoundaryError

logger = logging.getLogger(__name__)

A_MESSAGE = 4  # uploads of one
TEXT_LENGTH = 64_000  # characters of a log
MAX_PIXELS = 25_000_000  # two screens of 4K beside each other, and some
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
KEPT = timedelta(days=1)  # of what was never sent
_BROKEN = (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError)
_drawing = BoundedSemaphore(2)  # pictures unpacked at once: each may take 200 MB


class Refused(BoundaryError):
    """What was sent is not kept: a code for programs, a sentence for people, a status."""

    def __init__(self, code: str, status: int, sentence: str) -> None:
        super().__init__(sentence, permanent=True)
        self.code, self.status = code, status


@dataclass(frozen=True)
class _Picture:
    data: bytes
    media_type: str
    width: int
    height: int


def receive(file: File, name: str, *, user: Any = None, visitor: str = "") -> Upload:
    """Keep what `user`, or else `visitor`, sends, for a message to come. Raises Refused."""
    size = file.size or 0
    if size > settings.CHAT_UPLOAD_MAX_BYTES:
        limit = {"megabytes": settings.CHAT_UPLOAD_MAX_BYTES // 1024**2}
        raise Refused("too_large", 413, _("This file is larger than %(megabytes)d MB.") % limit)
    data = file.read()
    _scan(data)
    upload = Upload(
        user=user, visitor="" if user else visitor, name=clean_name(name), size=len(data)
    )
    picture = _picture(data)
    if picture is None:
        _keep_text(upload, _text(data))
    else:
        upload.kind, upload.media_type = Upload.Kind.PICTURE, picture.media_type
        upload.width, upload.height = picture.width, picture.height
        upload.file.save(upload.name, ContentFile(picture.data), save=False)
    upload.save()
    return upload


def _keep_text(upload: Upload, text: str) -> None:
    upload.kind, upload.media_type = Upload.Kind.TEXT, "text/plain"
    upload.text, upload.state = text, Upload.State.READ


def paste(message: Message, text: str) -> Upload:
    """Keep a text that is too long for a message with it."""
    conversation = message.conversation
    upload = Upload(
        message=message, user=conversation.user, visitor=conversation.visitor,
        name=_("pasted.txt"), size=len(text.encode()),
    )  # fmt: skip
    _keep_text(upload, text)
    upload.save()
    return upload


def attach(message: Message, ids: Iterable[UUID | str], by: Any = None) -> None:
    """Send uploads with a message, in its transaction.

    Raises Refused unless all are there, not yet sent, and the own of `by`, a user, or without
    one of its conversation's customer.
    """
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return
    if len(wanted) > A_MESSAGE:
        many = {"limit": A_MESSAGE}
        raise Refused("too_many", 400, _("At most %(limit)s files in one message.") % many)
    conversation = message.conversation
    sender = (by, "") if by else (conversation.user, conversation.visitor)
    mine = owned(*sender).filter(message=None)
    try:
        found = set(mine.select_for_update().filter(pk__in=wanted).values_list("pk", flat=True))
    except ValidationError:  # no id at all
        found = set()
    if len(found) < len(wanted):
        raise Refused("gone", 400, _("A file is not there any more. Please choose it again."))
    Upload.objects.filter(pk__in=found).update(message=message)


def said(message: Message) -> tuple[list[str], list[str]]:
    """The lines that tell in what came with a message, and the names of what nobody could read."""
    if not message.data.get("uploads"):
        return [], []
    sent = list(message.uploads.all())
    lines = [line for upload in sent for line in pasting.telling(upload.text)]
    return lines, [upload.name for upload in sent if upload.state == Upload.State.FAILED]


def noted(text: str, unread: list[str]) -> str:
    """An answer that says first what it was made without."""
    if not unread:
        return text
    note = _("I could not read %(names)s. Please type what it says if it matters.") % {
        "names": pgettext("between items of a list", "; ").join(unread)
    }
    return f"{note}\n\n{text}"


def owned(user: Any, visitor: str) -> QuerySet[Upload]:
    """What this person sent: as `user`, or as `visitor` while nobody was signed in."""
    mine = Q(pk=None)
    if visitor:
        mine |= Q(visitor=visitor, user=None)
    if user is not None and user.is_authenticated:
        mine |= Q(user=user)
    return Upload.objects.filter(mine)


def forget(upload: Upload) -> None:
    """Delete an upload with its file."""
    if upload.file:
        upload.file.delete(save=False)
    upload.delete()


def as_json(upload: Upload) -> dict[str, Any]:
    """An upload as a page or a program gets it; what was read in it is not told.

    {"id", "kind": "picture" | "text", "name", "size" (bytes), "width", "height" (px, null of a
    text), "state": "waiting" | "read" | "failed", "url"}
    """
    return {
        "id": str(upload.pk),
        "kind": upload.kind,
        "name": upload.name,
        "size": upload.size,
        "width": upload.width,
        "height": upload.height,
        "state": upload.state,
        "url": reverse("upload", args=[upload.pk]),
    }


def clean() -> int:
    """Delete what was never sent with a message, and files of conversations that are gone."""
    before = timezone.now() - KEPT
    orphans = list(Upload.objects.filter(message=None, created_at__lt=before))
    for upload in orphans:
        forget(upload)
    return len(orphans) + _clean_files(before.timestamp())


def _clean_files(before: float) -> int:
    try:
        names = {f"uploads/{name}" for name in default_storage.listdir("uploads")[1]}
    except FileNotFoundError:
        return 0
    names -= set(Upload.objects.filter(file__in=names).values_list("file", flat=True))
    gone = 0
    for name in names:
        with suppress(FileNotFoundError):
            if default_storage.get_modified_time(name).timestamp() < before:
                default_storage.delete(name)
                gone += 1
    return gone


# --- what came ------------------------------------------------------------------------


def _scan(data: bytes) -> None:
    """Ask the function of `settings.CHAT_UPLOAD_SCAN`: `(file) -> what it found, "" for nothing`.

    It raises BoundaryError when it cannot tell; then nothing is kept.
    """
    if not settings.CHAT_UPLOAD_SCAN:
        return
    try:
        found = import_string(settings.CHAT_UPLOAD_SCAN)(io.BytesIO(data))
    except BoundaryError as error:
        logger.error("An upload could not be scanned: %s", error)
        raise Refused(
            "unavailable", 503, _("Files cannot be taken right now. Please try again later.")
        ) from error
    if found:
        logger.warning("An upload was refused: %s", found)
        raise Refused("infected", 400, _("This file was refused: it may do harm."))


def _picture(data: bytes) -> _Picture | None:
    """The picture drawn anew, its first frame alone; None when `data` is no picture."""
    try:
        kind = detection.picture(data)
        if kind is None:
            return None
        with Image.open(io.BytesIO(data), formats=FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                raise _huge()
            with _drawing:
                return _drawn(file)
    except Image.DecompressionBombError as error:
        raise _huge() from error
    except Unreadable as error:
        raise _no_picture() from error
    except UnidentifiedImageError as error:
        raise _no_picture() from error
    except _BROKEN as error:
        raise Refused("broken", 400, _("This picture is damaged.")) from error


def _drawn(file: Image.Image) -> _Picture:
    """Upright, without transparency: black text on nothing would be black on black."""
    as_jpeg = file.format == "JPEG"
    layered = ImageOps.exif_transpose(file).convert("RGBA")
    plain = Image.new("RGB", layered.size, "white")
    plain.paste(layered, mask=layered)
    made = io.BytesIO()
    if as_jpeg:
        plain.save(made, "JPEG", quality=90)
    else:
        plain.save(made, "PNG")
    media_type = "image/jpeg" if as_jpeg else "image/png"
    return _Picture(made.getvalue(), media_type, plain.width, plain.height)


def _huge() -> Refused:
    return Refused("huge_picture", 413, _("This picture has too many pixels. Send a part of it."))


def _no_picture() -> Refused:
    return Refused("type", 415, _("Only PNG, JPEG, WebP and GIF pictures and text can be sent."))


def _text(data: bytes) -> str:
    try:
        text = detection.decode(data).replace("\x00", "").strip()
    except Unreadable as error:
        raise _no_picture() from error
    if not text:
        raise Refused("empty", 400, _("The file is empty."))
    if len(text) > TEXT_LENGTH:
        limit = {"limit": TEXT_LENGTH}
        raise Refused(
            "too_long", 413, _("At most %(limit)s characters: send those around the error.") % limit
        )
    return text
