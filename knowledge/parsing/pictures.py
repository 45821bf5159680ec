"""Which pictures of a document are worth reading, and where their words go."""

from knowledge.parsing import parts
from knowledge.parsing.document import Asset, Block, ParsedDocument

SMALLEST = 40  # px; what is lower or narrower is an icon, a bullet or a rule
SMALLEST_AREA = 6_000  # px²
LONGEST = 25  # times as long as high: a rule
SMALLEST_SHARE = 0.002  # of its page
MOST = 500  # pictures of one document
FEW = 20  # characters of a PDF's text layer over a picture


def worth_reading(parsed: ParsedDocument, described: bool) -> list[int]:
    """Indexes of the assets whose words are wanted, the largest first.

    `described`: a text that they have already is a description, as Office files have them,
    and no reason not to read them.
    """
    shown = {block.asset: block for block in parsed.blocks if block.kind == "picture"}
    found = [
        index
        for index, asset in enumerate(parsed.assets)
        if asset.kind == "picture"
        and asset.data
        and index in shown
        and (described or len(asset.text or shown[index].text) < FEW)
        and _large(asset)
    ]
    return sorted(found, key=lambda index: -_area(parsed.assets[index]))


def _large(asset: Asset) -> bool:
    width, height = asset.width or 0, asset.height or 0
    if min(width, height) < SMALLEST or width * height < SMALLEST_AREA:
        return False
    if max(width, height) > LONGEST * min(width, height):
        return False
    left, top, right, bottom = asset.box or (0, 0, 1, 1)
    return (right - left) * (bottom - top) >= SMALLEST_SHARE


def _area(asset: Asset) -> int:
    return (asset.width or 0) * (asset.height or 0)


def fill(parsed: ParsedDocument, index: int, found: list[Block]) -> None:
    """Add what was found in a picture to its words; a table in it stands after it."""
    asset = parsed.assets[index]
    said = "\n".join(parts.words(block) for block in found)
    if not said.strip():
        return
    asset.text = "\n".join(filter(None, [asset.text, said]))
    text = "\n".join(block.text for block in found if block.kind != "table")
    for place, block in enumerate(parsed.blocks):
        if block.kind == "picture" and block.asset == index:
            block.text = "\n".join(filter(None, [block.text, text]))
            tables = [one for one in found if one.kind == "table"]
            for table in tables:
                table.page, table.box = block.page, block.box
            parsed.blocks[place + 1 : place + 1] = tables
            return
