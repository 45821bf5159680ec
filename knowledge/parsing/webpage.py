"""Web pages: what DocVortex takes for their content, and the menus and margins around it.

It chooses well what to search, but what it leaves out is lost; so the page is read whole as
well, and the rest kept hidden where it stands.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from difflib import SequenceMatcher

from docvortex.analyzers.native.html import converter
from docvortex.analyzers.native.html.selector import ContentSelection
from lxml import etree

from knowledge.parsing.document import Block, ParsedDocument

SUFFIXES = {"html", "mhtml"}
# A choice that leaves out more than this share of a page's text is none.
MOST_LEFT_OUT = 0.7


@contextmanager
def whole() -> Iterator[None]:
    """DocVortex reads all of a page's body meanwhile."""

    def all_of(body: etree._Element, _stylesheet: object) -> ContentSelection:
        return ContentSelection(deepcopy(body), "document", 1.0, 1.0, "whole")

    select = converter.select_auto_content
    converter.select_auto_content = all_of
    try:
        yield
    finally:
        converter.select_auto_content = select


def beside(chosen: ParsedDocument, page: ParsedDocument) -> ParsedDocument:
    """The whole page, hidden what was not chosen of it."""
    mine, all_ = [_key(block) for block in chosen.blocks], [_key(block) for block in page.blocks]
    rest: list[Block] = []
    matcher = SequenceMatcher(None, mine, all_)
    for change, _first, _last, start, end in matcher.get_opcodes():
        if change == "insert":
            rest += page.blocks[start:end]
    if _length(rest) <= MOST_LEFT_OUT * _length(page.blocks):
        for block in rest:
            block.hidden = True
    page.title, page.warnings = chosen.title or page.title, chosen.warnings
    return page


def _key(block: Block) -> tuple[str, str, tuple[tuple[str, ...], ...]]:
    return block.kind, block.text, tuple(map(tuple, block.rows))


def _length(blocks: list[Block]) -> int:
    return sum(len(block.text) + sum(len(c) for row in block.rows for c in row) for block in blocks)
