"""Picture files: each frame as an asset, with what text recognition reads in it. And the words
of pictures that stand in other documents."""

import io
from collections.abc import Iterator

from PIL import Image, ImageOps, UnidentifiedImageError

from knowledge.parsing import ocr, parts
from knowledge.parsing.document import Asset, Block, ParsedDocument
from knowledge.parsing.parts import PLAN, Part, numbers
from knowledge.parsing.unreadable import Unreadable

MAX_PIXELS = 60_000_000
MAX_FRAMES = 50  # pages of a fax in TIFF; of a GIF only the first counts
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
BROKEN = (UnidentifiedImageError, OSError, ValueError, SyntaxError)
BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read(data: bytes, steps: list[str] | None) -> Iterator[Part]:
    """The plan and a page for each frame, or only `steps` of an earlier plan."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            if file.width * file.height > MAX_PIXELS:
                raise Unreadable("huge_picture")
            if steps is None:
                steps = [f"page:{number}" for number in range(1, _frames(file) + 1)]
                yield Part(PLAN, ParsedDocument(pages=len(steps)), steps)
            for step in steps:
                (number,) = numbers(step)
                file.seek(number - 1)
                yield Part(step, _page(_upright(file), number))
    except BOMB as error:
        raise Unreadable("huge_picture") from error
    except BROKEN as error:
        raise Unreadable("broken") from error


def words(data: bytes, steps: list[str], sizes: list[int]) -> Iterator[Part]:
    """What stands in each picture; nothing in one that cannot be opened. Of a "screenshot:" also,
    hidden, what may be no letters."""
    place = 0
    for step, size in zip(steps, sizes, strict=True):
        unsure = step.startswith("screenshot:")
        yield Part(step, ParsedDocument(blocks=_words(data[place : place + size], unsure)))
        place += size


def _words(data: bytes, unsure: bool) -> list[Block]:
    try:
        with Image.open(io.BytesIO(data)) as file:
            return ocr.recognise(_upright(file), ocr.PICTURE, unsure)
    except (*BOMB, *BROKEN):
        return []


def _frames(file: Image.Image) -> int:
    return min(getattr(file, "n_frames", 1), MAX_FRAMES) if file.format == "TIFF" else 1


def _upright(file: Image.Image) -> Image.Image:
    """As it is seen, without transparency: black text on nothing would be black on black."""
    layered = ImageOps.exif_transpose(file).convert("RGBA")
    page = Image.new("RGB", layered.size, "white")
    page.paste(layered, mask=layered)
    return page


def _page(image: Image.Image, number: int) -> ParsedDocument:
    blocks = ocr.recognise(image, ocr.PICTURE)
    for block in blocks:
        block.page = number
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    whole = (0.0, 0.0, 1.0, 1.0)
    asset = Asset(
        "picture",
        page=number,
        box=whole,
        media_type="image/png",
        width=image.width,
        height=image.height,
        text="\n".join(parts.words(block) for block in blocks),
        data=buffer.getvalue(),
    )
    shown = Block("picture", page=number, box=whole, asset=0)
    return ParsedDocument(blocks=[shown, *blocks], assets=[asset], parser="rapidocr")
