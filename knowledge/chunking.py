"""A parsed document as chunks: the passages that are found, cited and shown.

A section is a chunk under the trail of its headings; small neighbours share one, with
their headings in its text. A longer section is cut between pieces (`knowledge.pieces`) into
chunks of at most TARGET characters where the pieces allow it. docs/chunking.md has the
measurements behind this.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from knowledge.parsing.document import ParsedDocument
from knowledge.pieces import LIMIT, Piece, heading, pieces

TARGET = 1000  # characters of a chunk's text
SHARED = 600  # characters of a chunk that several sections share
HEADING = 200  # a longer "heading" is a paragraph that a parser took for one
LOCATOR = 500


@dataclass
class ChunkDraft:
    """What `knowledge.models.Chunk` holds, before there is a row."""

    kind: str  # text, table, code, qa
    heading_path: list[str]  # the document's own headings, outermost first; of a FAQ row its facts
    question: str
    text: str  # Markdown, at most knowledge.pieces.LIMIT characters
    page: int | None
    page_end: int | None
    locator: str
    # {"page": int | None, "box": [x0, y0, x1, y1] | None, "block": index into the document's
    # blocks, "rows": [first, last] of that table from 0 | None}
    regions: list[dict[str, Any]]
    assets: list[int]  # indexes into the document's assets
    questions: list[str] = field(default_factory=list)  # asked in other words


@dataclass
class Section:
    heading: str = ""
    level: int = 0
    block: int = -1
    page: int | None = None
    body: list[Piece] = field(default_factory=list)
    parts: list["Section"] = field(default_factory=list)

    @property
    def alone(self) -> bool:
        """Whether it must not share a chunk: a section under a question is the answer to it."""
        return (
            self.heading.endswith(("?", "？"))
            or any(piece.alone for piece in self.body)
            or any(part.alone for part in self.parts)
        )

    def whole(self) -> list[Piece]:
        """The section with its heading and everything below it."""
        title = [heading(self.heading, self.level, self.block, self.page)] if self.heading else []
        return title + self.body + [piece for part in self.parts for piece in part.whole()]


def chunk(parsed: ParsedDocument) -> list[ChunkDraft]:
    """The chunks of a document in reading order. Hidden blocks are left out."""
    drafts = (_draft(parsed, path, held) for path, held in _groups(_outline(parsed), []))
    return [draft for draft in drafts if draft.text]


def answer(
    parsed: ParsedDocument, question: str, answer: str, questions: list[str], path: list[str]
) -> list[ChunkDraft]:
    """The chunks of an FAQ entry, `parsed` being its question as a heading above its answer.

    An answer is kept whole as it was written; only one that is longer than any chunk is cut.
    """
    below = [replace(block, hidden=block.hidden or not n) for n, block in enumerate(parsed.blocks)]
    regions = [
        {"page": None, "box": None, "block": index, "rows": None}
        for index, block in enumerate(below)
        if not block.hidden
    ]
    drafts = [ChunkDraft("qa", [], "", answer, None, None, "", regions, [])]
    if len(answer) > LIMIT:
        drafts = chunk(replace(parsed, blocks=below)) or drafts
    for draft in drafts:
        draft.heading_path = [*path, *draft.heading_path]
    drafts[0].kind, drafts[0].question, drafts[0].questions = "qa", question, questions
    return drafts


def render(held: Iterable[Piece]) -> str:
    """The pieces as Markdown, a table's header before its first row."""
    text, last = "", None
    for piece in held:
        text, last = _append(text, last, piece), piece
    return text.strip("\n")


def _append(text: str, last: Piece | None, piece: Piece) -> str:
    if last is None or not text:
        return piece.header + piece.text
    if not piece.text:
        return text
    if last.block != piece.block:
        return f"{text}\n\n{piece.header}{piece.text}"
    return text + piece.joint + (piece.header if piece.header != last.header else "") + piece.text


def _outline(parsed: ParsedDocument) -> Section:
    """The document as a tree of sections by the levels of its headings."""
    root = Section()
    trail = [root]
    for index, block in enumerate(parsed.blocks):
        if block.hidden:
            continue
        title = " ".join(block.text.split())
        if block.kind == "heading" and title and len(title) <= HEADING:
            section = Section(title, block.level or 1, index, block.page)
            while trail[-1].level >= section.level:
                trail.pop()
            trail[-1].parts.append(section)
            trail.append(section)
        else:
            trail[-1].body += pieces(parsed, index)
    return root


def _groups(section: Section, path: list[str]) -> Iterator[tuple[list[str], list[Piece]]]:
    """The pieces of each chunk with the headings above them."""
    for parts in _neighbours([Section(body=section.body), *section.parts]):
        if len(parts) > 1 or not (parts[0].body or parts[0].parts):
            yield path, [piece for part in parts for piece in part.whole()]
        elif parts[0].heading:
            yield from _groups(parts[0], [*path, parts[0].heading])
        else:
            yield from ((path, held) for held in _cut(parts[0].body))


def _neighbours(sections: list[Section]) -> Iterator[list[Section]]:
    """Small sections that follow each other on one page, together."""
    together: list[Section] = []
    for section in filter(Section.whole, sections):
        if together and not _fit([*together, section]):
            yield together
            together = []
        together.append(section)
    if together:
        yield together


def _fit(sections: list[Section]) -> bool:
    whole = [piece for section in sections for piece in section.whole()]
    return (
        len({piece.page for piece in whole}) == 1  # a citation shall name it
        and not any(section.alone for section in sections)
        and len(render(whole)) <= SHARED
    )


def _cut(body: list[Piece]) -> Iterator[list[Piece]]:
    """The text of one section as chunks. A row that answers a question is one chunk, and a
    sheet's cells do not share one with other blocks."""
    for key, held in groupby(body, key=_apart):
        same = list(held)
        if key and key[1] is not None and same[0].question:
            yield from ([piece] for piece in same)
        else:
            yield from _fill(_runs(same))


def _apart(piece: Piece) -> tuple[int, int | None] | None:
    if not piece.alone:
        return None
    return piece.block, piece.row if piece.question else None


def _runs(held: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces that are glued together, as one, as long as they fit into one chunk."""
    run: list[Piece] = []
    text = ""
    for piece in held:
        longer = _append(text, run[-1] if run else None, piece)
        if run and not (run[-1].glued and len(longer) <= LIMIT):
            yield run
            run, longer = [], _append("", None, piece)
        run.append(piece)
        text = longer
    if run:
        yield run


def _fill(runs: Iterable[list[Piece]]) -> Iterator[list[Piece]]:
    """Each chunk takes as many runs as fit into TARGET characters, at least one."""
    held: list[Piece] = []
    text = ""
    for run in runs:
        longer = text
        last = held[-1] if held else None
        for piece in run:
            longer, last = _append(longer, last, piece), piece
        if held and len(longer) > TARGET:
            yield held
            held, longer = [], render(run)
        held += run
        text = longer
    if held:
        yield held


def _draft(parsed: ParsedDocument, path: list[str], held: list[Piece]) -> ChunkDraft:
    regions = list(_regions(parsed, held))
    pages = [region["page"] for region in regions if region["page"]]
    question = held[0].question
    return ChunkDraft(
        kind="qa" if question else _kind(held),
        heading_path=[*path, *held[0].about],
        question=question,
        text=render(held),
        page=min(pages, default=None),
        page_end=max(pages, default=None),
        locator=_locator(parsed, path, regions)[:LOCATOR],
        regions=regions,
        assets=list(dict.fromkeys(piece.asset for piece in held if piece.asset is not None)),
        questions=list(held[0].questions),
    )


def _kind(held: list[Piece]) -> str:
    """The kind that makes up most of the text."""
    sizes: Counter[str] = Counter()
    for piece in held:
        sizes[piece.kind] += len(piece.text)
    return sizes.most_common(1)[0][0]


def _regions(parsed: ParsedDocument, held: list[Piece]) -> Iterator[dict[str, Any]]:
    for index, same in groupby(held, key=lambda piece: piece.block):
        block = parsed.blocks[index]
        rows = [piece.row for piece in same if piece.row is not None]
        yield {
            "page": block.page,
            "box": list(block.box) if block.box else None,
            "block": index,
            "rows": [min(rows), max(rows)] if rows else None,
        }


def _locator(parsed: ParsedDocument, path: list[str], regions: list[dict[str, Any]]) -> str:
    """Where a person finds it: cells of a sheet, or the headings above it."""
    first = regions[0]
    block = parsed.blocks[first["block"]]
    named = block.page is not None and 0 < block.page <= len(parsed.page_names)
    name = parsed.page_names[block.page - 1] if named and block.page else ""
    if block.first_row is None or not first["rows"]:
        return " › ".join(path + _inside(parsed, regions)) or name
    top, bottom = (block.first_row + row for row in first["rows"])
    left = block.first_column or 1
    right = left + max(len(row) for row in block.rows) - 1
    cells = f"{letters(left)}{top}:{letters(right)}{bottom}"
    return f"{name}!{cells}" if name else cells


def _inside(parsed: ParsedDocument, regions: list[dict[str, Any]]) -> list[str]:
    """The sections that share a chunk, from the first to the last of the highest."""
    blocks = [parsed.blocks[region["block"]] for region in regions]
    headings = [block for block in blocks if block.kind == "heading"]
    highest = min((block.level or 1 for block in headings), default=1)
    names = [" ".join(block.text.split()) for block in headings if (block.level or 1) == highest]
    return [names[0] if len(names) == 1 else f"{names[0]} – {names[-1]}"] if names else []


def letters(column: int) -> str:
    """A column's name in a sheet: 1 is A, 27 is AA."""
    name = ""
    while column:
        column, letter = divmod(column - 1, 26)
        name = chr(ord("A") + letter) + name
    return name
