"""What an export shows more than once: a table of the answer may be one of its figures as well, and
stand in each passage that is cited. It is shown where it comes first, and referred to after that.
"""

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from chat.exports.blocks import Block, Cell, Span, Table

if TYPE_CHECKING:
    from chat.exports.answer import Answer

Row = tuple[list[str], list[str]]  # texts of the cells that begin in it, and of all that reach it


def once(answer: "Answer") -> None:
    """Leave each table of `answer` where it comes first."""
    shown: list[tuple[list[Row], list[Span]]] = []
    answer.body = [_block(block, shown, [], whole=True) for block in answer.body]
    for figure in answer.figures:
        if figure.table:
            rows = _rows(figure.table)
            figure.above = bool(rows) and _where(rows, shown) is not None
            shown.append((rows, [Span(figure.label)]))
    for source in answer.sources:
        mark = [Span(f"[{source.n}]", cite=source.n)]
        source.quote = [_block(block, shown, mark) for block in source.quote]


def _block(
    block: Block,
    shown: list[tuple[list[Row], list[Span]]],
    name: list[Span],
    *,
    whole: bool = False,  # what the answer itself picks out of a table stays
) -> Block:
    """`block`, or where its table was shown already; it is `shown` as `name` from now on."""
    rows = _rows(block.table) if block.table else []
    if not rows:
        return block
    there = _where(rows, shown, whole=whole)
    if there is None:
        shown.append((rows, name))
        return block
    spans = [Span(_("The table is shown above.")), *([Span(" "), *there] if there else [])]
    return Block("paragraph", spans, indent=block.indent, marker=block.marker, quote=block.quote)


def _where(
    rows: list[Row], shown: Sequence[tuple[list[Row], list[Span]]], *, whole: bool = False
) -> list[Span] | None:
    """The name of what shows all of `rows`, the last first: it may have a better one. `whole`: of
    what shows no others."""
    fits = (
        (name, there) for there, name in reversed(shown) if all(_in(row, there) for row in rows)
    )
    return next(
        (name for name, there in fits if not whole or all(_in(row, rows) for row in there)), None
    )


def _in(row: Row, table: list[Row]) -> bool:
    """Whether a row says the same as one of `table`: a merged cell stands once or in each row."""
    own, reached = row
    return any(_within(own, all_) and _within(begun, reached) for begun, all_ in table)


def _within(some: list[str], every: list[str]) -> bool:
    """Whether `some` stand in `every`, in their order."""
    left = iter(every)
    return all(one in left for one in some)


def _rows(table: Table) -> list[Row]:
    """The rows of a table that say something."""
    rows: list[Row] = [([], []) for _row in range(table.rows)]
    for cell in sorted(table.cells, key=lambda cell: (cell.column, cell.row)):
        if text := _text(cell):
            rows[cell.row][0].append(text)
            for row in rows[cell.row : cell.row + cell.rows]:
                row[1].append(text)
    return [row for row in rows if row[1]]


def _text(cell: Cell) -> str:
    """Without what differs from one way of writing it to another: widths, spaces, dollars."""
    text = "".join(span.text for span in cell.spans)
    return "".join(unicodedata.normalize("NFKC", text).replace("$", "").split())
