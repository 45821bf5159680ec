"""What stands in the screenshots that come with a message, read once and kept on their rows.

The words are recognised in the limited subprocess that reads documents. A vision model, where
one is configured, is asked besides: it gets the picture with everything painted over whose words
would be masked, so nothing is sent of a picture whose words nobody could recognise.
"""

import io
import logging
import time
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any

from django.db.models import QuerySet
from PIL import Image, ImageDraw

from chat.models import Message, Upload
from knowledge import parsing
from knowledge.masking import LABELS, masked
from knowledge.parsing.document import Block
from knowledge.parsing.parts import words
from knowledge.vision import Picture
from opsdesk.backends import backend
from opsdesk.errors import ModelError, ParseError

logger = logging.getLogger(__name__)

SECONDS = 45.0  # for all pictures of a message, of its turn's budget
LEAST = 3.0  # seconds below which nothing more is begun
OCR = "ocr"
_recognising = Lock()  # it takes most of a gigabyte and both processors


def waiting(message: Message) -> QuerySet[Upload]:
    """Pictures of it that nobody has tried to read."""
    if not message.data.get("uploads"):
        return Upload.objects.none()
    return message.uploads.filter(kind=Upload.Kind.PICTURE, state=Upload.State.WAITING)


def without_model(message: Message) -> bool:
    """Whether a picture that has words was read without the vision model that is configured."""
    if not message.data.get("uploads") or backend("vision") is None:
        return False
    return message.uploads.filter(read_by=OCR).exclude(text="").exists()


def read(pictures: Iterable[Upload], deadline: float) -> None:
    """Read each until `deadline`, of time.monotonic(). What failed is not tried again."""
    deadline = min(deadline, time.monotonic() + SECONDS)
    for upload in pictures:
        try:
            upload.text, upload.read_by = _read(upload, deadline)
            upload.state = Upload.State.READ
        except (ParseError, OSError) as error:
            logger.warning("Upload %s was not read: %s", upload.pk, error)
            upload.state = Upload.State.FAILED
        upload.save(update_fields=["text", "read_by", "state"])


def _read(upload: Upload, deadline: float) -> tuple[str, str]:
    """The words, and who read them. Raises ParseError, OSError."""
    with upload.file.open("rb") as file:
        data = file.read()
    blocks = _recognised(data, deadline)
    text = "\n".join(words(block) for block in blocks if not block.hidden)
    model = backend("vision")
    if model is None or not text or deadline - time.monotonic() < LEAST:
        return text, OCR
    try:
        described = _described(model, data, blocks, masked(text), deadline)
    except ModelError as error:
        logger.warning("Upload %s was not described: %s", upload.pk, error)
        return text, OCR
    return "\n".join(filter(None, [text, described])), model.model


def _recognised(data: bytes, deadline: float) -> list[Block]:
    if not _recognising.acquire(timeout=max(deadline - time.monotonic() - LEAST, 0)):
        raise ParseError("Too many screenshots at once.", permanent=False)
    try:
        return parsing.recognise(data, max(deadline - time.monotonic(), LEAST))
    finally:
        _recognising.release()


def _described(model: Any, data: bytes, blocks: Sequence[Block], text: str, deadline: float) -> str:
    picture = Picture(covered(data, blocks), "image/png", text=text)
    said: str = model.describe(picture, deadline - time.monotonic())
    return said


def covered(data: bytes, blocks: Sequence[Block]) -> bytes:
    """The picture as PNG, painted over wherever words are masked: alone, or after those before;
    and wherever nobody could recognise them."""
    sure = [block for block in blocks if not block.hidden]
    hidden = _hidden([words(block) for block in sure])
    boxes = [sure[at].box for at in hidden] + [block.box for block in blocks if block.hidden]
    made = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        draw = ImageDraw.Draw(image)
        for box in boxes:
            if box:
                left, top, right, bottom = box
                width, height = image.size
                draw.rectangle(
                    (left * width - 4, top * height - 4, right * width + 4, bottom * height + 4),
                    fill="black",
                )
        image.save(made, "PNG")
    return made.getvalue()


def _hidden(said: Sequence[str]) -> set[int]:
    """Places of the paragraphs that hold a secret, or half of one; of a long key all."""
    if LABELS["private_key"] in masked("\n".join(said)):
        return set(range(len(said)))
    hidden = {at for at, one in enumerate(said) if masked(one) != one}
    for at in range(1, len(said)):
        pair = f"{said[at - 1]} {said[at]}"
        if not {at - 1, at} & hidden and masked(pair) != pair:
            hidden |= {at - 1, at}
    return hidden
