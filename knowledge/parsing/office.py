"""What DocVortex leaves out of Office files: text boxes, charts, diagrams, notes, comments.

All text of the package is walked in its own order and compared with the blocks that were
made of it; what is missing goes behind what stands before it. So nothing stands twice.
"""

import re
import unicodedata
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from lxml import etree

from knowledge.parsing import captions
from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.package import Link, Package, attribute, name

SUFFIXES = {"docx", "pptx", "xlsx"}
# Parts of a part's XML that say nothing to a reader, or that others read: deleted and hidden
# text, field codes, phonetic guides, the picture that old programs see, formulas.
_SILENT = {
    "del", "moveFrom", "delText", "instrText", "rt", "rPh", "oMath", "oMathPara", "pPr",
    "tblPr", "tcPr", "sectPr", "binData", "style", "extLst",
}  # fmt: skip
_FURNITURE = {"sldNum", "dt", "ftr", "hdr", "sldImg"}  # placeholders of slides and notes
# Kinds of charts, in English and Chinese.
_CHARTS = {
    "bar": ("Bar chart", "柱形图"),
    "line": ("Line chart", "折线图"),
    "pie": ("Pie chart", "饼图"),
    "ofPie": ("Pie chart", "饼图"),
    "doughnut": ("Doughnut chart", "圆环图"),
    "area": ("Area chart", "面积图"),
    "scatter": ("Scatter chart", "散点图"),
    "bubble": ("Bubble chart", "气泡图"),
    "radar": ("Radar chart", "雷达图"),
    "stock": ("Stock chart", "股价图"),
    "surface": ("Surface chart", "曲面图"),
}
_HAN = re.compile("[\u4e00-\u9fff]")
_TARGET = re.compile(r"\]\((?:[^()\s]|\([^()]*\))*\)")
_NOISE = re.compile(r"[\W_]+")
DEEPEST = 60  # levels of XML
NEAR = 400  # characters; a short text that stands further off may be another's
# A share of a text's triples of characters that shows it was read, if not to the letter.
READ = 0.7
MOST_TRIPLES = 1_000_000


@dataclass
class Said:
    """Text that belongs together: a paragraph, a box, a chart's labels."""

    lines: list[str]
    kind: Literal["text", "chart", "list", "hidden"] = "text"


@dataclass
class _Page:
    """The text that was read of a page, to look up what else is there."""

    blocks: list[Block] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    whole: str = ""

    def __post_init__(self) -> None:
        parts, length = [], 0
        for block in self.blocks:
            self.starts.append(length)
            parts.append(_key(_words(block)))
            length += len(parts[-1])
        self.whole = "".join(parts)

    @cached_property
    def triples(self) -> set[str]:
        return {self.whole[i : i + 3] for i in range(min(len(self.whole), MOST_TRIPLES) - 2)}

    def find(self, text: str, start: int) -> int:
        """Where it stands at or behind `start`, else before it; -1 when nowhere."""
        place = self.whole.find(text, start)
        return place if place >= 0 else self.whole.find(text)

    def resembles(self, text: str) -> bool:
        triples = [text[i : i + 3] for i in range(len(text) - 2)]
        known = sum(triple in self.triples for triple in triples)
        return len(triples) > 3 and known >= READ * len(triples)

    def block(self, place: int) -> int:
        """The index of the block that holds the character at `place`."""
        return max(bisect_right(self.starts, place) - 1, 0)


def complete(parsed: ParsedDocument, data: bytes, suffix: str) -> None:
    """Put in what was left out. `data` is the package that `parsed` was read from."""
    package = Package(data)
    said: dict[int | None, list[Said]] = defaultdict(list)
    for page, text in _READERS[suffix](package, parsed):
        said[page].append(text)
    pages: dict[int | None, list[Block]] = defaultdict(list)
    for block in parsed.blocks:
        pages[block.page].append(block)
    blocks: list[Block] = []
    for page in sorted(pages.keys() | said.keys(), key=lambda page: page or 0):
        # What floats over a sheet has no place among its cells.
        start = len(pages[page]) if suffix == "xlsx" else 0
        blocks += _filled(parsed, page, pages[page], said[page], start)
    parsed.blocks = blocks


def _filled(
    parsed: ParsedDocument, page: int | None, blocks: list[Block], said: list[Said], at: int
) -> list[Block]:
    """The blocks and, from the `at`-th on, what they lack of what is said."""
    if not said:
        return blocks
    read = _Page(blocks)
    added: dict[int, list[Block]] = defaultdict(list)  # by the index of the block they precede
    away = bool(blocks) and all(block.hidden for block in blocks)
    place = 0
    for text in said:
        missing, first = [], None
        for line in text.lines:
            key = _key(line)
            found = read.find(key, place) if key else place
            if found < 0 and not read.resembles(key):
                missing.append(line)
            elif key and found >= 0 and (len(key) > 5 or 0 <= found - place < NEAR):
                first = found if first is None else first
                if found >= place:
                    place = found + len(key)
                    at = read.block(place - 1) + 1
        if missing:
            block = _block(text, missing, page)
            index = read.block(first) if first is not None and text.kind == "chart" else at
            _name(parsed, blocks[index : index + 1], text, missing)
            block.hidden = block.hidden or away
            added[index].append(block)
    return [
        made
        for index in range(len(blocks) + 1)
        for made in (*added[index], *blocks[index : index + 1])
    ]


def _block(text: Said, missing: list[str], page: int | None) -> Block:
    if text.kind == "list" and len(missing) > 1:
        return Block("list", "\n".join(f"- {line}" for line in missing), page=page)
    return Block("paragraph", "\n".join(missing), page=page, hidden=text.kind == "hidden")


def _name(parsed: ParsedDocument, blocks: list[Block], text: Said, missing: list[str]) -> None:
    """A chart's title is the caption of its table."""
    titled = text.kind == "chart" and missing[0] == text.lines[0]
    if titled and blocks and blocks[0].asset is not None:
        asset, title = parsed.assets[blocks[0].asset], missing[0]
        if not asset.caption:
            asset.caption, number = title, captions.number(title)
            # "图表 1" alone is what Office makes up; the document may have a better caption.
            asset.number = number if number != title else ""


def _words(block: Block) -> str:
    cells = (cell for row in block.rows for cell in row)
    return " ".join((_TARGET.sub("]", block.text), *cells))


def _key(text: str) -> str:
    return _NOISE.sub("", unicodedata.normalize("NFKC", text)).lower()


# --- the text of a part, in order ---------------------------------------------------


class _Walk:
    """The paragraphs below an element; charts, diagrams and notes where they are anchored."""

    def __init__(self, package: Package, part: str) -> None:
        self.package = package
        self.links = package.links(part)
        self.buffer: list[str] = []
        kinds = dict(self.links.values())
        self.comments = dict(_comments(package.xml(kinds.get("comments", ""))))
        self.pending: list[Said] = []  # comments on the paragraph that is being read

    def read(self, root: etree._Element | None) -> Iterator[Said]:
        if root is not None:
            yield from self._node(root, 0)
            yield from self._flush()

    def _flush(self) -> Iterator[Said]:
        text = " ".join("".join(self.buffer).split())
        self.buffer.clear()
        if text:
            yield Said([text])

    def _node(self, node: etree._Element, depth: int) -> Iterator[Said]:
        tag = name(node)
        if depth > DEEPEST or not tag or _is_silent(node, tag):
            if tag in ("oMath", "oMathPara"):
                yield from self._flush()
            return
        if tag == "t":
            self.buffer.append(node.text or "")
        elif tag in ("tab", "br", "cr"):
            self.buffer.append(" ")
        elif tag == "chart":
            yield from self._flush()
            yield from chart(self.package.xml(self._target(node, "id")))
        elif tag == "relIds":
            yield from self._flush()
            yield from _diagram(self.package.xml(self._target(node, "dm")))
        elif tag == "txbxContent":
            yield from self._flush()
            lines = [line for said in self._children(node, depth) for line in said.lines]
            yield from [Said(lines)] if lines else []
        elif tag == "commentReference":
            self.pending += filter(None, [self.comments.get(attribute(node, "id"))])
        elif tag in ("p", "tc"):
            yield from self._flush()
            yield from self._children(node, depth)
            yield from self._flush()
            yield from self.pending
            self.pending.clear()
        elif tag == "AlternateContent":
            yield from self._children(node[:1], depth)  # the others say the same
        else:
            yield from self._children(node, depth)

    def _children(self, nodes: Iterable[etree._Element], depth: int) -> Iterator[Said]:
        for child in nodes:
            yield from self._node(child, depth + 1)

    def _target(self, node: etree._Element, wanted: str) -> str:
        return self.links.get(attribute(node, wanted), Link("", "")).part


def _is_silent(node: etree._Element, tag: str) -> bool:
    if tag == "r":  # hidden characters
        return any(name(mark) == "vanish" for part in node if name(part) == "rPr" for mark in part)
    if tag == "fld":
        return attribute(node, "type").startswith(("slidenum", "datetime"))
    if tag == "sp":
        marks = (mark for mark in node.iter() if name(mark) == "ph")
        return any(attribute(mark, "type") in _FURNITURE for mark in marks)
    return tag in _SILENT


def chart(root: etree._Element | None) -> Iterator[Said]:
    """A chart's title, what kind it is, the titles of its axes, its series and categories."""
    if root is None:
        return
    lines: list[str] = []
    for node in root.iter():
        if name(node) == "title":
            lines.append(" ".join("".join(_texts(node)).split()))
    for series in (node for node in root.iter() if name(node) == "ser"):
        for part in series:
            if name(part) in ("tx", "cat"):
                lines += [(node.text or "").strip() for node in part.iter() if name(node) == "v"]
    lines = list(dict.fromkeys(filter(None, lines)))
    kinds = [name(node).removesuffix("Chart").removesuffix("3D") for node in root.iter()]
    kind = next((_CHARTS[kind] for kind in kinds if kind in _CHARTS), None)
    if kind:
        titled = int(root.find("./{*}chart/{*}title") is not None and bool(lines))
        lines.insert(titled, kind[bool(_HAN.search("".join(lines)))])
    if lines:
        yield Said(lines, "chart")


def _texts(node: etree._Element) -> Iterator[str]:
    return (each.text or "" for each in node.iter() if name(each) in ("t", "v"))


def _diagram(root: etree._Element | None) -> Iterator[Said]:
    """The words of SmartArt, point by point."""
    points = (node for node in root.iter() if name(node) == "pt") if root is not None else ()
    lines = [" ".join("".join(_texts(point)).split()) for point in points]
    lines = list(filter(None, lines))
    if lines:
        yield Said(lines, "list")


def _comments(root: etree._Element | None) -> Iterator[tuple[str, Said]]:
    """Comments by their ids, or their cells, each with who wrote it or where it stands."""
    for comment in root.iter() if root is not None else ():
        if name(comment) in ("comment", "threadedComment", "cm"):
            text = " ".join("".join(_comment_texts(comment)).split())
            cell = attribute(comment, "ref")
            who = attribute(comment, "author") or cell
            if text:
                said = Said([f"{who}: {text}" if who else text])
                yield attribute(comment, "id") or text, said


def _comment_texts(comment: etree._Element) -> Iterator[str]:
    for node in comment.iter():
        if name(node) in ("t", "text"):
            yield node.text or ""
        elif name(node) == "p":
            yield " "


# --- the three kinds of package -----------------------------------------------------

Found = Iterator[tuple[int | None, Said]]


def _word(package: Package, parsed: ParsedDocument) -> Found:
    part = "word/document.xml"
    for said in _Walk(package, part).read(package.xml(part)):
        yield None, said
    for kind, target in package.links(part).values():
        if kind in ("footnotes", "endnotes"):
            for said in _Walk(package, target).read(package.xml(target)):
                yield None, said
        elif kind in ("header", "footer"):
            for said in _Walk(package, target).read(package.xml(target)):
                yield None, Said(said.lines, "hidden")


def pages(package: Package, parsed: ParsedDocument) -> dict[str, int]:
    """The parts of slides and sheets, and which page each is."""
    slides = _ordered(package, "ppt/presentation.xml", "sldId")
    found = {part: number for number, (part, _name) in enumerate(slides, 1)}
    for part, title in _ordered(package, "xl/workbook.xml", "sheet"):
        if title in parsed.page_names:
            found[part] = parsed.page_names.index(title) + 1
    return found


def _ordered(package: Package, part: str, tag: str) -> Iterator[tuple[str, str]]:
    """The parts that a list in `part` names, in its order, and their names."""
    links, root = package.links(part), package.xml(part)
    for node in root.iter() if root is not None else ():
        if name(node) == tag:
            # A slide has two ids, its own and that of its relationship, which has a namespace.
            key = next((value for key, value in node.attrib.items() if "}" in str(key)), "")
            yield links.get(str(key), Link("", "")).part, attribute(node, "name")


def _paged(package: Package, parsed: ParsedDocument) -> Found:
    for part, page in pages(package, parsed).items():
        if part.startswith("ppt/"):
            for said in _Walk(package, part).read(package.xml(part)):
                yield page, said
        links = package.links(part).values()
        # A discussion is written once more as comments for old programs.
        comments = "threadedComment" if any("threadedComment" in k for k in links) else "comments"
        for kind, target in links:
            if kind in ("notesSlide", "drawing"):
                for said in _Walk(package, target).read(package.xml(target)):
                    yield page, said
            elif kind == comments:
                for _id, said in _comments(package.xml(target)):
                    yield page, said


_READERS = {"docx": _word, "pptx": _paged, "xlsx": _paged}
