"""Tables drawn with rules in a picture → cells with their spans, filled with recognised lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from statistics import median

import cv2
import numpy

from knowledge.parsing import layout
from knowledge.parsing.document import Block
from knowledge.parsing.joining import join_lines
from knowledge.parsing.layout import Line
from knowledge.parsing.tables import Cell, Table, header_rows

Mask = numpy.ndarray  # height × width, 0 or 255

SHORTEST = 30  # px, of a rule
LETTERS = 1.3  # times the height of a line: strokes of letters are no rules
SLACK = 8  # px within which rules stand on one line
DRAWN = 0.6  # of the way between two cells under a rule: it separates them
# What a table is, other than a window or a chart: so many cells hold text, so few are merged,
# and none has so many lines and such a share of all.
FILLED = 0.3
MERGED = 0.5
CROWD = 8
CROWDED = 0.25
MOST = 200  # rows and columns


@dataclass
class Grid:
    """Edges of rows and columns in pixels, and the rules between them."""

    rows: list[int]
    columns: list[int]
    across: Mask
    down: Mask

    def cells(self) -> list[Cell]:
        """Rectangles of the grid that no rule parts, in reading order, without text."""
        taken: set[tuple[int, int]] = set()
        cells = []
        for row in range(len(self.rows) - 1):
            for column in range(len(self.columns) - 1):
                if (row, column) not in taken:
                    cell = self._cell(row, column, taken)
                    taken |= set(_places(cell))
                    cells.append(cell)
        return cells

    def _cell(self, row: int, column: int, taken: set[tuple[int, int]]) -> Cell:
        cell = Cell("", row, column)
        while self._open_right(cell) and (row, column + cell.columns) not in taken:
            cell.columns += 1
        while self._open_below(cell):
            cell.rows += 1
        return cell

    def _open_right(self, cell: Cell) -> bool:
        edge = cell.column + cell.columns
        if edge >= len(self.columns) - 1:
            return False
        x, (top, bottom) = self.columns[edge], self.rows[cell.row : cell.row + 2]
        return not _drawn(self.down[top:bottom, max(x - SLACK, 0) : x + SLACK], axis=1)

    def _open_below(self, cell: Cell) -> bool:
        """Only over its whole width: what lies below stays a rectangle."""
        edge = cell.row + cell.rows
        if edge >= len(self.rows) - 1:
            return False
        y = self.rows[edge]
        places = range(cell.column, cell.column + cell.columns)
        spans = [(self.columns[place], self.columns[place + 1]) for place in places]
        return not any(
            _drawn(self.across[max(y - SLACK, 0) : y + SLACK, left:right], axis=0)
            for left, right in spans
        )

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.columns[0], self.rows[0], self.columns[-1], self.rows[-1]

    def holds(self, line: Line) -> bool:
        left, top, right, bottom = self.box
        return left <= line.centre <= right and top <= line.middle <= bottom

    def place(self, cell: Cell) -> tuple[int, int, int, int]:
        return (
            self.columns[cell.column],
            self.rows[cell.row],
            self.columns[cell.column + cell.columns],
            self.rows[cell.row + cell.rows],
        )


def _places(cell: Cell) -> Iterator[tuple[int, int]]:
    for row in range(cell.row, cell.row + cell.rows):
        for column in range(cell.column, cell.column + cell.columns):
            yield row, column


def _drawn(strip: Mask, axis: int) -> bool:
    """Whether a rule runs along the strip; `axis` is the one across it."""
    ends = max(strip.shape[1 - axis] // 10, 1)  # a crossing rule reaches a little into the strip
    along = strip.max(axis=axis, initial=0)[ends:-ends]
    return bool(along.size) and float((along > 0).mean()) >= DRAWN


def grids(picture: numpy.ndarray, lines: list[Line]) -> list[Grid]:
    """The ruled tables of a grey picture, top to bottom; `lines` show how high letters are."""
    height = median(line.height for line in lines) if lines else 0
    across, down = _rules(picture, max(SHORTEST, round(height * LETTERS)))
    joined = cv2.dilate(across | down, numpy.ones((5, 5), numpy.uint8))
    _count, _labels, stats, _centres = cv2.connectedComponentsWithStats(joined)
    found = []
    for left, top, width, height, _area in stats[1:].tolist():
        part = slice(top, top + height), slice(left, left + width)
        rows = _edges(across[part], axis=1, least=width * 0.3)
        columns = _edges(down[part], axis=0, least=min(height * 0.3, 60))
        columns = _closed(columns, across[part])
        if 3 <= len(rows) <= MOST and 3 <= len(columns) <= MOST:
            rows, columns = [y + top for y in rows], [x + left for x in columns]
            found.append(Grid(rows, columns, across, down))
    return sorted(found, key=lambda grid: grid.rows[0])


def _rules(picture: numpy.ndarray, length: int) -> tuple[Mask, Mask]:
    """What is drawn straight across, and straight down, for `length` pixels."""
    ink = cv2.adaptiveThreshold(
        picture, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 25, 12
    )
    across = cv2.morphologyEx(ink, cv2.MORPH_OPEN, numpy.ones((1, length), numpy.uint8))
    down = cv2.morphologyEx(ink, cv2.MORPH_OPEN, numpy.ones((length, 1), numpy.uint8))
    # Rules of a scan are a little crooked and broken.
    return (
        cv2.dilate(across, numpy.ones((3, length // 2), numpy.uint8)),
        cv2.dilate(down, numpy.ones((length // 2, 3), numpy.uint8)),
    )


def _edges(mask: Mask, axis: int, least: float) -> list[int]:
    """Where rules lie that are together `least` long: the middles of their bands."""
    lengths = (mask > 0).sum(axis=axis)
    places = numpy.flatnonzero(lengths >= least)
    bands: list[list[int]] = []
    for place in places.tolist():
        if bands and place - bands[-1][-1] <= SLACK:
            bands[-1].append(place)
        else:
            bands.append([place])
    return [(band[0] + band[-1]) // 2 for band in bands]


def _closed(columns: list[int], across: Mask) -> list[int]:
    """A table that is open at its sides ends where its horizontal rules do."""
    drawn = numpy.flatnonzero((across > 0).any(axis=0))
    if not columns or not drawn.size:
        return columns
    first, last = int(drawn[0]), int(drawn[-1])
    start = [first] if columns[0] - first > 5 * SLACK else []
    return [*start, *columns, *([last] if last - columns[-1] > 5 * SLACK else [])]


def split(grid: Grid, line: Line) -> list[tuple[float, float]]:
    """Where the line stands in each of the columns that it runs over, left and right."""
    spans = enumerate(pairwise(grid.rows))
    row = next((row for row, (top, bottom) in spans if top <= line.middle < bottom), None)
    if row is None:
        return [(line.left, line.right)]
    least = line.height * 0.4
    walls = [
        x
        for place, x in enumerate(grid.columns[1:-1], start=1)
        if line.left + least < x < line.right - least
        and _drawn(
            grid.down[grid.rows[row] : grid.rows[row + 1], max(x - SLACK, 0) : x + SLACK], axis=1
        )
    ]
    edges = [line.left, *map(float, walls), line.right]
    return list(pairwise(edges))


def table(grid: Grid, lines: list[Line]) -> Table | None:
    """The table of `grid` with the lines that stand in it; None for a window, a form or a chart."""
    cells = grid.cells()
    held = [_inside(grid.place(cell), lines) for cell in cells]
    for cell, inside in zip(cells, held, strict=True):
        cell.text = _text(inside)
    filled = sum(map(bool, held))
    merged = sum(cell.rows * cell.columns > 1 for cell in cells)
    crowded = max(map(len, held)) > max(CROWD, len(lines) * CROWDED)
    if filled < max(2, FILLED * len(cells)) or merged > MERGED * len(cells) or crowded:
        return None
    return Table(cells, header_rows(cells, len(grid.rows) - 1))


def _inside(place: tuple[int, int, int, int], lines: list[Line]) -> list[Line]:
    left, top, right, bottom = place
    return [line for line in lines if left <= line.centre < right and top <= line.middle < bottom]


def _text(lines: list[Line]) -> str:
    return reduce(join_lines, (line.text for row in layout.rows(lines) for line in row), "")


def block(made: Table) -> Block:
    return Block("table", rows=made.rows, header_rows=made.header_rows, html=made.html)
