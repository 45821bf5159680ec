"""Where the tables of an OpenDocument sheet stand, which DocVortex does not tell."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

from lxml import etree

from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.package import Package, attribute, name

MOST_REPEATED = 1000  # cells or rows that a file says are the same; blank ones are only counted
MOST_COMPARED = 60  # cells of a table, enough to tell it from others
MOST_PLACES = 50

Cells = dict[tuple[int, int], str]


def place(parsed: ParsedDocument, data: bytes) -> None:
    """Name the sheets, and give each table its first row and column."""
    root = Package(data).xml("content.xml")
    sheets = [node for node in root.iter() if name(node) == "table"] if root is not None else []
    if len(sheets) != parsed.pages:
        return
    parsed.page_names = [attribute(sheet, "name") for sheet in sheets]
    for page, sheet in enumerate(sheets, 1):
        cells = dict(_cells(sheet))
        places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for at, text in cells.items():
            places[text].append(at)
        for block in parsed.blocks:
            if block.kind == "table" and block.page == page:
                _place(block, cells, places)


def _place(block: Block, cells: Cells, places: dict[str, list[tuple[int, int]]]) -> None:
    filled = [
        (row, column, key)
        for row, line in enumerate(block.rows)
        for column, text in enumerate(line)
        if (key := _key(text))
    ]
    if not filled:
        return
    first_row, first_column, text = filled[0]
    for row, column in islice(places[text], MOST_PLACES):
        top, left = row - first_row, column - first_column
        compared = islice(filled, MOST_COMPARED)
        if all(cells.get((top + down, left + right)) == key for down, right, key in compared):
            block.first_row, block.first_column = top + 1, left + 1
            # The next table of the same words stands elsewhere.
            places[text].remove((row, column))
            return


def _cells(sheet: etree._Element) -> Iterator[tuple[tuple[int, int], str]]:
    row = 0
    for line in sheet.iter("{*}table-row"):
        found = list(_line(line))
        times = _repeated(line, "number-rows-repeated")
        for again in range(min(times, MOST_REPEATED) if found else 0):
            yield from (((row + again, column), text) for column, text in found)
        row += times


def _line(line: etree._Element) -> Iterator[tuple[int, str]]:
    column = 0
    for cell in line:
        if name(cell) in ("table-cell", "covered-table-cell"):
            times = _repeated(cell, "number-columns-repeated")
            text = _key("".join(map(str, cell.itertext())))
            for again in range(min(times, MOST_REPEATED) if text else 0):
                yield column + again, text
            column += times


def _repeated(node: etree._Element, count: str) -> int:
    value = attribute(node, count)
    return int(value) if value.isdecimal() and len(value) < 8 else 1


def _key(text: str) -> str:
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text))
