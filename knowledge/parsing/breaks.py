"""Tables that go on over a page break: each part keeps its page and its box, gets the header,
and is shown whole.
"""

import re

from knowledge.parsing.document import Asset, Block, ParsedDocument
from knowledge.parsing.tables import LARGEST_SHOWN

MARGIN = 0.12  # of the page's height: what stands there may come between
BOTTOM = 0.7  # the first part reaches down so far
TOP = 0.3  # the second starts above
SLIP = 0.02  # of the page's width by which their edges may differ
_FIGURES = re.compile(r"[\d.,%¥$€+\-/: 年月日时分秒]+")


def join(parsed: ParsedDocument) -> None:
    """Wants the assets of the tables, see `tables.show`."""
    before: Block | None = None
    for block in parsed.blocks:
        if block.hidden:
            continue
        if block.kind == "table":
            if before and _goes_on(before, block):
                _continue(before, block, parsed.assets)
            before = block
        elif before and not _in_margin(block):
            before = None


def _in_margin(block: Block) -> bool:
    if block.box is None or block.kind not in ("paragraph", "heading"):
        return False
    return block.box[1] > 1 - MARGIN or block.box[3] < MARGIN


def _goes_on(first: Block, second: Block) -> bool:
    if not first.box or not second.box or not first.rows or not second.rows:
        return False
    return (
        (first.page or 0) + 1 == second.page
        and len(first.rows[0]) == len(second.rows[0])
        and first.box[3] > BOTTOM
        and second.box[1] < TOP
        and abs(first.box[0] - second.box[0]) < SLIP
        and abs(first.box[2] - second.box[2]) < SLIP
        and (_repeats(first, second) or _has_no_header(first, second))
    )


def _repeats(first: Block, second: Block) -> bool:
    header = first.rows[: first.header_rows]
    return bool(header) and second.rows[: len(header)] == header


def _has_no_header(first: Block, second: Block) -> bool:
    """A first row of words may be a header of its own; not where the column holds figures."""
    if not second.header_rows:
        return True
    for column, cell in enumerate(second.rows[0]):
        above = [row[column] for row in first.rows[first.header_rows :] if row[column]]
        if len(above) > 1 and all(map(_FIGURES.fullmatch, above)) and _FIGURES.fullmatch(cell):
            return True
    return False


def _continue(first: Block, second: Block, assets: list[Asset]) -> None:
    header = first.rows[: first.header_rows]
    repeated = _repeats(first, second)
    if not repeated:
        second.rows = header + second.rows
    second.header_rows = first.header_rows
    if first.asset is None or second.asset is None:
        return
    _start, *lines = assets[second.asset].html.removesuffix("</table>").split("<tr>")
    rest = lines[len(header) :] if repeated else [line.replace("th>", "td>") for line in lines]
    whole = assets[first.asset].html.removesuffix("</table>")
    whole += "".join(f"<tr>{line}" for line in rest) + "</table>"
    if whole.count("<tr>") <= LARGEST_SHOWN:
        assets[first.asset].html = whole
        second.asset = first.asset
