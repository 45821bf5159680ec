"""A PDF: pages with a usable text layer through DocVortex, the others through text recognition.

DocVortex's own way with scans is to ask for models from the network; it never sees them here.
"""

import io
import time

import pypdfium2
from docvortex.document.pdf import PDFDocument
from docvortex.document.pdf.pdfium import safe_rewrite_pdf_bytes_with_pdfium_result
from pypdfium2 import raw

from knowledge.parsing import docvortex, ocr
from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.unreadable import Unreadable

DPI = 200
MAX_PIXELS = 40_000_000  # of a rendered page; larger pages are rendered coarser
# Fewer characters than these do not make a page of text when a picture fills it.
FEW = 50


def parse(data: bytes, password: str | None, seconds: float) -> ParsedDocument:
    """All pages in order. Text recognition stops after `seconds` and says so in a warning."""
    deadline = time.monotonic() + seconds
    with _open(data, password) as document:
        if password:
            data = _unlocked(document)
        scans = _scans(document, data)
        texts = [page for page in range(len(document)) if page not in scans]
        parsed = _text_pages(data, texts, whole=not scans)
        parsed.pages = len(document)
        if scans:
            _read_scans(document, scans, parsed, deadline)
    return parsed


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


def _text_pages(data: bytes, pages: list[int], whole: bool) -> ParsedDocument:
    if not pages:
        return ParsedDocument()
    chosen = "" if whole else ",".join(str(page + 1) for page in pages)
    return docvortex.parse(data, "pdf", chosen)


def _scans(document: pypdfium2.PdfDocument, data: bytes) -> set[int]:
    """Pages (from 0) whose text must be recognised: pictures of text, and broken encodings."""
    whole = PDFDocument(data)
    try:
        doubtful = whole.classify() != "txt"
    finally:
        whole.close()
    return {page for page in range(len(document)) if _is_scan(document, data, page, doubtful)}


def _is_scan(document: pypdfium2.PdfDocument, data: bytes, number: int, doubtful: bool) -> bool:
    page = document[number]
    try:
        text = page.get_textpage().get_text_bounded()
        covered = _covered(page)
    finally:
        page.close()
    characters = len("".join(text.split()))
    if characters < FEW:
        # A title page or an empty one is no scan; a picture with a page number is.
        return covered > 0.4 if characters else covered > 0.02
    return doubtful and _classified_scan(data, number)


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


def _read_scans(
    document: pypdfium2.PdfDocument, scans: set[int], parsed: ParsedDocument, deadline: float
) -> None:
    found: list[Block] = []
    for done, number in enumerate(sorted(scans)):
        if done and time.monotonic() > deadline:
            parsed.warnings.append(f"ocr_stopped:{done}")
            break
        found += _recognise(document, number)
    parsed.blocks = sorted(parsed.blocks + found, key=lambda block: block.page or 0)
    parsed.parser = f"{parsed.parser} + rapidocr" if parsed.parser else "rapidocr"


def _recognise(document: pypdfium2.PdfDocument, number: int) -> list[Block]:
    page = document[number]
    width, height = page.get_size()
    scale = min(DPI / 72, (MAX_PIXELS / max(width * height, 1)) ** 0.5)
    image = page.render(scale=scale).to_pil()
    page.close()
    blocks = ocr.recognise(image)
    for block in blocks:
        block.page = number + 1
    return blocks
