"""A long file is read in parts, each kept as soon as it is finished: a plan, then its steps.

The plan names the steps; a step is a range of pages with a text layer ("text:1-100"), one
page whose text is recognised ("page:7"), or a picture ("picture:3"). What is not cut is one
part, "whole". Knows no Django: the subprocess makes the parts, its parent keeps them.
"""

import io
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

from knowledge.parsing import breaks, captions, running, tables
from knowledge.parsing.document import Block, ParsedDocument

PLAN = "plan"
WHOLE = "whole"


@dataclass
class Part:
    name: str
    parsed: ParsedDocument
    steps: list[str] = field(default_factory=list)  # of the plan


def dump(part: Part) -> bytes:
    """A line of JSON, then the bytes of the pictures."""
    head = {
        "name": part.name,
        "steps": part.steps,
        "document": part.parsed.to_json(),
        "sizes": [len(asset.data) for asset in part.parsed.assets],
    }
    line = json.dumps(head, ensure_ascii=False).encode("utf-8", "replace")
    return b"".join([line, b"\n", *(asset.data for asset in part.parsed.assets)])


def load(data: bytes) -> Part:
    """The inverse of `dump`. Raises ValueError, TypeError or KeyError for anything else."""
    file = io.BytesIO(data)
    head = json.loads(file.readline())
    parsed = ParsedDocument.from_json(head["document"])
    for asset, size in zip(parsed.assets, head["sizes"], strict=True):
        asset.data = file.read(size)
    return Part(str(head["name"]), parsed, [str(step) for step in head["steps"]])


def write(part: Part, file: IO[bytes]) -> None:
    """Append the part to a stream from which it is read while more is written."""
    data = dump(part)
    file.write(len(data).to_bytes(8, "big") + data)
    file.flush()


def until(deadline: float, parts: Iterator[Part]) -> Iterator[Part]:
    """The parts that are begun before `deadline`, a time of time.monotonic()."""
    for part in parts:
        yield part
        if time.monotonic() > deadline:
            return


def numbers(step: str) -> list[int]:
    """Of a step's pages, from 1, or of its picture: [1, 2, 3, 7] of "text:1-3,7"."""
    found: list[int] = []
    for piece in step.partition(":")[2].split(","):
        first, _, last = piece.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def named(kind: str, pages: list[int]) -> str:
    """The inverse of `numbers`."""
    pieces: list[list[int]] = []
    for page in pages:
        if pieces and pieces[-1][1] == page - 1:
            pieces[-1][1] = page
        else:
            pieces.append([page, page])
    spans = (f"{first}-{last}" if last > first else str(first) for first, last in pieces)
    return f"{kind}:{','.join(spans)}"


def assemble(done: Mapping[str, Part]) -> ParsedDocument:
    """One document of the parts that there are, in the order of its pages."""
    if WHOLE in done:
        return done[WHOLE].parsed
    plan = done[PLAN]
    whole = ParsedDocument(pages=plan.parsed.pages)
    parsers: dict[str, None] = {}
    for step in plan.steps:
        if step in done:
            _append(whole, done[step].parsed)
            parsers |= dict.fromkeys(filter(None, [done[step].parsed.parser]))
    whole.parser = " + ".join(parsers)
    whole.blocks.sort(key=lambda block: block.page or 0)
    running.hide(whole)
    tables.show(whole)
    breaks.join(whole)
    running.drop_unused(whole)
    captions.link(whole)
    return whole


def _append(whole: ParsedDocument, parsed: ParsedDocument) -> None:
    for block in parsed.blocks:
        if block.asset is not None:
            block.asset += len(whole.assets)
    whole.title = whole.title or parsed.title
    whole.blocks += parsed.blocks
    whole.assets += parsed.assets
    whole.warnings += parsed.warnings


def words(block: Block) -> str:
    """What the block says, a table by its rows."""
    return block.text or "\n".join("  ".join(filter(None, row)) for row in block.rows)
