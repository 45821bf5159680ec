"""Lines of text with their places → paragraphs and tables in reading order.

For pages that come without structure: recognised pictures, and tables that a PDF draws
without rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from statistics import median

from knowledge.parsing.document import Block
from knowledge.parsing.joining import join_lines, share_box

# The narrowest gap between columns, as a share of the page's width.
GUTTER = 0.015
NARROWEST_COLUMN = 0.18  # of running text, as a share of the page's width
FEWEST_ROWS = 3  # of a table


@dataclass
class Line:
    """One line of text, or a cell's piece of one; its upright box in any unit, y downwards."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    block: Block | None = None  # what stands here in place of text: a ruled table

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def centre(self) -> float:
        return (self.left + self.right) / 2

    def scaled(self, scale: float) -> "Line":
        left, right = self.left * scale, self.right * scale
        return Line(self.text, left, self.top * scale, right, self.bottom * scale)


def blocks(lines: list[Line], width: float, height: float) -> list[Block]:
    """Paragraphs and tables of a page of that size, boxes as shares of it."""
    return [
        _placed(block, pieces, width, height)
        for column in columns(lines, width)
        for run in _runs(column)
        for region in _regions(rows(run))
        for block, pieces in _read(region)
    ]


def _runs(column: list[Line]) -> list[list[Line]]:
    """The lines between the places that are read already, and each of these."""
    fixed = sorted((line for line in column if line.block), key=lambda line: line.middle)
    runs: list[list[Line]] = []
    rest = [line for line in column if not line.block]
    for place in fixed:
        runs += [[line for line in rest if line.middle < place.middle], [place]]
        rest = [line for line in rest if line.middle >= place.middle]
    return [run for run in [*runs, rest] if run]


def _read(rows: list[list[Line]]) -> Iterator[tuple[Block, list[Line]]]:
    """What a region holds, with its pieces: a table, tables one below the other, or paragraphs."""
    if rows[0][0].block:
        yield rows[0][0].block, rows[0]
        return
    table = as_table(rows)
    if table:
        yield Block("table", rows=table, header_rows=1), [line for row in rows for line in row]
    elif len(rows) >= 2 * FEWEST_ROWS and max(len(row) for row in rows) > 1:
        cut = max(range(1, len(rows)), key=lambda index: _gap(rows[index - 1], rows[index]))
        yield from _read(rows[:cut])
        yield from _read(rows[cut:])
    else:
        for group in _paragraphs([line for row in rows for line in row]):
            yield Block("paragraph", reduce(join_lines, (line.text for line in group))), group


def as_text(lines: list[Line]) -> str:
    """Rows of the pieces, as they are seen."""
    return "\n".join("  ".join(line.text for line in row) for row in rows(lines))


def columns(lines: list[Line], width: float) -> list[list[Line]]:
    """Lines in reading order, by column: recursive cuts, first across the page, then down it.

    A gap that runs down the whole of a region separates columns; a line that spans the gap
    (a title) separates what is above from what is below.
    """
    if len(lines) < 4:
        return [sorted(lines, key=lambda line: (line.top, line.left))] if lines else []
    gutter = _gutter(lines, width)
    if gutter is None:
        return [lines]
    left = [line for line in lines if line.right <= gutter]
    right = [line for line in lines if line.left >= gutter]
    spanning = [line for line in lines if line.left < gutter < line.right]
    ordered: list[list[Line]] = []
    top = float("-inf")
    for bar in [*sorted(spanning, key=lambda line: line.top), None]:
        bottom = bar.top if bar else float("inf")
        for side in (left, right):
            ordered += columns([line for line in side if top <= line.top < bottom], width)
        if bar:
            if ordered and ordered[-1] and ordered[-1][-1] in spanning:
                ordered[-1].append(bar)
            else:
                ordered.append([bar])
            top = bar.top
    return ordered


def _gutter(lines: list[Line], width: float) -> float | None:
    """The middle of the widest gap that few lines cross and that has text on both sides."""
    edges = sorted({line.right for line in lines})
    best, best_gap = None, width * GUTTER
    for edge in edges:
        right = [line for line in lines if line.left > edge]
        left = [line for line in lines if line.right <= edge]
        crossing = sum(not line.block for line in lines) - len(left) - len(right)
        if min(len(left), len(right)) < 3 or crossing > len(lines) * 0.2:
            continue
        gap = min(line.left for line in right) - edge
        if gap > best_gap and _side_by_side(left, right, width):
            best, best_gap = edge + gap / 2, gap
    return best


def _side_by_side(left: list[Line], right: list[Line], width: float) -> bool:
    """Columns hold running text; two columns of short words are rows of a table or a form."""
    overlap = min(max(line.bottom for line in left), max(line.bottom for line in right)) - max(
        min(line.top for line in left), min(line.top for line in right)
    )
    widths = (median(line.right - line.left for line in side) for side in (left, right))
    return overlap > 0 and min(widths) >= width * NARROWEST_COLUMN


def rows(lines: list[Line]) -> list[list[Line]]:
    """Top to bottom; pieces on one height left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.middle):
        if rows and rows[-1][0].top < line.middle < rows[-1][0].bottom:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda line: line.left) for row in rows]


def _regions(rows: list[list[Line]]) -> list[list[list[Line]]]:
    """Rows cut into runs: those of several pieces side by side, which may be a table, and others.

    One row of a single piece between two others belongs to them: a cell's second line.
    """
    regions: list[list[list[Line]]] = []
    kinds: list[bool] = []
    for index, row in enumerate(rows):
        several = len(row) > 1
        between = kinds and kinds[-1] and index + 1 < len(rows) and len(rows[index + 1]) > 1
        kind = several or bool(between)
        if kinds and kinds[-1] == kind:
            regions[-1].append(row)
        else:
            regions.append([row])
            kinds.append(kind)
    return regions


def _gap(above: list[Line], below: list[Line]) -> float:
    return min(line.top for line in below) - max(line.bottom for line in above)


def as_table(rows: list[list[Line]]) -> list[list[str]]:
    """The cells, when the pieces of the rows stand in columns; else an empty list."""
    if len(rows) < FEWEST_ROWS or max(len(row) for row in rows) < 2:
        return []
    edges = _column_edges([line for row in rows if len(row) > 1 for line in row])
    if len(edges) < 2:
        return []
    cells = []
    for row in rows:
        texts = [""] * len(edges)
        for line in row:
            place = next((i for i, edge in enumerate(edges) if line.left < edge), len(edges) - 1)
            texts[place] = join_lines(texts[place], line.text)
        cells.append(texts)
    filled = sum(bool(text) for texts in cells for text in texts)
    return cells if filled * 2 >= len(cells) * len(edges) else []


def _column_edges(lines: list[Line]) -> list[float]:
    """The right edges of the columns: x where no piece, or hardly any, runs across."""
    spans = sorted((line.left, line.right) for line in lines)
    edges: list[float] = []
    for left, right in spans:
        if edges and left < edges[-1]:
            edges[-1] = max(edges[-1], right)
        else:
            edges.append(right)
    return edges


def _paragraphs(lines: list[Line]) -> list[list[Line]]:
    """Lines that follow each other closely and start at one edge are one paragraph."""
    groups: list[list[Line]] = []
    for line in lines:
        if groups and _continues(line, groups[-1]):
            groups[-1].append(line)
        else:
            groups.append([line])
    return groups


def _continues(line: Line, group: list[Line]) -> bool:
    previous = group[-1]
    height = max(previous.height, 1e-6)
    if abs(line.height - height) > height * 0.35:
        return False
    gap = line.top - previous.bottom
    if gap < -height * 0.5:  # on the same height: another piece of the row
        return False
    widest = max(one.right for one in group)
    reached_edge = previous.right > widest - height * 2 and len(previous.text) >= 8
    indented = line.left > min(one.left for one in group) + height
    return gap < height * 0.9 and reached_edge and not indented


def _placed(block: Block, lines: list[Line], width: float, height: float) -> Block:
    block.box = share_box(
        min(line.left for line in lines) / width,
        min(line.top for line in lines) / height,
        max(line.right for line in lines) / width,
        max(line.bottom for line in lines) / height,
    )
    return block
