"""PDF text, Office, HTML, RTF, ODF, EPUB, OFD and CSV through DocVortex.

Runs in the parsing subprocess only: it changes DocVortex for the whole process.
"""

import hashlib
import io
import re
from collections.abc import Callable
from typing import Any

import docvortex
from docvortex.content import normalization
from docvortex.errors import DocumentError
from docvortex.result import DocumentResult
from docvortex.schema import BlockType
from loguru import logger
from PIL import Image, UnidentifiedImageError

from knowledge.parsing import (
    captions,
    concealed,
    embedded,
    formulas,
    office,
    opendocument,
    tables,
    webpage,
)
from knowledge.parsing.document import Asset, Block, ParsedDocument
from knowledge.parsing.joining import join_lines, unify
from knowledge.parsing.unreadable import Unreadable

SMALLEST_PICTURE = 32  # px; below it is a bullet or a rule
SPREADSHEETS = {"xls", "xlsx", "ods"}
PAGED = {"pdf", "ppt", "pptx", "odp", "ofd"} | SPREADSHEETS
_SENTENCE_ENDS = ("。", "；", "，", "！", "、")
_HIDDEN = {BlockType.HEADER, BlockType.FOOTER, BlockType.PAGE_NUMBER, BlockType.INDEX}
_JUNK_TITLES = re.compile(
    r"\(?(anonymous|untitled|unspecified)\)?|microsoft word.*|无标题.*|.*(演示文稿|presentation)"
    r"|slide 1|.*\.(docx?|pptx?|xlsx?|wps|pdf|indd)",
    re.IGNORECASE,
)

# What Office writes under the descriptions that it makes of pictures.
_MADE_UP = re.compile(r"AI 生成的内容可能不正确。|AI-generated content may be incorrect\.")

logger.remove()  # DocVortex logs every step
# DocVortex writes half-width colons and signs for full-width ones in PDFs; letters it may.
normalization._PDF_SYMBOL_TRANSLATION.clear()


def parse(data: bytes, suffix: str, page_range: str = "") -> ParsedDocument:
    """The document, its blocks in reading order.

    `page_range` ("1-3,7") selects pages of a PDF. Raises Unreadable, or whatever DocVortex
    stumbles over.
    """
    parsed = _entire(data, suffix, page_range)
    if suffix in office.SUFFIXES:
        embedded.read(parsed, data, _entire)
    captions.link(parsed)
    return parsed


def _entire(data: bytes, suffix: str, page_range: str = "") -> ParsedDocument:
    """With what DocVortex leaves out."""
    blank = hidden = 0
    if suffix == "xlsx":
        data, blank = formulas.shown(data)
    elif suffix == "docx":
        data, hidden = concealed.word(data)
    elif suffix == "html":
        data, hidden = concealed.page(data)
    parsed = _read(data, suffix, page_range)
    if hidden:
        parsed.warnings.append(f"hidden_text:{hidden}")
    if blank:
        parsed.warnings.append(f"formulas_without_value:{blank}")
    if suffix in webpage.SUFFIXES:
        with webpage.whole():
            parsed = webpage.beside(parsed, _read(data, suffix))
    if suffix in office.SUFFIXES:
        office.complete(parsed, data, suffix)
    if suffix == "ods":
        opendocument.place(parsed, data)
    return parsed


def _read(data: bytes, suffix: str, page_range: str = "") -> ParsedDocument:
    mode = {"parse_mode": "txt"} if suffix == "pdf" else {}
    sheets = _watch_sheets() if suffix in SPREADSHEETS else []
    try:
        result = docvortex.parse(data, file_suffix=suffix, page_range=page_range, **mode)
    except DocumentError as error:
        raise Unreadable(_reason(error)) from error
    return _Reader(result, suffix, sheets).read()


def convert(result: DocumentResult, suffix: str) -> ParsedDocument:
    """What another program read and wrote down in DocVortex's way."""
    parsed = _Reader(result, suffix, []).read()
    captions.link(parsed)
    return parsed


def _reason(error: DocumentError) -> Any:
    if "encrypt" in error.code or "password" in error.code:
        return "password"
    return "limits" if "limit" in error.code else "broken"


class _Sheet:
    """A sheet's name, and where its tables stand: their rows and columns from 0, in order."""

    def __init__(self, name: str, hidden: bool) -> None:
        self.name = name
        self.hidden = hidden
        self.tables: list[tuple[list[int], list[int]]] = []


def _watch_sheets() -> list[_Sheet]:
    """Note sheet names and table places while DocVortex works, for it tells neither."""
    from docvortex.analyzers.native.office.spreadsheet.projector import SpreadsheetProjector

    sheets: list[_Sheet] = []
    places: dict[int, tuple[list[int], list[int]]] = {}
    start = SpreadsheetProjector.__init__
    build = SpreadsheetProjector._build_block_from_excel_table
    convert = SpreadsheetProjector._convert_sheet

    def starting(self: Any, *args: Any, **options: Any) -> None:
        start(self, *args, **options)
        self.include_hidden_sheets = True

    def building(self: Any, table: Any) -> dict[str, Any]:
        block = build(self, table)
        rows, columns = list(range(table.num_rows)), list(range(table.num_cols))
        rows = [row + table.anchor[1] for row in rows]
        columns = [column + table.anchor[0] for column in columns]
        for cell in table.data:
            rows[cell.row] = rows[cell.row] if cell.source_row is None else cell.source_row
            if cell.source_col is not None:
                columns[cell.col] = cell.source_col
        places[id(block)] = rows, columns
        return block

    def converting(self: Any, sheet: Any) -> None:
        convert(self, sheet)
        noted = _Sheet(sheet.title, sheet.sheet_state != "visible")
        for block in self.cur_page:
            if block["type"] == BlockType.TABLE and id(block) in places:
                noted.tables.append(places[id(block)])
        # DocVortex starts again with a mended copy when a file has slips.
        sheets[:] = [*(other for other in sheets if other.name != noted.name), noted]

    SpreadsheetProjector.__init__ = starting
    SpreadsheetProjector._build_block_from_excel_table = building
    SpreadsheetProjector._convert_sheet = converting
    return sheets


class _Reader:
    """Turns one DocVortex result into our document."""

    def __init__(self, result: DocumentResult, suffix: str, sheets: list[_Sheet]) -> None:
        self.result = result
        self.suffix = suffix
        self.sheets = sheets
        self.parsed = ParsedDocument(parser=f"docvortex {docvortex.__version__}")
        self.page: int | None = None
        self.places: list[tuple[list[int], list[int]]] = []
        self.away = False  # in a sheet that its author has hidden
        self.pictures: dict[str, int | None] = {}  # asset by the digest of its bytes
        self.skipped = 0
        self.elsewhere = 0  # pictures on other machines, which are not asked
        self.readers: dict[str, Callable[[Any], None]] = {
            BlockType.DOC_TITLE: self._heading,
            BlockType.PARAGRAPH_TITLE: self._heading,
            BlockType.LIST: self._list,
            BlockType.INDEX: self._list,
            BlockType.CODE: self._code,
            BlockType.EQUATION: self._equation,
            BlockType.TABLE: self._table,
            BlockType.IMAGE: self._picture,
            BlockType.CHART: self._chart,
        }

    def read(self) -> ParsedDocument:
        parsed = self.parsed
        pages = self.result.middle_json.pages
        for page in pages:
            if self.suffix in PAGED:
                self.page = page.page_idx + 1
            self.places = []
            if page.page_idx < len(self.sheets):
                self.places = list(self.sheets[page.page_idx].tables)
                self.away = self.sheets[page.page_idx].hidden
            for block in page.blocks:
                self.readers.get(block.type, self._paragraph)(block)
        if self.suffix in PAGED:
            parsed.pages = max((page.page_idx + 1 for page in pages), default=0)
        parsed.page_names = [sheet.name for sheet in self.sheets]
        self._raise_levels()
        for block in parsed.blocks:
            block.text = unify(block.text)
        for asset in parsed.assets:
            asset.caption = unify(asset.caption)
        parsed.title = self._title()
        self._warn()
        return parsed

    def _add(self, block: Block, source: Any) -> Block:
        block.page = self.page
        block.box = source.bbox
        block.hidden = self.away or source.type in _HIDDEN
        if block.text or block.rows or block.asset is not None:
            self.parsed.blocks.append(block)
        return block

    def _paragraph(self, source: Any) -> None:
        text = inline(source.content).strip()
        previous = self.parsed.blocks[-1] if self.parsed.blocks else None
        here = previous is not None and (previous.kind, previous.page) == ("paragraph", self.page)
        if previous and here and getattr(source, "continues_prev", None):
            previous.text = join_lines(previous.text, text)
        else:
            self._add(Block("paragraph", text), source)

    def _heading(self, source: Any) -> None:
        text = " ".join(inline(source.content, links=False).split())
        if text.endswith(_SENTENCE_ENDS):  # bold sentences are often taken for headings
            self._add(Block("paragraph", text), source)
        else:
            self._add(Block("heading", text, level=source.level), source)

    def _list(self, source: Any) -> None:
        self._add(Block("list", "\n".join(_items(source.content))), source)

    def _code(self, source: Any) -> None:
        self._captions(source, "code_caption")
        body = next(child for child in source.content if child.type.endswith("_body"))
        text = body.content if isinstance(body.content, str) else inline(body.content)
        language = getattr(source, "guess_lang", None) or ""
        language = "" if language in {"txt", "text", "plain"} else language
        self._add(Block("code", text.strip("\n"), language=language), source)

    def _equation(self, source: Any) -> None:
        if source.content.strip():
            self._add(Block("formula", source.content.strip()), source)
            return
        self._add(Block("picture", asset=self._asset(source, source, "")), source)

    def _table(self, source: Any) -> None:
        body = next(child for child in source.content if child.type == BlockType.TABLE_BODY)
        place = self.places.pop(0) if self.places else None
        caption = self._captions(source, "table_caption")
        table = tables.read(body.content)
        if not table.cells:  # a form or the like: its picture, and its text as it is laid out
            self._add(self._illustrated(body, source, caption), source)
            return
        self._add_table(table, source, caption, place)
        self._captions(source, "table_footnote")

    def _add_table(
        self,
        table: tables.Table,
        source: Any,
        caption: str,
        place: tuple[list[int], list[int]] | None,
    ) -> None:
        block = Block("table", header_rows=table.header_rows)
        if place:
            table.spread(*place)
            block.first_row, block.first_column = place[0][0] + 1, place[1][0] + 1
        block.rows = table.rows
        if len(block.rows) <= tables.LARGEST_SHOWN:
            block.asset = len(self.parsed.assets)
            asset = Asset("table", captions.number(caption), caption, html=tables.clean(table.html))
            self._append(asset, source)
        self._add(block, source)
        for cell in table.cells:
            for path in cell.pictures:
                self._add(Block("picture", asset=self._image(path, source, "")), source)

    def _picture(self, source: Any) -> None:
        body = next(child for child in source.content if child.type == BlockType.IMAGE_BODY)
        caption = self._caption(source, "image_caption")
        if body.image_url:
            self.elsewhere += 1
        block = self._illustrated(body, source, caption)
        if block.asset is not None or self.suffix == "pdf":
            self._add(block, source)
        self._captions(source, "image_caption", "image_footnote")

    def _chart(self, source: Any) -> None:
        body = next(child for child in source.content if child.type == BlockType.CHART_BODY)
        caption = self._captions(source, "chart_caption")
        if "<table" not in body.content:
            self._add(self._illustrated(body, source, caption), source)
            return
        if body.image_path:
            self._add(Block("picture", asset=self._asset(body, source, caption)), source)
        self._add_table(tables.read(body.content), source, caption, None)

    def _illustrated(self, body: Any, source: Any, caption: str) -> Block:
        """A picture with the text that stands in it, or that describes it."""
        lines = (re.sub(r" {3,}", "  ", line).strip() for line in body.content.splitlines())
        text = "\n".join(line for line in lines if line and not _MADE_UP.fullmatch(line))
        asset = self._asset(body, source, caption)
        if asset is not None:
            self.parsed.assets[asset].text = text
        return Block("picture", text, asset=asset)

    def _caption(self, source: Any, kind: str) -> str:
        texts = [inline(part.content, links=False) for part in source.content if part.type == kind]
        return " ".join(" ".join(texts).split())

    def _captions(self, source: Any, *kinds: str) -> str:
        """A caption is read where it stands, too. Returns the last one's text."""
        caption = ""
        for kind in kinds:
            caption = self._caption(source, kind)
            if caption:
                self._add(Block("paragraph", caption), source)
        return caption

    def _asset(self, body: Any, source: Any, caption: str) -> int | None:
        return self._image(body.image_path, source, caption) if body.image_path else None

    def _image(self, path: str, source: Any, caption: str) -> int | None:
        """The asset of the picture at `path`; None for what is too small or was there before."""
        data = self.result.assets.get(path)
        if data is None:
            return None
        digest = hashlib.sha256(data).hexdigest()
        if digest in self.pictures:
            return None
        asset = picture(data)
        if asset is None:
            self.skipped += 1
        self.pictures[digest] = None
        if asset is None or min(asset.width or 0, asset.height or 0) < SMALLEST_PICTURE:
            return None
        asset.caption, asset.number = caption, captions.number(caption)
        return self._append(asset, source)

    def _append(self, asset: Asset, source: Any) -> int:
        asset.page, asset.box = self.page, source.bbox
        self.parsed.assets.append(asset)
        return len(self.parsed.assets) - 1

    def _raise_levels(self) -> None:
        """DocVortex keeps level 1 for a document's title: without one, levels start at 1."""
        headings = [block for block in self.parsed.blocks if block.kind == "heading"]
        highest = min((block.level or 1 for block in headings), default=1)
        for block in headings:
            block.level = (block.level or 1) - highest + 1

    def _title(self) -> str:
        properties = self.result.middle_json.metadata.document
        title = " ".join((properties.title or "").split()) if properties else ""
        if title and not _JUNK_TITLES.fullmatch(title):
            return title
        if self.suffix in SPREADSHEETS:
            return ""
        first = next((block for block in self.parsed.blocks if block.kind == "heading"), None)
        return first.text if first and first.page in (None, 1) else ""

    def _warn(self) -> None:
        if self.skipped:
            self.parsed.warnings.append(f"pictures_skipped:{self.skipped}")
        if self.elsewhere:
            self.parsed.warnings.append(f"pictures_elsewhere:{self.elsewhere}")
        broken = [d.page_index for d in self.result.diagnostics if d.code == "broken_page"]
        if broken:
            pages = ", ".join(str(index + 1) for index in broken if index is not None)
            self.parsed.warnings.append(f"broken_pages:{pages}")


def inline(spans: Any, links: bool = True) -> str:
    """Markdown of DocVortex's spans: formulas, code and web links marked, no bold or italics."""
    return "".join(_span(span, links) for span in spans)


def _span(span: Any, links: bool) -> str:
    if span.type == "equation_inline":
        return f"${span.content}$"
    if span.type == "code_inline":
        return f"`{span.content}`"
    if span.type != "hyperlink":
        return str(span.content)
    text = inline(span.content)
    if not links or not span.url.startswith(("http://", "https://")) or span.url in text:
        return text
    return f"[{text}]({span.url})"


def _items(children: Any, depth: int = 0) -> list[str]:
    lines = []
    for child in children:
        if child.type in (BlockType.LIST, BlockType.INDEX):
            lines += _items(child.content, depth + 1)
        else:
            lines.append("  " * depth + inline(child.content).strip())
    return lines


def picture(data: bytes) -> Asset | None:
    """An asset of PNG or JPEG bytes, converted where need be; None when it cannot be."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            asset = Asset("picture", width=image.width, height=image.height, data=data)
            if image.format in ("PNG", "JPEG"):
                asset.media_type = f"image/{image.format.lower()}"
                return asset
            buffer = io.BytesIO()
            image.convert("RGBA").save(buffer, "PNG")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    asset.data, asset.media_type = buffer.getvalue(), "image/png"
    return asset
