"""Running headers, footers and logos: what returns at one place of page after page."""

import re
from collections import defaultdict

from knowledge.parsing.document import Block, ParsedDocument

FEWEST_PAGES = 3
SHARE = 0.4  # of the pages
MARGIN = 0.12  # of the page's height, where headers and footers stand
LARGEST_LOGO = 0.15  # of the page's area


def hide(parsed: ParsedDocument) -> None:
    """Mark repeated lines in the margins as hidden; take out pictures that are decoration."""
    pages: defaultdict[tuple[object, ...], set[int]] = defaultdict(set)
    keys = {id(block): _key(block) for block in parsed.blocks}
    for block in parsed.blocks:
        if block.page and (key := keys[id(block)]):
            pages[key].add(block.page)
    needed = max(FEWEST_PAGES, SHARE * (parsed.pages or 0))
    kept = []
    for block in parsed.blocks:
        repeated = len(pages.get(keys[id(block)] or (), ())) >= needed
        if repeated and block.kind == "picture":
            continue
        block.hidden = block.hidden or repeated
        kept.append(block)
    parsed.blocks = kept
    drop_unused(parsed)


def _key(block: Block) -> tuple[object, ...] | None:
    """What a repeated block has in common on each page: words without figures, and place."""
    if block.box is None:
        return None
    left, top, right, bottom = block.box
    place = round(top * 50), round(bottom * 50)
    if block.kind == "picture":
        if (right - left) * (bottom - top) > LARGEST_LOGO:
            return None
        return ("picture", round(left * 50), round(right * 50), *place)
    if block.kind in ("paragraph", "heading") and (bottom < MARGIN or top > 1 - MARGIN):
        return (re.sub(r"\d+", "#", block.text), *place)
    return None


def drop_unused(parsed: ParsedDocument) -> None:
    """Without the assets that no block shows."""
    used = {block.asset for block in parsed.blocks}
    kept = [index for index in range(len(parsed.assets)) if index in used]
    places = {old: new for new, old in enumerate(kept)}
    parsed.assets = [parsed.assets[index] for index in kept]
    for block in parsed.blocks:
        if block.asset is not None:
            block.asset = places[block.asset]
