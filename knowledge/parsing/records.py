"""A workbook as rows of text, cell for cell: for sheets that hold records, not for reading.

Runs in the parsing subprocess, for workbooks come from outside.
"""

from collections.abc import Iterator
from datetime import date, datetime, time
from io import BytesIO
from typing import Any

from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.unreadable import Unreadable

SHEETS, ROWS, COLUMNS = 20, 50_000, 100
CHARACTERS = 30_000_000  # a small file may name one long text in every cell


def parse(data: bytes) -> ParsedDocument:
    """A table for each sheet, without empty rows; before each row's cells stands its number.

    Formulas are what they last gave. Raises Unreadable when there are more than ROWS rows, or
    CHARACTERS in them.
    """
    from openpyxl import load_workbook

    book = load_workbook(BytesIO(data), read_only=True, data_only=True)
    parsed = ParsedDocument(parser="openpyxl")
    left, room = ROWS, CHARACTERS
    for sheet in book.worksheets[:SHEETS]:
        sheet.reset_dimensions()  # what a workbook says of its size need not be so
        rows = []
        for row in _rows(sheet):
            left, room = left - 1, room - sum(map(len, row))
            if left < 0 or room < 0:
                raise Unreadable("too_much")
            rows.append(row)
        parsed.page_names.append(sheet.title)
        parsed.blocks.append(Block("table", page=len(parsed.page_names), rows=rows))
    return parsed


def _rows(sheet: Any) -> Iterator[list[str]]:
    for number, values in enumerate(sheet.iter_rows(max_col=COLUMNS, values_only=True), 1):
        cells = [_text(value) for value in values]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield [str(number), *cells]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return str(value.date()) if value.time() == time() else str(value)
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
