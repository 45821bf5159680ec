"""HTML tables of other parsers → rows of text, and clean HTML that keeps the spans."""

import re
from dataclasses import dataclass, field
from html import escape

import nh3
from bs4 import BeautifulSoup, NavigableString, Tag

from knowledge.parsing.document import Asset, ParsedDocument

_BREAKS = {"br", "p", "div", "li", "tr", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6"}
_CELLS = ["td", "th"]
# The mark of an item whose text is a paragraph.
_MARK_ALONE = re.compile(r"(\n(?:-|\d+\.) )\s+")
MAX_SPAN = 10_000
# Rows. Larger tables are read by their rows; nobody wants them whole under an answer.
LARGEST_SHOWN = 300
MAX_CELLS = 2_000_000
# Rows below the header's into which a label may reach; further down reaches a form's photo.
DEEPEST_LABEL = 2


@dataclass
class Cell:
    text: str
    row: int
    column: int
    rows: int = 1
    columns: int = 1
    header: bool = False
    pictures: list[str] = field(default_factory=list)  # sources of its images


@dataclass
class Table:
    """Cells at their places in the grid. A merged cell's text stands once, top left."""

    cells: list[Cell]
    header_rows: int

    @property
    def rows(self) -> list[list[str]]:
        height = max((cell.row + cell.rows for cell in self.cells), default=0)
        width = max((cell.column + cell.columns for cell in self.cells), default=0)
        if height * width > MAX_CELLS:
            raise ValueError("table too large")
        grid = [[""] * width for _ in range(height)]
        for cell in self.cells:
            grid[cell.row][cell.column] = cell.text
        return grid

    @property
    def html(self) -> str:
        height = max((cell.row + cell.rows for cell in self.cells), default=0)
        lines: list[list[str]] = [[] for _ in range(height)]
        for cell in sorted(self.cells, key=lambda cell: (cell.row, cell.column)):
            lines[cell.row].append(_cell_html(cell, "th" if cell.row < self.header_rows else "td"))
        return "<table>" + "".join(f"<tr>{''.join(line)}</tr>" for line in lines) + "</table>"

    def spread(self, rows: list[int], columns: list[int]) -> None:
        """Put the cells where they stand in a sheet from which blank rows and columns fell out."""
        for cell in self.cells:
            row, column = rows[cell.row] - rows[0], columns[cell.column] - columns[0]
            last_row = rows[min(cell.row + cell.rows, len(rows)) - 1] - rows[0]
            last_column = columns[min(cell.column + cell.columns, len(columns)) - 1] - columns[0]
            cell.row, cell.column = row, column
            cell.rows, cell.columns = last_row - row + 1, last_column - column + 1


def read(html: str) -> Table:
    """The first table in `html`; nested tables become text of their cell."""
    soup = BeautifulSoup(html, "lxml")
    table = soup.find("table")
    if not isinstance(table, Tag):
        return Table([], 0)
    cells: list[Cell] = []
    taken: set[tuple[int, int]] = set()
    lines = [row for row in table.find_all("tr") if row.find_parent("table") is table]
    for index, line in enumerate(lines):
        column = 0
        for tag in line.find_all(_CELLS, recursive=False):
            while (index, column) in taken:
                column += 1
            cell = _cell(tag, index, column, len(lines))
            taken.update(
                (row, place)
                for row in range(index, index + cell.rows)
                for place in range(column, column + cell.columns)
            )
            cells.append(cell)
    return Table(cells, header_rows(cells, len(lines)))


def plain_html(rows: list[list[str]], header_rows: int) -> str:
    """HTML of a table without merged cells."""
    cells = [
        Cell(text, row, column)
        for row, texts in enumerate(rows)
        for column, text in enumerate(texts)
    ]
    return Table(cells, header_rows).html


def show(parsed: ParsedDocument) -> None:
    """Make an asset of each table that has none and is small enough to be shown whole."""
    for block in parsed.blocks:
        if block.kind == "table" and block.asset is None and len(block.rows) <= LARGEST_SHOWN:
            html = block.html or plain_html(block.rows, block.header_rows)
            block.html = ""
            block.asset = len(parsed.assets)
            parsed.assets.append(Asset("table", page=block.page, box=block.box, html=html))


def clean(html: str) -> str:
    """Only tables, their cells and spans survive."""
    return nh3.clean(
        html,
        tags={"table", "tr", "th", "td", "br"},
        attributes={"td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}},
    )


def _cell(tag: Tag, row: int, column: int, height: int) -> Cell:
    pictures = [str(image.get("src", "")) for image in tag.find_all("img")]
    return Cell(
        text=_text(tag),
        row=row,
        column=column,
        rows=min(_span(tag, "rowspan"), height - row),
        columns=_span(tag, "colspan"),
        header=tag.name == "th",
        pictures=pictures,
    )


def _span(tag: Tag, name: str) -> int:
    value = str(tag.get(name, "1"))
    return min(max(int(value), 1), MAX_SPAN) if value.isdecimal() else 1


def _text(tag: Tag) -> str:
    """The text with a line for each paragraph, formulas between dollars.

    A table within it is a line for each of its rows, "a | b".
    """
    while isinstance(nested := tag.find("table"), Tag):
        nested.replace_with(_lines(nested))
    parts: list[str] = []
    for node in tag.descendants:
        if isinstance(node, NavigableString):
            formula = node.find_parent("eq") is not None
            parts.append(f" ${node}$ " if formula else re.sub(r"\s+", " ", str(node)))
        elif isinstance(node, Tag) and node.name in _BREAKS:
            parts.append("\n" + _mark(node))
    text = _MARK_ALONE.sub(r"\1", "".join(parts))
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _mark(tag: Tag) -> str:
    """What stands before an item of a list."""
    if tag.name != "li" or tag.parent is None:
        return ""
    if tag.parent.name != "ol":
        return "- "
    return f"{1 + len(tag.find_previous_siblings('li'))}. "


def _lines(table: Tag) -> Tag:
    """A paragraph for each row of a table that stands in a cell."""
    soup = BeautifulSoup("", "lxml")
    lines = soup.new_tag("div")
    for row in table.find_all("tr"):
        if row.find_parent("table") is table:
            cells = row.find_all(_CELLS, recursive=False)
            line = soup.new_tag("p")
            line.append(" | ".join(_text(cell).replace("\n", " ") for cell in cells))
            lines.append(line)
    return lines


def header_rows(cells: list[Cell], height: int) -> int:
    """Rows of header cells at the top; without any, a first row of labels.

    Where a header cell reaches down over further rows, these belong to the header too.
    """
    if height < 2:
        return 0
    count = 0
    while count < height - 1 and _all_header([cell for cell in cells if cell.row == count]):
        count += 1
    titles = _title_rows(cells)
    if titles and _labels([cell for cell in cells if cell.row == titles]):
        count = max(count, titles + 1)
    elif count == 0 and _labels([cell for cell in cells if cell.row == 0]):
        count = 1
    if count:
        reach = max(cell.row + cell.rows for cell in cells if cell.row < count)
        count = reach if reach - count <= DEEPEST_LABEL else count
    return count if count < height else 0


def _title_rows(cells: list[Cell]) -> int:
    """Rows above the labels that hold one text at most: a table's title stands so in a sheet."""
    for row in range(4):
        filled = [cell for cell in cells if cell.row == row and cell.text]
        if len(filled) > 1:
            return row
    return 0


def _all_header(cells: list[Cell]) -> bool:
    return bool(cells) and all(cell.header for cell in cells)


def _labels(cells: list[Cell]) -> bool:
    """Short words in every cell, no figures."""
    filled = [cell for cell in cells if cell.text]
    return (
        len(filled) > 1
        and len(filled) * 2 >= len(cells)
        and all(
            len(cell.text) <= 40 and not re.fullmatch(r"[\d.,%¥$€+\-/: ]+", cell.text)
            for cell in filled
        )
    )


def _cell_html(cell: Cell, tag: str) -> str:
    spans = "".join(
        f' {name}="{value}"'
        for name, value in (("rowspan", cell.rows), ("colspan", cell.columns))
        if value > 1
    )
    return f"<{tag}{spans}>{escape(cell.text).replace(chr(10), '<br>')}</{tag}>"
