"""A PDF: pages with a usable text layer through DocVortex, the others through text recognition.

DocVortex's own way with scans is to ask for models from the network; it never sees them here.
"""

import io
import math
from collections.abc import Iterator
from functools import cache
from itertools import groupby

import pypdfium2
from docvortex.document.pdf import PDFDocument
from docvortex.document.pdf.pdfium import safe_rewrite_pdf_bytes_with_pdfium_result
from pypdfium2 import raw

from knowledge.parsing import concealed, docvortex, layout, legibility, ocr, ruled
from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.parts import PLAN, Part, named, numbers, words
from knowledge.parsing.unreadable import Unreadable

DPI = 200
RULES_DPI = 100  # at which rules between lines of known text are looked for
MAX_PIXELS = 40_000_000  # of a rendered page; larger pages are rendered coarser
AT_ONCE = 100  # pages with a text layer in one step
# Fewer characters than these do not make a page of text when a picture fills it.
FEW = 50
FEWEST_PIECES = 8  # of a table that lies about as paragraphs


def read(data: bytes, password: str | None, steps: list[str] | None) -> Iterator[Part]:
    """The plan and all of its steps, or only `steps` of an earlier plan."""
    with _open(data, password) as document:
        if password:
            data = _unlocked(document)
        if steps is None:
            steps = _plan(document, data)
            yield Part(PLAN, ParsedDocument(pages=len(document)), steps)
        for step in steps:
            pages = numbers(step)
            if step.startswith("page:"):
                yield Part(step, _page(document, data, pages[0]))
            else:
                yield Part(step, _text_pages(document, data, pages))


def _plan(document: pypdfium2.PdfDocument, data: bytes) -> list[str]:
    scans = _scans(document, data)
    texts = [page + 1 for page in range(len(document)) if page not in scans]
    ranges = (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))
    return [
        *(named("text", pages) for pages in ranges),
        *(f"page:{page + 1}" for page in sorted(scans)),
    ]


def _open(data: bytes, password: str | None) -> pypdfium2.PdfDocument:
    try:
        document = pypdfium2.PdfDocument(data, password=password)
    except pypdfium2.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise Unreadable("wrong_password" if password else "password") from error
        raise Unreadable("broken") from error
    if len(document) == 0:
        raise Unreadable("broken")
    return document


def _unlocked(document: pypdfium2.PdfDocument) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer, flags=raw.FPDF_REMOVE_SECURITY)
    return buffer.getvalue()


def _page(document: pypdfium2.PdfDocument, data: bytes, number: int) -> ParsedDocument:
    """What is recognised on the page; its text layer if that only looked wrong."""
    found = _recognised(document, number)
    layer = _layer(document, number - 1)
    said = "\n".join(map(words, found.blocks))
    if legibility.suspicious(layer) and legibility.agrees(layer, said):
        return _text_pages(document, data, [number])
    return found


def _text_pages(document: pypdfium2.PdfDocument, data: bytes, pages: list[int]) -> ParsedDocument:
    chosen = "" if len(pages) == len(document) else named("", pages)[1:]
    parsed = docvortex.parse(data, "pdf", chosen)
    if hidden := concealed.take_out(parsed, concealed.pdf(document, pages)):
        parsed.warnings.append(f"hidden_text:{hidden}")
    _read_in_pictures(document, parsed)
    _find_tables(document, parsed)
    for _number, blocks in groupby(parsed.blocks, key=lambda block: block.page):
        legibility.undouble(list(blocks), parsed.assets)
    return parsed


# --- Tables without rules, which DocVortex leaves as scattered pieces -----------------


def _find_tables(document: pypdfium2.PdfDocument, parsed: ParsedDocument) -> None:
    for run in _scattered(parsed.blocks):
        found = _layout(document, run)
        if any(block.kind == "table" for block in found):
            start = parsed.blocks.index(run[0])
            parsed.blocks[start : start + len(run)] = found


def _read_in_pictures(document: pypdfium2.PdfDocument, parsed: ParsedDocument) -> None:
    """Text, or a table, in a region that DocVortex took for a picture or a formula."""
    lines_of = cache(lambda number: _lines(document[number - 1]))  # a page may have hundreds
    for block in parsed.blocks:
        if block.kind == "picture" and block.box and block.page:
            left, top, right, bottom = block.box
            page = document[block.page - 1]
            width, height = page.get_size()
            inside = [
                line
                for line in lines_of(block.page)
                if left * width <= line.centre <= right * width
                and top * height <= line.middle <= bottom * height
            ]
            if not _read_ruled(page, block, inside):
                block.text = block.text or layout.as_text(inside)


def _read_ruled(page: pypdfium2.PdfPage, block: Block, lines: list[layout.Line]) -> bool:
    """Make the block a table, if rules part all of the lines; whether they do."""
    if len(lines) < layout.FEWEST_ROWS:
        return False
    scale = min(RULES_DPI / 72, (MAX_PIXELS / max(math.prod(page.get_size()), 1)) ** 0.5)
    picture = page.render(scale=scale, grayscale=True).to_numpy()
    scaled = [line.scaled(scale) for line in lines]
    for grid in ruled.grids(picture, scaled):
        held = all(grid.holds(line) and len(ruled.split(grid, line)) == 1 for line in scaled)
        if held and (table := ruled.table(grid, scaled)):
            block.kind, block.rows, block.html = "table", table.rows, table.html
            block.header_rows, block.asset, block.text = table.header_rows, None, ""
            return True
    return False


def _scattered(blocks: list[Block]) -> list[list[Block]]:
    """Runs of paragraphs on one page most of which stand beside another of the run."""
    runs = [list(run) for _, run in groupby(blocks, key=lambda block: (block.kind, block.page))]
    return [
        run
        for run in runs
        if run[0].kind == "paragraph"
        and len(run) >= FEWEST_PIECES
        and sum(_has_neighbour(block, run) for block in run) > len(run) * 0.6
    ]


def _has_neighbour(block: Block, run: list[Block]) -> bool:
    return any(
        other is not block
        and other.box is not None
        and block.box is not None
        and min(block.box[3], other.box[3]) - max(block.box[1], other.box[1]) > 0.003
        and (other.box[0] >= block.box[2] or other.box[2] <= block.box[0])
        for other in run
    )


def _layout(document: pypdfium2.PdfDocument, run: list[Block]) -> list[Block]:
    """The region of the run, read again from the text layer by the places of its pieces."""
    number = run[0].page or 1
    page = document[number - 1]
    width, height = page.get_size()
    if page.get_mediabox()[:2] != (0, 0):
        return []
    boxes = [block.box for block in run if block.box]
    top, bottom = min(box[1] for box in boxes), max(box[3] for box in boxes)
    lines = [line for line in _lines(page) if top - 0.005 <= line.middle / height <= bottom + 0.005]
    found = layout.blocks(lines, width, height)
    for block in found:
        block.page = number
    return found


def _lines(page: pypdfium2.PdfPage) -> list[layout.Line]:
    """Pieces of the text layer as the page is seen, in points from its top left."""
    text = page.get_textpage()
    turned, (width, height) = page.get_rotation(), page.get_size()
    lines = []
    for index in range(text.count_rects()):
        left, bottom, right, top = text.get_rect(index)
        content = " ".join(text.get_text_bounded(left, bottom, right, top).split())
        box = {
            0: (left, height - top, right, height - bottom),
            90: (bottom, left, top, right),
            180: (width - right, bottom, width - left, top),
            270: (width - top, height - right, width - bottom, height - left),
        }[turned]
        if content:
            lines.append(layout.Line(content, *box))
    return lines


# --- Pages without a usable text layer -------------------------------------------------


def _scans(document: pypdfium2.PdfDocument, data: bytes) -> set[int]:
    """Pages (from 0) whose text must be recognised: pictures of text, and broken encodings."""
    whole = PDFDocument(data)
    try:
        doubtful = whole.classify() != "txt"
    finally:
        whole.close()
    return {page for page in range(len(document)) if _is_scan(document, data, page, doubtful)}


def _is_scan(document: pypdfium2.PdfDocument, data: bytes, number: int, doubtful: bool) -> bool:
    text = _layer(document, number)
    page = document[number]
    try:
        covered = _covered(page)
    finally:
        page.close()
    if legibility.suspicious(text):
        return True
    characters = len("".join(text.split()))
    if characters < FEW:
        # A title page or an empty one is no scan; a picture with a page number is.
        return covered > 0.4 if characters else covered > 0.02
    return doubtful and _classified_scan(data, number)


def _layer(document: pypdfium2.PdfDocument, number: int) -> str:
    page = document[number]
    try:
        return str(page.get_textpage().get_text_bounded())
    finally:
        page.close()


def _covered(page: pypdfium2.PdfPage) -> float:
    """Share of the page under its largest picture; outlined letters count as a little."""
    width, height = page.get_size()
    shares = [0.0]
    paths = 0
    for thing in page.get_objects(max_depth=3):
        if thing.type == raw.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = thing.get_bounds()
            shares.append(max(0.0, right - left) * max(0.0, top - bottom) / (width * height))
        elif thing.type == raw.FPDF_PAGEOBJ_PATH:
            paths += 1
    return max(*shares, 0.1 if paths > 100 else 0.0)


def _classified_scan(data: bytes, number: int) -> bool:
    """DocVortex's judgement of this page alone; it judges whole documents by a sample."""
    single = safe_rewrite_pdf_bytes_with_pdfium_result(data, page_indices=[number]).pdf_bytes
    if not single:
        return True
    document = PDFDocument(single)
    try:
        return bool(document.classify() != "txt")
    finally:
        document.close()


def _recognised(document: pypdfium2.PdfDocument, number: int) -> ParsedDocument:
    page = document[number - 1]
    width, height = page.get_size()
    scale = min(DPI / 72, (MAX_PIXELS / max(width * height, 1)) ** 0.5)
    image = page.render(scale=scale).to_pil()
    page.close()
    blocks = ocr.recognise(image)
    for block in blocks:
        block.page = number
    return ParsedDocument(blocks=blocks, parser="rapidocr")
