"""An answer as PDF: a page of HTML set by xhtml2pdf, its Chinese face embedded."""

import base64
import importlib.util
import io
import re
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from reportlab.platypus import paragraph
from reportlab.platypus.doctemplate import LayoutError
from xhtml2pdf import pisa, reportlab_paragraph
from xhtml2pdf.config.resources import ResourceAccessPolicy

from chat.exports.answer import Answer, Picture, ShownFigure
from chat.exports.blocks import Table, plain
from opsdesk.errors import BoundaryError

WIDTH, HEIGHT = 640, 700  # the room for a picture, in pixels of 1/96 inch
_LATIN = re.compile(r"([\x20-\x7e\xa0]+)")
_PIECE = re.compile(r".{1,800}", re.DOTALL)
_SPACES = re.compile(r"^ +| {2,}")

# xhtml2pdf carries an old copy of this function, which cuts Latin words in two and drops <br>.
reportlab_paragraph.cjkFragSplit = paragraph.cjkFragSplit


class ExportError(BoundaryError):
    """The answer could not be set as a document."""


def export(answer: Answer) -> bytes:
    """The answer on A4 pages. Raises ExportError."""
    try:
        return _print(answer, grid=True)
    except LayoutError:
        # A merged cell higher than a page: the words of the tables without their grid.
        return _print(answer, grid=False)


def _print(answer: Answer, grid: bool) -> bytes:
    html = render_to_string(
        "chat/exports/answer.html",
        {
            "answer": answer,
            "text": _markdown().render(plain(answer.text)),
            "figures": [_figure(figure, grid) for figure in answer.figures],
            "face": font(),
        },
    )
    buffer = io.BytesIO()
    policy = ResourceAccessPolicy(allow_remote=False, base_dir=font().parent)
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


def _figure(figure: ShownFigure, grid: bool) -> dict[str, Any]:
    """What the template shows of a figure: its rows, or its picture with a size, or neither."""
    return {
        "label": figure.label,
        "rows": _rows(figure.table) if figure.table and grid else [],
        "header_rows": figure.table.header_rows if figure.table else 0,
        "pieces": _pieces(figure.table) if figure.table and not grid else [],
        "cut": bool(figure.table and figure.table.cut),
        "picture": _picture(figure.picture) if figure.picture else None,
        "lost": not (figure.table or figure.picture),
    }


def _rows(table: Table) -> list[list[Any]]:
    rows = groupby(sorted(table.cells, key=lambda c: (c.row, c.column)), key=lambda c: c.row)
    return [list(cells) for _row, cells in rows]


def _pieces(table: Table) -> list[str]:
    """The words of the cells, each piece shorter than a page: a longer one is not split twice."""
    texts = ("".join(span.text for span in cell.spans) for cell in table.cells)
    return [piece for text in texts for piece in _PIECE.findall(text)]


def _picture(picture: Picture) -> dict[str, Any]:
    scale = min(1, WIDTH / picture.width, HEIGHT / picture.height)
    return {
        "url": f"data:image/png;base64,{base64.b64encode(picture.png).decode()}",
        "width": round(picture.width * scale),
        "height": round(picture.height * scale),
    }


@cache
def _markdown() -> MarkdownIt:
    renderer = MarkdownIt("commonmark", {"html": False, "breaks": True})
    renderer.enable(["table", "strikethrough"]).disable("image")
    for kind in ("fence", "code_block"):
        renderer.add_render_rule(kind, _code_block)
    renderer.add_render_rule("code_inline", lambda _self, tokens, i, *_: _code(tokens[i].content))
    return renderer


def _code_block(_self: Any, tokens: Any, index: int, *_rest: Any) -> str:
    lines = tokens[index].content.rstrip("\n").split("\n")
    return f'<p class="code">{"<br/>".join(map(_code, lines))}</p>'


def _code(line: str) -> str:
    """Commands in Courier, whose columns stand under each other; the rest in our own face."""
    kept = _SPACES.sub(lambda run: "\xa0" * len(run[0]), line.expandtabs(4))
    runs = _LATIN.split(kept)
    return "".join(
        f'<font face="Courier">{escape(run)}</font>' if n % 2 else escape(run)
        for n, run in enumerate(runs)
    )


@cache
def font() -> Path:
    """A TrueType face with Chinese, from the package that carries one."""
    spec = importlib.util.find_spec("docvortex")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("docvortex is not installed")
    return Path(spec.submodule_search_locations[0]) / "resources/fonts/DroidSansFallbackFull.ttf"
