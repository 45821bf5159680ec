"""A picture file: itself as an asset, and what text recognition reads in it."""

import io

from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from knowledge.parsing import ocr, tables
from knowledge.parsing.document import Asset, Block, ParsedDocument
from knowledge.parsing.unreadable import Unreadable

MAX_PIXELS = 60_000_000
MAX_FRAMES = 50  # pages of a fax in TIFF; of a GIF only the first counts
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


def parse(data: bytes) -> ParsedDocument:
    """One page a picture: the picture, then its text with boxes."""
    try:
        pages = _open(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable("huge_picture") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise Unreadable("broken") from error
    parsed = ParsedDocument(pages=len(pages), parser="rapidocr")
    for number, image in enumerate(pages, start=1):
        _read(image, number, parsed)
    tables.show(parsed)
    return parsed


def _open(data: bytes) -> list[Image.Image]:
    with Image.open(io.BytesIO(data)) as file:
        if file.width * file.height > MAX_PIXELS:
            raise Unreadable("huge_picture")
        frames = ImageSequence.Iterator(file) if file.format == "TIFF" else [file]
        pages = []
        for _, frame in zip(range(MAX_FRAMES), frames, strict=False):
            upright = ImageOps.exif_transpose(frame)
            pages.append(_on_white(upright))
        return pages


def _on_white(image: Image.Image) -> Image.Image:
    """Without transparency: black text on nothing would be black on black."""
    layered = image.convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(layered, mask=layered)
    return page


def _words(block: Block) -> str:
    return block.text or "\n".join("  ".join(row) for row in block.rows)


def _read(image: Image.Image, number: int, parsed: ParsedDocument) -> None:
    blocks = ocr.recognise(image)
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
        text="\n".join(_words(block) for block in blocks),
        data=buffer.getvalue(),
    )
    parsed.blocks.append(Block("picture", page=number, box=whole, asset=len(parsed.assets)))
    parsed.assets.append(asset)
    parsed.blocks += blocks
