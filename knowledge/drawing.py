"""Run as a script, in a process of its own: one page of a PDF or an image as a PNG.

    python -I drawing.py PAGE < ORIGINAL > PNG

A hostile file can only take this process down. Exits with 3 when there is no such page.
"""

import os
import resource
import sys
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH = 1400  # pixels: a page fills a large window and small print stays legible
MAX_SIDE = 8000
MAX_PIXELS = 12_000_000
MEMORY = 2 * 1024**3
SECONDS = 20
NO_SUCH_PAGE = 3
PASSWORD = "OPSDESK_FILE_PASSWORD"  # noqa: S105 - the name of a variable


def main(page: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * MAX_PIXELS, 8 * MAX_PIXELS))
    original = sys.stdin.buffer.read()
    image = _pdf(original, page) if b"%PDF-" in original[:1024] else _image(original, page)
    image.save(sys.stdout.buffer, format="PNG")


def _pdf(original: bytes, page: int) -> "Image":
    import pypdfium2

    document = pypdfium2.PdfDocument(original, password=os.environ.get(PASSWORD) or None)
    if not 1 <= page <= len(document):
        sys.exit(NO_SUCH_PAGE)
    sheet = document[page - 1]
    width, height = (max(side, 1.0) for side in sheet.get_size())
    scale = min(WIDTH / width, _fitting(width, height))
    return sheet.render(scale=scale).to_pil().convert("RGB")


def _image(original: bytes, page: int) -> "Image":
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = 100_000_000
    image = Image.open(BytesIO(original))
    if not 1 <= page <= getattr(image, "n_frames", 1):
        sys.exit(NO_SUCH_PAGE)
    image.seek(page - 1)
    upright = ImageOps.exif_transpose(image).convert("RGBA" if _transparent(image) else "RGB")
    share = min(1.0, _fitting(upright.width, upright.height))
    return upright.resize((max(1, int(upright.width * share)), max(1, int(upright.height * share))))


def _fitting(width: float, height: float) -> float:
    """The scale at which a picture is as large as we draw any."""
    return min(MAX_SIDE / width, MAX_SIDE / height, (MAX_PIXELS / (width * height)) ** 0.5)


def _transparent(image: "Image") -> bool:
    return image.mode in {"RGBA", "LA"} or "transparency" in image.info


if __name__ == "__main__":
    main(int(sys.argv[1]))
