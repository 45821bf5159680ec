"""An answer as PDF: a page of HTML set by xhtml2pdf, its faces embedded."""

import base64
import importlib.util
import io
import os
import re
from collections.abc import Iterable
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import pypdfium2
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from reportlab.pdfbase.ttfonts import TTFontFace
from reportlab.platypus import paragraph
from reportlab.platypus.doctemplate import LayoutError
from svglib.fonts import register_font
from xhtml2pdf import pisa, reportlab_paragraph
from xhtml2pdf.config.resources import ResourceAccessPolicy

from chat.exports.answer import Answer, ShownFigure
from chat.exports.blocks import Block, Cell, Span, Table
from chat.exports.formulas import HAN, Drawing, drawing
from opsdesk.errors import BoundaryError

WIDTH, HEIGHT = 640, 560  # the room for a picture, in pixels of 1/96 inch
SIZE = 14.0  # pixels, of the letters of text
INDENT, HANGING = 14.0, 6  # points a level; levels deeper stand no farther right
WIDE = 9  # columns: a table with more lies across the page
FORMULA = 600.0  # pixels: a wider one is made smaller
MISSING = "□"  # of a letter that no face has
# Pictures that no face has are shown by a sign that says the same, or left out: they decorate.
_PICTURE = re.compile("[\u2300-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\u200d\ufe0e\ufe0f\u20e3]")
_LIKE = dict(
    zip(
        "✅❌❎🚫⛔❗❕❓❔⭐🌟👉👈👆👇🔴🟢🟡🔵🔺🔻🔸🔹",
        "✔✘✘✘✘！！？？★★→←↑↓●●●●▲▼◆◆",
        strict=True,
    )
)
_LATIN = re.compile(r"([\x20-\x7e\xa0]+)")
_PIECE = re.compile(r".{1,800}", re.DOTALL)
_SPACES = re.compile(r"^ +| {2,}")

# xhtml2pdf carries old copies of these functions: the first cuts Latin words in two and drops
# <br>, the others fail on the lines of a paragraph that goes on on the next page.
for _name in (
    "cjkFragSplit",
    "_leftDrawParaLine",
    "_centerDrawParaLine",
    "_rightDrawParaLine",
    "_justifyDrawParaLine",
):
    setattr(reportlab_paragraph, _name, getattr(paragraph, _name))


class ExportError(BoundaryError):
    """The answer could not be set as a document."""


def export(answer: Answer) -> bytes:
    """The answer on A4 pages. Raises ExportError."""
    try:
        return _print(answer, grid=True)
    except LayoutError:
        # A merged cell higher than a page: the words of the tables without their grid.
        return _print(answer, grid=False)


def pages(answer: Answer, dots: float = 60) -> list[bytes]:
    """The same pages as PNG, with `dots` an inch. Raises ExportError."""
    shown = []
    with pypdfium2.PdfDocument(export(answer)) as document:
        for page in document:
            buffer = io.BytesIO()
            page.render(scale=dots / 72).to_pil().save(buffer, "PNG")
            shown.append(buffer.getvalue())
    return shown


def _print(answer: Answer, grid: bool) -> bytes:
    html = render_to_string(
        "chat/exports/answer.html",
        {
            "answer": answer,
            "title": _text(answer.title),
            "question": _text(answer.question),
            "text": _blocks(answer.body, grid),
            "figures": [_figure(figure, grid) for figure in answer.figures],
            "sources": [
                {
                    "n": source.n, "label": _text(source.label), "url": source.url,
                    "original": source.original, "quote": _blocks(source.quote, grid),
                }
                for source in answer.sources
            ],
            "faces": {"han": han(), "signs": signs()},
        },
    )  # fmt: skip
    buffer = io.BytesIO()
    root = os.path.commonpath([han(), signs()])  # all else is in the page itself
    policy = ResourceAccessPolicy(allow_remote=False, base_dir=root)
    made = pisa.CreatePDF(
        html,
        buffer,
        encoding="utf-8",
        resource_policy=policy,
        context_meta={"title": answer.title},
    )
    if made.err:
        raise ExportError(_("The answer could not be set as PDF."), permanent=True)
    return buffer.getvalue()


# --- blocks as HTML -----------------------------------------------------------------


def _blocks(found: Iterable[Block], grid: bool) -> SafeString:
    return mark_safe("\n".join(_block(block, grid) for block in found))  # noqa: S308 - escaped


def _block(block: Block, grid: bool) -> str:
    left = INDENT * min(block.indent, HANGING)
    match block.kind:
        case "heading":
            level = min(block.level + 2, 6)
            return f"<h{level}>{_spans(block.spans)}</h{level}>"
        case "code":
            lines = "<br/>".join(map(_code, block.text.split("\n")))
            return f'<p class="code" style="margin-left: {left}pt">{lines}</p>'
        case "formula":
            shown = _spans([Span(block.text, formula="display")])
            return f'<p class="formula">{shown}</p>'
        case "table":
            return _table(block.table, grid) if block.table and block.table.cells else ""
        case "rule":
            return "<hr/>"
    kind = ' class="quoted"' if block.quote else ""
    style = f"margin-left: {left}pt"
    if block.marker:
        style += f"; text-indent: -{INDENT}pt"
    marker = f"{escape(block.marker)}\xa0" if block.marker else ""
    return f'<p{kind} style="{style}">{marker}{_spans(block.spans)}</p>'


def _spans(spans: Iterable[Span]) -> str:
    return "".join(map(_span, spans))


def _span(span: Span) -> str:
    if span.formula:
        drawn = drawing(span.text, span.formula == "inline")
        return _drawn(drawn, span.text) if drawn else _code(span.text)
    if span.code:
        return _code(span.text)
    shown: str = _text(span.text)
    for wanted, tag in ((span.bold, "strong"), (span.italic, "em"), (span.strike, "del")):
        if wanted:
            shown = f"<{tag}>{shown}</{tag}>"
    href = f"#source-{span.cite}" if span.cite else span.href
    return f'<a href="{escape(href)}">{shown}</a>' if href else shown


def _drawn(formula: Drawing, tex: str) -> str:
    register_font(HAN, str(han()))
    scale = SIZE * min(1, FORMULA / (formula.width * SIZE))
    source = base64.b64encode(formula.svg.encode()).decode()
    return (
        f'<img src="data:image/svg+xml;base64,{source}" alt="{escape(tex)}"'
        f' width="{formula.width * scale:.1f}" height="{formula.height * scale:.1f}"'
        ' align="middle"/>'
    )


def _text(text: str) -> SafeString:
    """In the face that has each letter: Chinese first, then that of signs; else a square."""
    shown = []
    for face, run in groupby(_PICTURE.sub(_pictured, text), key=_face):
        letters = escape("".join(run))
        if face == "Signs":
            letters = f'<font face="Signs">{letters}</font>'
        shown.append(letters if face else f'<font face="Signs">{MISSING * len(letters)}</font>')
    return mark_safe("".join(shown).replace("\n", "<br/>"))  # noqa: S308 - escaped


def _pictured(found: re.Match[str]) -> str:
    return found[0] if _drawable(found[0]) else _LIKE.get(found[0], "")


def _drawable(letter: str) -> bool:
    return letter not in "\u200d\ufe0e\ufe0f" and bool(_face(letter))


def _face(letter: str) -> str:
    if ord(letter) < 127 or ord(letter) in _letters(han()):
        return "Han"
    return "Signs" if ord(letter) in _letters(signs()) else ""


def _code(line: str) -> str:
    """Commands in Courier, whose columns stand under each other; the rest in our own face."""
    kept = _SPACES.sub(lambda run: "\xa0" * len(run[0]), line.expandtabs(4))
    runs = _LATIN.split(kept)
    return "".join(
        f'<font face="Courier">{escape(run)}</font>' if n % 2 else str(_text(run))
        for n, run in enumerate(runs)
    )


def _table(table: Table, grid: bool) -> str:
    cut = _("Further rows are in the original.")
    note = f'<p class="quiet">{escape(cut)}</p>' if table.cut else ""
    if not grid:
        return "".join(f'<p class="quiet">{_text(piece)}</p>' for piece in _pieces(table)) + note
    size = 9 if table.columns <= 6 else 8 if table.columns <= WIDE else 7
    cells = sorted(table.cells, key=lambda cell: (cell.row, cell.column))
    rows = "".join(
        f"<tr>{''.join(_cell(cell, size) for cell in row)}</tr>"
        for _row, row in groupby(cells, key=lambda cell: cell.row)
    )
    return f'<table repeat="{table.header_rows}">{rows}</table>{note}'


def _cell(cell: Cell, size: int) -> str:
    tag = "th" if cell.header else "td"
    return (
        f'<{tag} colspan="{cell.columns}" rowspan="{cell.rows}" style="font-size: {size}pt">'
        f"{_spans(cell.spans)}</{tag}>"
    )


def _pieces(table: Table) -> list[str]:
    """The words of the cells, each piece shorter than a page: a longer one is not split twice."""
    texts = ("".join(span.text for span in cell.spans) for cell in table.cells)
    return [piece for text in texts for piece in _PIECE.findall(text)]


def _figure(figure: ShownFigure, grid: bool) -> dict[str, Any]:
    """What the template shows of a figure: its rows, or its picture with a size, or neither."""
    shown: dict[str, Any] = {"label": _text(figure.label), "above": figure.above}
    if figure.above:
        return shown
    if figure.table:
        shown["table"] = mark_safe(_table(figure.table, grid))  # noqa: S308 - escaped
        shown["across"] = grid and figure.table.columns > WIDE
    elif picture := figure.picture:
        scale = min(1, WIDTH / picture.width, HEIGHT / picture.height)
        shown["picture"] = {
            "url": f"data:image/png;base64,{base64.b64encode(picture.png).decode()}",
            "width": round(picture.width * scale),
            "height": round(picture.height * scale),
        }
    return shown


# --- faces --------------------------------------------------------------------------


@cache
def han() -> Path:
    """A TrueType face with Chinese, from the package that carries one."""
    return _packaged("docvortex", "resources/fonts/DroidSansFallbackFull.ttf")


@cache
def signs() -> Path:
    """One with arrows, marks and letters of other scripts."""
    return _packaged("ziafont", "fonts/DejaVuSans.ttf")


def _packaged(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0]) / path


@cache
def _letters(face: Path) -> frozenset[int]:
    return frozenset(TTFontFace(str(face)).charToGlyph)
