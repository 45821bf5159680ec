"""An answer as PDF, set by Typst after `answer.typ`, its faces embedded."""

import importlib.util
import json
import re
import tempfile
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import typst
from django.utils.translation import gettext as _

from chat.exports.answer import Answer, ShownFigure
from chat.exports.blocks import Block, Cell, Span, Table, blocks
from chat.exports.formulas import drawing
from opsdesk.errors import BoundaryError

TEMPLATE = Path(__file__).with_name("answer.typ")
FACES = ("manimgx_fonts", "manimgx_fonts_cjk")  # packages that carry Noto
WIDTH, HEIGHT = 481.0, 430.0  # points: the room for a picture
PIXEL = 0.75  # points
INDENT = 8  # deeper lists and quotations stand no farther right
WIDE = 9  # columns: a table with more lies across the page
LETTER = 0.58  # of the size, on average
LANDSCAPE, CELL = 728.0, 8.0  # points: a page across, and the margins in a cell
WORD = 24  # letters: a longer one may be broken within a line of text
CODE = 60  # and in a block of code
_RUN = re.compile(r"[\x21-\x7e]+|[^\x21-\x7e]+")
_JOINT = re.compile(r"(?<=[/\\,;:=&|?.@_+\-])(?=[^/\\,;:=&|?.@_+\-])|(?<=[a-z])(?=[A-Z])")


class ExportError(BoundaryError):
    """The answer could not be set as a document."""


def export(answer: Answer) -> bytes:
    """The answer on A4 pages. Raises ExportError."""
    made: bytes = _compile(answer, "pdf")
    return made


def pages(answer: Answer, dots: float = 60) -> list[bytes]:
    """The same pages as PNG, with `dots` an inch. Raises ExportError."""
    made = _compile(answer, "png", dots)
    return [made] if isinstance(made, bytes) else made


def _compile(answer: Answer, kind: Any, dots: float | None = None) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for n, figure in enumerate(answer.figures):
            if figure.picture:
                (root / f"{n}.png").write_bytes(figure.picture.png)
        (root / "answer.json").write_text(json.dumps(_data(answer)), "utf-8")
        try:
            page = typst.Compiler(TEMPLATE.read_bytes(), root=root, font_paths=_fonts())
            return page.compile(format=kind, ppi=dots, timestamp=int(answer.at.timestamp()))
        except typst.TypstError as error:
            raise ExportError(_("The answer could not be set as PDF."), permanent=True) from error


@cache
def _fonts() -> typst.Fonts:
    """Those of packages alone, so that pages look the same on every machine."""
    folders = []
    for name in FACES:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise ImportError(f"{name} is not installed")
        folders.append(spec.submodule_search_locations[0])
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=folders)


# --- what the template reads ------------------------------------------------------
def _data(answer: Answer) -> dict[str, Any]:
    language, _sep, region = answer.language.partition("-")
    return {
        "title": answer.title,
        "author": _("OpsDesk"),
        "byline": answer.byline,
        "lang": language or "zh",
        "region": "cn" if language == "zh" else (region[:2] or None),
        "question": _spans([Span(answer.question)] if answer.question else []),
        "blocks": [_block(block) for block in blocks(answer.text, answer.cited)],
        "figures": [_figure(figure, n) for n, figure in enumerate(answer.figures)],
        "sources": [
            asdict(source) | {"quote": [_block(block) for block in source.quote]}
            for source in answer.sources
        ],
        "words": {
            "answer": _("Answer"),
            "figures": _("Figures and tables"),
            "sources": _("Sources"),
            "original": _("Original: "),
            "cut": _("Further rows are in the original."),
            "lost": _("The picture cannot be shown."),
        },
    }


def _block(block: Block) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kind": block.kind,
        "level": block.level,
        "indent": min(block.indent, INDENT),
        "marker": block.marker,
        "quote": block.quote,
        "spans": _spans(block.spans),
    }
    if block.kind == "code":
        code = block.text.expandtabs(4).split("\n")
        told["lines"] = [{"pieces": _pieces(line, CODE)} for line in code]
    if block.kind == "formula":
        told["formula"] = _span(Span(block.text, formula="display"), WORD)
    if block.table:
        told["table"] = _table(block.table)
        told["kind"] = "table" if block.table.cells else "paragraph"
    return told


def _spans(spans: list[Span], word: int = WORD) -> list[dict[str, Any]]:
    return [_span(span, word) for span in spans]


def _span(span: Span, word: int) -> dict[str, Any]:
    told = asdict(span) | {"display": span.formula == "display"}
    if span.formula:
        if drawn := drawing(span.text, span.formula == "inline"):
            return told | asdict(drawn)
        told["code"] = True
    parts = span.text.split("\n")
    told["pieces"] = _pieces(parts[0], word)
    for part in parts[1:]:
        told["pieces"] += ["\n", *_pieces(part, word)]
    return told


def _pieces(text: str, word: int) -> list[str]:
    """`text` cut where a line may end beside the usual places: within words longer than `word`
    letters, after their signs or, without any, anywhere."""
    found = [""]
    for run in _RUN.findall(text):
        cut = [run]
        if len(run) > word and run.isascii():
            parts = _JOINT.split(run)
            cut = [p for part in parts for p in ([part] if len(part) <= word else part)]
        found[-1] += cut[0]
        found += cut[1:]
    return [piece for piece in found if piece]


def _table(table: Table) -> dict[str, Any]:
    wide = table.columns > WIDE
    size = 9 if table.columns <= 6 else 8 if table.columns <= WIDE else 7 if wide else 8
    room = (LANDSCAPE if wide else WIDTH) / max(table.columns, 1) - CELL
    word = max(int(room / (size * LETTER)), 4)
    return {
        "columns": table.columns,
        "size": size,
        "wide": wide,
        "cut": table.cut,
        "header": _header(table),
        "cells": [_cell(cell, word) for cell in table.cells],
    }


def _header(table: Table) -> int:
    """How many rows are repeated on every page: none when a cell hangs out of them."""
    rows = table.header_rows
    hang = any(cell.row < rows < cell.row + cell.rows for cell in table.cells)
    return 0 if hang else rows


def _cell(cell: Cell, word: int) -> dict[str, Any]:
    return {
        "x": cell.column,
        "y": cell.row,
        "columns": cell.columns,
        "rows": cell.rows,
        "header": cell.header,
        "spans": _spans(cell.spans, word),
    }


def _figure(figure: ShownFigure, n: int) -> dict[str, Any]:
    told: dict[str, Any] = {"label": figure.label}
    if figure.table:
        told["table"] = _table(figure.table)
    elif figure.picture:
        width, height = figure.picture.width * PIXEL, figure.picture.height * PIXEL
        told["picture"] = f"{n}.png"
        told["width"] = width * min(1, WIDTH / width, HEIGHT / height)
    return told
