"""A CSV of any length, a part at a time: what is held at once does not grow with the file."""

import codecs
import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.unreadable import Unreadable

LONG = 4 * 1024 * 1024  # bytes; a shorter one is read like any other file
ROWS = 500  # of a part
COLUMNS = 200
CELL = 100_000  # characters of one cell
PARSER = "csv, in parts"
_PIECE = 64 * 1024  # bytes
_DELIMITERS = ",;\t|"


def long(path: Path, media_type: str) -> bool:
    return media_type == "text/csv" and path.stat().st_size > LONG


def parts(path: Path) -> Iterator[ParsedDocument]:
    """Its rows in order, ROWS a part, under the first row as the header of each.

    `first_row` is such that a part's rows have the numbers they have in the file's table: its
    first, without empty lines, is row 1. Raises Unreadable.
    """
    numbered = enumerate(_rows(path), 1)
    header = next(numbered, (0, []))[1]
    if not header:
        raise Unreadable("nothing")
    while rows := list(islice(numbered, ROWS)):
        yield _part(header, [row for _, row in rows], rows[0][0])


def window(path: Path, first: int, most: int) -> list[list[str]]:
    """At most `most` rows of the table from row `first`, counted from 0 with the header."""
    return list(islice(_rows(path), first, first + most))


def _part(header: list[str], rows: list[list[str]], first: int) -> ParsedDocument:
    table = Block("table", rows=[header, *rows], header_rows=1)
    table.first_row, table.first_column = first - 1, 1
    return ParsedDocument(parser=PARSER, blocks=[table])


def _rows(path: Path) -> Iterator[list[str]]:
    encoding, delimiter = _look(path)
    csv.field_size_limit(CELL)
    try:
        with path.open(encoding=encoding, newline="") as file:
            for row in csv.reader(_lines(file), delimiter=delimiter):
                cells = [cell.strip() for cell in row[:COLUMNS]]
                if any(cells):
                    yield cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unreadable("broken") from error


def _lines(file: Iterator[str]) -> Iterator[str]:
    return (line.replace("\x00", "") for line in file)


def _look(path: Path) -> tuple[str, str]:
    """Encoding and delimiter."""
    encoding = _encoding(path)
    with path.open(encoding=encoding, errors="replace") as file:
        line = file.readline(CELL)
    return encoding, max(_DELIMITERS, key=line.count)


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while piece := file.read(_PIECE):
                decoder.decode(piece)
        except UnicodeDecodeError:
            return "gb18030"
    return "utf-8-sig"
