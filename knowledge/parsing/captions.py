"""Captions and numbers of pictures and tables: "图 3-1 值班流程", "Table 2. Limits"."""

import re

from knowledge.parsing.document import Asset, Block, ParsedDocument

_LABELS = {
    "picture": r"附?图表?|figure|fig\.?|chart",
    "table": r"附?表|图表|table|tab\.?|chart",  # a chart is read as its table
}
_NUMBER = r"\s*((?:{})\s*[A-Za-z]?\d+(?:[-.–．—]\d+)*)"
_ANY = re.compile(_NUMBER.format("|".join(_LABELS.values())), re.IGNORECASE)
_OF = {kind: re.compile(_NUMBER.format(label), re.I) for kind, label in _LABELS.items()}
LONGEST = 80  # characters; more is text that speaks of a figure


def number(caption: str) -> str:
    """The label by which the document calls it, empty without one."""
    match = _ANY.match(caption)
    return " ".join(match[1].split()) if match else ""


def link(parsed: ParsedDocument) -> None:
    """Give captions that stand alone to their neighbours: below a picture, above a table."""
    for index, block in enumerate(parsed.blocks):
        if block.asset is None or parsed.assets[block.asset].number:
            continue
        asset = parsed.assets[block.asset]
        for place in (index + 1, index - 1) if asset.kind == "picture" else (index - 1, index + 1):
            if 0 <= place < len(parsed.blocks) and _is_caption(parsed.blocks[place], asset):
                asset.caption = parsed.blocks[place].text
                asset.number = number(asset.caption)
                break


def _is_caption(block: Block, asset: Asset) -> bool:
    return (
        block.kind in ("paragraph", "heading")
        and len(block.text) <= LONGEST
        and not block.text.endswith("。")
        and _OF[asset.kind].match(block.text) is not None
    )
