"""What every parser makes of a file: blocks in reading order, and the pictures and tables in it.

Nothing here knows Django, so that the parsing subprocess stays light.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

BlockKind = Literal["heading", "paragraph", "list", "code", "table", "formula", "picture"]
# x0, y0, x1, y1 as shares (0–1) of the page's width and height, from its top left.
Box = tuple[float, float, float, float]


@dataclass
class Block:
    """One piece of a document, in reading order."""

    kind: BlockKind
    text: str = ""  # Markdown; LaTeX of a formula; code without fences; of a picture what OCR read
    level: int | None = None  # of a heading, 1 the highest
    page: int | None = None  # from 1; a slide or a sheet is a page
    box: Box | None = None
    # Of a table: its cells, the first `header_rows` rows the header. A merged cell's text
    # stands once, in its first row and column; `html` keeps the spans.
    rows: list[list[str]] = field(default_factory=list)
    header_rows: int = 0
    html: str = ""  # of a table with merged cells, until it has its asset
    # Where the table's first row and column stand in their sheet, from 1.
    first_row: int | None = None
    first_column: int | None = None
    language: str = ""  # of code
    asset: int | None = None  # index into ParsedDocument.assets
    hidden: bool = False  # running headers and footers: kept, not chunked


@dataclass
class Asset:
    """A picture or a table worth showing under an answer."""

    kind: Literal["picture", "table"]
    number: str = ""  # "图 3", "Table 2-1", as the document says it
    caption: str = ""
    page: int | None = None
    box: Box | None = None
    media_type: str = ""
    width: int | None = None
    height: int | None = None
    html: str = ""  # of a table: table, tr, th, td, colspan and rowspan only
    text: str = ""  # of a picture: what OCR read
    data: bytes = b""  # of a picture


@dataclass
class ParsedDocument:
    title: str = ""  # the document's own, empty when it has none
    blocks: list[Block] = field(default_factory=list)
    assets: list[Asset] = field(default_factory=list)
    pages: int | None = None  # None where the format has none (Markdown, HTML, Word)
    page_names: list[str] = field(default_factory=list)  # of sheets
    parser: str = ""  # name and version
    warnings: list[str] = field(default_factory=list)  # what was skipped, a sentence each

    def to_json(self) -> dict[str, Any]:
        """Everything but the bytes of the pictures."""
        document = asdict(self)
        for asset in document["assets"]:
            del asset["data"]
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "ParsedDocument":
        """The inverse of `to_json`."""
        blocks = [Block(**{**block, "box": _box(block["box"])}) for block in document["blocks"]]
        assets = [Asset(**{**asset, "box": _box(asset["box"])}) for asset in document["assets"]]
        return cls(**{**document, "blocks": blocks, "assets": assets})


def _box(value: list[float] | None) -> Box | None:
    return (value[0], value[1], value[2], value[3]) if value else None
