"""How much of real documents is read, beside other parsers on the same files.

The folder has `manifest.jsonl`; a line names a file and, where somebody knows what stands in
it, its `groundtruth` (Markdown) or `reference_text` (rows of tables as "a | b").
"""

import itertools
import json
import os
import re
import subprocess
import sys
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from django.conf import settings

from evaluation import parsing_contestants
from evaluation.metrics import mean
from knowledge.parsing import markdown
from knowledge.parsing.document import ParsedDocument

PARSERS = tuple(parsing_contestants.PARSERS)
# Other versions than ours of what we use: `make bench-parse` installs it beside.
MARKITDOWN = Path(".venv-bench/bin/python")
SECONDS = 900  # a file
SHORTEST_LINE = 8  # characters; shorter lines stand in many places

# Written by whoever made the references: it stands in no deck.
_SLIDE = re.compile(r"^# slide \d+\n", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_IMAGE = re.compile(r"!(?=\[)")
_TARGET = re.compile(r"\]\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)")
_TAG = re.compile(
    r"</?(?:table|thead|tbody|tr|td|th|br|p|div|span|img|a|b|i|u|s|strong|em|sub|sup|details"
    r"|summary|eq|ul|ol|li|del|h[1-6])(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_MARKS = re.compile(r"[\s|*#\[\]`\\_~$-]")


@dataclass(frozen=True)
class Case:
    """A document, and what stands in it; empty where nobody wrote that down."""

    path: Path
    reference: str


def cases(folder: Path) -> list[Case]:
    """Raises OSError or ValueError when the folder has no such manifest."""
    lines = (folder / "manifest.jsonl").read_text("utf-8").splitlines()
    found = []
    for entry in map(json.loads, filter(str.strip, lines)):
        place = entry.get("groundtruth") or entry.get("reference_text")
        reference = _SLIDE.sub("", (folder / place).read_text("utf-8")) if place else ""
        found.append(Case(folder / entry["file"], reference))
    return found


# --- running ---------------------------------------------------------------------


def interpreter(parser: str) -> str | None:
    """The Python that has the parser, None where it is not installed."""
    if parser != "markitdown":
        return sys.executable
    python = settings.BASE_DIR / MARKITDOWN
    return str(python) if python.exists() else None


def run(parser: str, python: str, path: Path) -> dict[str, Any]:
    """What `parsing_contestants` writes."""
    program = [python, parsing_contestants.__file__, parser, str(path.resolve())]
    environment = os.environ | {"PYTHONPATH": str(settings.BASE_DIR), "ORT_DISABLE_TELEMETRY": "1"}
    # Between us and the parser stands a small process, or its peak memory would count ours.
    done = subprocess.run(  # noqa: S603 - our own module
        ["timeout", str(SECONDS), *program],  # noqa: S607
        capture_output=True,
        env=environment,
        cwd=settings.BASE_DIR,
        check=False,
    )
    try:
        made: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1].partition(": ")[2] if lines else ""
        made = {"error": reason or f"exit status {done.returncode}"}
    return made


def measure(case: Case, made: dict[str, Any]) -> dict[str, Any]:
    """The figures of one parser on one file, without its text."""
    figures = {name: value for name, value in made.items() if name != "markdown"}
    text = made.get("markdown", "")
    figures["characters"] = len(plain(text))
    if case.reference:
        figures |= compare(case.reference, text)
    return figures


# --- comparing -------------------------------------------------------------------


def plain(text: str) -> str:
    """The characters alone: no white space, no marks of Markdown, no addresses of links."""
    text = _TAG.sub("", _IMAGE.sub("", _TARGET.sub("]", _COMMENT.sub("", text))))
    return _MARKS.sub("", unicodedata.normalize("NFKC", unescape(text)))


def compare(reference: str, text: str) -> dict[str, float | None]:
    """Shares of the reference that stand in the text, None where the reference has none.

    text: its pairs of characters; added: of the text's pairs those that the reference lacks;
    cells: texts of table cells; neighbours: pairs of cells that stand side by side or one
    below the other; headings; order: of the lines found, those in the reference's order.
    """
    wanted, found = _pairs(plain(reference)), _pairs(plain(text))
    shared = (wanted & found).total()
    known, read = markdown.parse(reference), markdown.parse(text)
    grids, made = list(_grids(known, reference)), list(_grids(read, text))
    return {
        "text": shared / wanted.total() if wanted else None,
        "added": 1 - shared / found.total() if found else None,
        "cells": _recall(_cells(grids), _cells(made)),
        "neighbours": _recall(_neighbours(grids), _neighbours(made)),
        "headings": _recall(_headings(known), _headings(read)),
        "order": order(reference, text),
    }


def _pairs(text: str) -> Counter[tuple[str, str]]:
    return Counter(itertools.pairwise(text))


def _recall(wanted: Counter[Any], found: Counter[Any]) -> float | None:
    return (wanted & found).total() / wanted.total() if wanted else None


def _grids(parsed: ParsedDocument, text: str) -> Iterator[list[list[str]]]:
    """Tables, their cells as `plain` has them; "a | b" lines that are no Markdown as well."""
    yield from ([[plain(cell) for cell in row] for row in b.rows] for b in parsed.blocks if b.rows)
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if " | " in line and not line.startswith("|"):
            rows.append([plain(cell) for cell in line.split(" | ")])
        elif rows:
            yield rows
            rows = []


def _cells(grids: Iterable[list[list[str]]]) -> Counter[str]:
    return Counter(cell for grid in grids for row in grid for cell in row if cell)


def _neighbours(grids: Iterable[list[list[str]]]) -> Counter[tuple[str, str, str]]:
    pairs: Counter[tuple[str, str, str]] = Counter()
    for grid in grids:
        for row in grid:
            pairs.update(("right", *pair) for pair in itertools.pairwise(row) if all(pair))
        for upper, lower in itertools.pairwise(grid):
            below = zip(upper, lower, strict=False)
            pairs.update(("below", *pair) for pair in below if all(pair))
    return pairs


def _headings(parsed: ParsedDocument) -> Counter[str]:
    return Counter(plain(block.text) for block in parsed.blocks if block.kind == "heading")


def order(reference: str, text: str) -> float | None:
    """Of the reference's lines that stand in the text, the share that keep their order."""
    lines = [line for line in map(plain, reference.splitlines()) if len(line) >= SHORTEST_LINE]
    once = [line for line, times in Counter(lines).items() if times == 1]
    whole = plain(text)
    places = [found for line in once if (found := list(_places(line, whole)))]
    tails: list[int] = []  # the smallest end of a rising sequence of each length
    for found in places:
        for place in reversed(found):  # so that a line counts once
            at = bisect_left(tails, place)
            tails[at : at + 1] = [place]
    return len(tails) / len(places) if places else None


def _places(line: str, text: str) -> Iterator[int]:
    place = text.find(line)
    while place >= 0:
        yield place
        place = text.find(line, place + 1)


MEASURES = ("text", "added", "cells", "neighbours", "headings", "order", "seconds", "MB")


def averages(rows: Iterable[dict[str, Any]]) -> dict[str, float | None]:
    """The mean of each measure over the files that have a reference."""
    held = [row for row in rows if row.get("text") is not None]
    return {name: mean(row[name] for row in held if row.get(name) is not None) for name in MEASURES}
