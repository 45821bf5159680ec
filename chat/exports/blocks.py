"""Markdown and table HTML as plain blocks that a page can be set from."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from lxml import html
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from chat.formulas import formulas

MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
MARKDOWN.disable("text_join")  # an escaped sign stays apart: `[1\]` is no mark
formulas(MARKDOWN)
MARK = re.compile(r"\[(\d{1,3})\](?![(:]|\[(?!\d{1,3}\]))")
LINKS = ("http://", "https://", "mailto:")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # not allowed in XML
COLUMNS = 40  # more do not fit on a page in any size
ROWS = 300  # of a table: the rest is read in the original


@dataclass(frozen=True)
class Span:
    text: str  # "\n" breaks the line
    bold: bool = False
    italic: bool = False
    code: bool = False
    strike: bool = False
    href: str = ""
    formula: Literal["", "inline", "display"] = ""  # of which `text` is the TeX
    cite: int = 0  # the number of the source that this mark points to


@dataclass
class Cell:
    row: int
    column: int
    spans: list[Span]
    rows: int = 1
    columns: int = 1
    header: bool = False


@dataclass
class Table:
    rows: int
    columns: int
    cells: list[Cell]
    cut: bool = False  # rows beyond ROWS were left out

    @property
    def header_rows(self) -> int:
        """How many rows at the top are headings, to be repeated on every page."""
        plain = [cell.row for cell in self.cells if not cell.header]
        return min(plain) if plain else 0


@dataclass
class Block:
    kind: Literal["paragraph", "heading", "code", "table", "rule", "formula"]
    spans: list[Span] = field(default_factory=list)
    level: int = 0  # of a heading, 1 the highest
    indent: int = 0  # how many lists and quotations it stands in
    marker: str = ""  # "•" or "3." at the first line of a list item
    quote: bool = False
    text: str = ""  # of code; TeX of a formula
    table: Table | None = None


def plain(text: str) -> str:
    """`text` without the control characters that no document may hold."""
    return CONTROL.sub("", text)


def blocks(markdown: str, cited: Collection[int] = ()) -> list[Block]:
    """`markdown`, in which the marks of the sources `cited` are spans of their own.

    Of a picture its name stands there: those of an answer are its figures.
    """
    root = SyntaxTreeNode(MARKDOWN.parse(plain(markdown)))
    found = list(_walk(root.children, Block("paragraph")))
    for block in found:
        block.spans = _cited(block.spans, cited)
        for cell in block.table.cells if block.table else []:
            cell.spans = _cited(cell.spans, cited)
    return found


def _cited(spans: list[Span], cited: Collection[int]) -> list[Span]:
    """Marks in running text, never those in code, as spans of their own."""
    pieces = []
    for span in spans:
        end = 0
        marks = () if span.code or span.formula or span.href else MARK.finditer(span.text)
        for mark in marks:
            if int(mark[1]) in cited:
                pieces.append(replace(span, text=span.text[end : mark.start()]))
                pieces.append(replace(span, text=mark[0], cite=int(mark[1])))
                end = mark.end()
        pieces.append(replace(span, text=span.text[end:]))
    return [piece for piece in pieces if piece.text]


def _walk(nodes: Iterable[SyntaxTreeNode], at: Block) -> Iterator[Block]:
    """The blocks of `nodes`, which stand where `at` says (its indent and quote)."""
    for node in nodes:
        match node.type:
            case "paragraph" | "heading":
                level = int(node.tag[1]) if node.type == "heading" else 0
                kind: Literal["paragraph", "heading"] = "heading" if level else "paragraph"
                yield replace(at, kind=kind, level=level, spans=list(_spans(node.children[0])))
            case "fence" | "code_block":
                yield replace(at, kind="code", text=node.content.rstrip("\n"))
            case "formula_display":
                yield replace(at, kind="formula", text=node.content)
            case "bullet_list" | "ordered_list":
                yield from _list(node, at)
            case "blockquote":
                yield from _walk(node.children, replace(at, indent=at.indent + 1, quote=True))
            case "table":
                yield replace(at, kind="table", table=_markdown_table(node))
            case "hr":
                yield replace(at, kind="rule")


def _list(node: SyntaxTreeNode, at: Block) -> Iterator[Block]:
    first = int(node.attrs.get("start", 1))
    for number, item in enumerate(node.children, first):
        marker = f"{number}." if node.type == "ordered_list" else "•"
        inside = _walk(item.children, replace(at, indent=at.indent + 1))
        for block in inside:
            yield block if block.marker else replace(block, marker=marker)
            marker = ""


def _spans(node: SyntaxTreeNode, style: Span = Span("")) -> Iterator[Span]:
    for child in node.children:
        match child.type:
            case "text" | "text_special" | "image":
                yield replace(style, text=child.content)
            case "formula":
                shown: Literal["inline", "display"] = "display" if child.info else "inline"
                yield replace(style, text=child.content, formula=shown)
            case "softbreak" | "hardbreak":
                yield replace(style, text="\n")
            case "code_inline":
                yield replace(style, text=child.content, code=True)
            case "strong":
                yield from _spans(child, replace(style, bold=True))
            case "em":
                yield from _spans(child, replace(style, italic=True))
            case "s":
                yield from _spans(child, replace(style, strike=True))
            case "link":
                href = str(child.attrs["href"])
                href = href if href.startswith(LINKS) else ""
                yield from _spans(child, replace(style, href=href))


def _markdown_table(node: SyntaxTreeNode) -> Table:
    rows = [row for part in node.children for row in part.children]
    cells = [
        Cell(y, x, list(_spans(cell.children[0])), header=cell.type == "th")
        for y, row in enumerate(rows[:ROWS])
        for x, cell in enumerate(row.children[:COLUMNS])
    ]
    return _table(cells, cut=len(rows) > ROWS)


def html_table(source: str) -> Table:
    """The first table of `source` (table, tr, th, td, colspan, rowspan), merged cells kept."""
    root = html.fragment_fromstring(plain(source), create_parent="div")
    rows = root.xpath(".//tr[not(ancestor::td or ancestor::th)]")
    taken: set[tuple[int, int]] = set()
    cells = []
    for y, row in enumerate(rows[:ROWS]):
        x = 0
        for element in row.xpath("./td|./th"):
            while (y, x) in taken:
                x += 1
            if x >= COLUMNS:
                break
            cell = Cell(
                y,
                x,
                [Span(_text(element))],
                header=element.tag == "th",
                rows=min(_count(element, "rowspan"), min(len(rows), ROWS) - y),
                columns=min(_count(element, "colspan"), COLUMNS - x),
            )
            cell.columns = _free(cell, taken)
            taken.update(_places(cell))
            cells.append(cell)
    return _table(cells, cut=len(rows) > ROWS)


def _table(cells: list[Cell], cut: bool) -> Table:
    rows = max((cell.row + cell.rows for cell in cells), default=0)
    columns = max((cell.column + cell.columns for cell in cells), default=0)
    return Table(rows, columns, cells, cut)


def _text(element: html.HtmlElement) -> str:
    for line_break in element.xpath(".//br"):
        line_break.tail = "\n" + (line_break.tail or "")
    return element.text_content().strip()


def _count(element: html.HtmlElement, name: str) -> int:
    value = element.get(name, "1")
    return max(int(value), 1) if value.isascii() and value.isdigit() else 1


def _places(cell: Cell) -> Iterator[tuple[int, int]]:
    for y in range(cell.row, cell.row + cell.rows):
        for x in range(cell.column, cell.column + cell.columns):
            yield y, x


def _free(cell: Cell, taken: set[tuple[int, int]]) -> int:
    """How many columns `cell` may cover before it meets one that hangs down from above."""
    width = 1
    while width < cell.columns and (cell.row, cell.column + width) not in taken:
        width += 1
    return width
