"""An answer as PDF."""

import importlib.util
import io
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from django.utils.translation import gettext as _
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    Flowable,
    HRFlowable,
    Image,
    KeepTogether,
    LongTable,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
)
from reportlab.platypus.doctemplate import LayoutError

from chat.exports.answer import Answer, ShownFigure
from chat.exports.blocks import Block, Cell, Span, Table, blocks

FONT = "OpsDesk"
MARGIN = 20 * mm
WIDTH = A4[0] - 2 * MARGIN - 12  # the frame pads 6 points on either side
PICTURE_HEIGHT = 190 * mm
DOT = 72 / 96  # points of paper a pixel of a picture takes
ACCENT, QUIET, LINE, SHADE = (HexColor(c) for c in ("#0b5a54", "#5a666d", "#b9c2c7", "#eef1f3"))
LATIN = re.compile(r"([\x20-\x7e\xa0]+)")
SPACES = re.compile(r"^ +| {2,}", re.M)


def export(answer: Answer) -> bytes:
    """The answer on A4 pages, its Chinese face embedded."""
    try:
        return _build(answer, tables=True)
    except LayoutError:
        # A merged cell higher than a page: the words of the tables without their grid.
        return _build(answer, tables=False)


def _build(answer: Answer, tables: bool) -> bytes:
    _register()
    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        title=answer.title,
        author=_("OpsDesk"),
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=18 * mm,
        bottomMargin=20 * mm,
    )
    document.build(list(_story(answer, tables)), onFirstPage=_number, onLaterPages=_number)
    return buffer.getvalue()


def _story(answer: Answer, tables: bool) -> Iterator[Flowable]:
    yield _paragraph(answer.title, _style("title", fontSize=16, leading=22, spaceAfter=4))
    yield _quiet(answer.byline)
    if answer.question:
        yield _paragraph(answer.question, _boxed("question", "#e0f2ef"))
    yield _heading(_("Answer"))
    for block in blocks(answer.text):
        yield from _block(block, tables)
    if answer.figures:
        yield _heading(_("Figures and tables"))
    for figure in answer.figures:
        yield from _figure(figure, tables)
    if answer.sources:
        yield _heading(_("Sources"))
    for label, quote in answer.sources:
        yield _paragraph(label, _style("source", spaceAfter=1, keepWithNext=1))
        yield _paragraph(
            quote,
            _style("quote", fontSize=9, leading=14, textColor=QUIET, leftIndent=12, spaceAfter=7),
        )


# --- blocks ---------------------------------------------------------------------
def _block(block: Block, tables: bool) -> Iterator[Flowable]:
    indent = block.indent * 14
    match block.kind:
        case "heading":
            size = 13 if block.level <= 2 else 11.5
            style = _style(
                "inner",
                fontSize=size,
                leading=size * 1.5,
                spaceBefore=6,
                textColor=ACCENT,
                keepWithNext=1,
            )
            yield Paragraph(_markup(block.spans), style)
        case "code":
            yield Paragraph(_code(block.text), _boxed("code", "#eef1f3", indent, 9))
        case "table" if block.table:
            yield from _table(block.table, tables)
        case "rule":
            yield HRFlowable(width="100%", color=LINE, spaceBefore=4, spaceAfter=6)
        case _:
            style = _style(
                "body",
                leftIndent=indent,
                bulletIndent=max(indent - 14, 0),
                spaceAfter=3 if indent else 6,
                textColor=QUIET if block.quote else HexColor("#1d2529"),
            )
            yield Paragraph(_markup(block.spans), style, bulletText=block.marker or None)


def _table(table: Table, grid: bool) -> Iterator[Flowable]:
    if not table.cells:
        return
    size = 9 if table.columns <= 8 else 7
    style = _style("cell", fontSize=size, leading=size * 1.5, spaceAfter=0)
    if not grid:
        for cell in table.cells:
            yield Paragraph(_markup(cell.spans), style)
        return
    rows: list[list[Any]] = [[""] * table.columns for _row in range(table.rows)]
    for cell in table.cells:
        rows[cell.row][cell.column] = Paragraph(_markup(cell.spans), style)
    yield LongTable(
        rows,
        colWidths=_widths(table),
        style=_grid(table.cells),
        repeatRows=table.header_rows,
        splitInRow=1,
        hAlign="LEFT",
        spaceAfter=6,
    )
    if table.cut:
        yield _quiet(_("Further rows are in the original."))


def _widths(table: Table) -> list[float]:
    """A share of the page for every column, by the longest text in it."""
    longest = [4] * table.columns
    for cell in table.cells:
        length = sum(len(span.text) for span in cell.spans) // cell.columns
        longest[cell.column] = max(longest[cell.column], min(length, 40))
    return [WIDTH * width / sum(longest) for width in longest]


def _grid(cells: Iterable[Cell]) -> list[tuple[Any, ...]]:
    commands: list[tuple[Any, ...]] = [
        ("GRID", (0, 0), (-1, -1), 0.5, LINE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ]
    for cell in cells:
        start = (cell.column, cell.row)
        end = (cell.column + cell.columns - 1, cell.row + cell.rows - 1)
        if start != end:
            commands.append(("SPAN", start, end))
        if cell.header:
            commands.append(("BACKGROUND", start, end, SHADE))
    return commands


def _figure(figure: ShownFigure, tables: bool) -> Iterator[Flowable]:
    caption = _quiet(figure.label)
    if figure.table:
        yield from _table(figure.table, tables)
        yield caption
    elif figure.picture:
        picture = figure.picture
        scale = min(DOT, WIDTH / picture.width, PICTURE_HEIGHT / picture.height)
        image = Image(
            io.BytesIO(picture.png), picture.width * scale, picture.height * scale, hAlign="LEFT"
        )
        yield KeepTogether([image, Spacer(1, 3), caption])
    else:
        yield KeepTogether([_quiet(_("The picture cannot be shown.")), caption])


# --- text -------------------------------------------------------------------------
def _markup(spans: Iterable[Span]) -> str:
    return "".join(_span(span) for span in spans)


def _span(span: Span) -> str:
    if span.code:
        return _code(span.text)
    text = _lines(span.text)
    if span.bold or span.italic:  # the one face has neither
        text = f'<font color="#0b5a54">{text}</font>'
    if span.strike:
        text = f"<strike>{text}</strike>"
    if span.href.startswith(("http://", "https://")):
        text = f'<a href={quoteattr(span.href)} color="#0f766e">{text}</a>'
    return text


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br/>")


def _code(text: str) -> str:
    """Commands in Courier, whose columns stand under each other; the rest in our own face."""
    kept = SPACES.sub(lambda run: "\xa0" * len(run[0]), text.expandtabs(4))
    runs = LATIN.split(kept)
    return "".join(
        f'<font name="Courier">{escape(run)}</font>' if n % 2 else _lines(run)
        for n, run in enumerate(runs)
    )


def _paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(_lines(text), style)


def _quiet(text: str) -> Paragraph:
    return _paragraph(text, _style("quiet", fontSize=9, leading=14, textColor=QUIET, spaceAfter=8))


def _heading(text: str) -> Paragraph:
    return _paragraph(
        text,
        _style(
            "heading",
            fontSize=12,
            leading=18,
            textColor=ACCENT,
            spaceBefore=10,
            spaceAfter=4,
            keepWithNext=1,
        ),
    )


def _boxed(name: str, color: str, indent: float = 0, size: float = 10.5) -> ParagraphStyle:
    return _style(
        name,
        fontSize=size,
        leading=size * 1.5,
        backColor=HexColor(color),
        borderPadding=(4, 6, 5, 6),
        leftIndent=indent + 6,
        rightIndent=6,
        spaceBefore=6,
        spaceAfter=11,
    )


def _style(name: str, **options: Any) -> ParagraphStyle:
    defaults = {
        "fontName": FONT,
        "fontSize": 10.5,
        "leading": 16,
        "wordWrap": "CJK",
        "textColor": HexColor("#1d2529"),
        "spaceAfter": 6,
        "bulletFontName": FONT,
    }
    return ParagraphStyle(name, **{**defaults, **options})


def _number(canvas: Any, document: Any) -> None:
    canvas.setFont(FONT, 8)
    canvas.setFillColor(QUIET)
    canvas.drawRightString(A4[0] - MARGIN, 10 * mm, str(document.page))


@cache
def _register() -> None:
    pdfmetrics.registerFont(TTFont(FONT, font()))


def font() -> Path:
    """A TrueType face with Chinese, from the package that carries one."""
    spec = importlib.util.find_spec("docvortex")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("docvortex is not installed")
    return Path(spec.submodule_search_locations[0]) / "resources/fonts/DroidSansFallbackFull.ttf"
