"""Text recognition without a network: lines of a picture, in reading order, as paragraphs.

Runs in the parsing subprocess only. The models are part of the rapidocr package.
"""

from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

import numpy
from PIL import Image

from knowledge.parsing.document import Block
from knowledge.parsing.joining import join_lines, share_box

# Fewer than half the lines of a page are wider than this share of it when it has columns.
GUTTER = 0.015


@dataclass
class Line:
    """One recognised line and its upright box, in pixels."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top


@cache
def _engine() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": 2,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def recognise(image: Image.Image) -> list[Block]:
    """Paragraphs of the picture, boxes as shares of it."""
    lines = read_lines(image)
    paragraphs = [group for column in columns(lines, image.width) for group in _paragraphs(column)]
    return [_block(group, image.width, image.height) for group in paragraphs]


def read_lines(image: Image.Image) -> list[Line]:
    found = _engine()(numpy.asarray(image.convert("RGB"))[:, :, ::-1])
    if found.boxes is None or found.txts is None:
        return []
    lines = []
    for corners, text in zip(found.boxes, found.txts, strict=True):
        xs, ys = [float(x) for x, _ in corners], [float(y) for _, y in corners]
        lines.append(Line(text.strip(), min(xs), min(ys), max(xs), max(ys)))
    return [line for line in lines if line.text]


def columns(lines: list[Line], width: float) -> list[list[Line]]:
    """Lines in reading order, by column: recursive cuts, first across the page, then down it.

    A gap that runs down the whole of a region separates columns; a line that spans the gap
    (a title) separates what is above from what is below.
    """
    if len(lines) < 4:
        return [sorted(lines, key=lambda line: (line.top, line.left))] if lines else []
    gutter = _gutter(lines, width)
    if gutter is None:
        return [_rows(lines)]
    left = [line for line in lines if line.right <= gutter]
    right = [line for line in lines if line.left >= gutter]
    spanning = [line for line in lines if line.left < gutter < line.right]
    ordered: list[list[Line]] = []
    top = float("-inf")
    for bar in [*sorted(spanning, key=lambda line: line.top), None]:
        bottom = bar.top if bar else float("inf")
        for side in (left, right):
            ordered += columns([line for line in side if top <= line.top < bottom], width)
        if bar:
            if ordered and ordered[-1] and ordered[-1][-1] in spanning:
                ordered[-1].append(bar)
            else:
                ordered.append([bar])
            top = bar.top
    return ordered


def _gutter(lines: list[Line], width: float) -> float | None:
    """The middle of the widest gap that few lines cross and that has text on both sides."""
    edges = sorted({line.right for line in lines})
    best, best_gap = None, width * GUTTER
    for edge in edges:
        right = [line for line in lines if line.left > edge]
        left = [line for line in lines if line.right <= edge]
        crossing = len(lines) - len(left) - len(right)
        if min(len(left), len(right)) < 3 or crossing > len(lines) * 0.2:
            continue
        gap = min(line.left for line in right) - edge
        if gap > best_gap and _side_by_side(left, right):
            best, best_gap = edge + gap / 2, gap
    return best


def _side_by_side(left: list[Line], right: list[Line]) -> bool:
    """Columns hold running text; two columns of short words are rows of a table or a form."""
    overlap = min(max(line.bottom for line in left), max(line.bottom for line in right)) - max(
        min(line.top for line in left), min(line.top for line in right)
    )
    lengths = median(len(line.text) for line in left), median(len(line.text) for line in right)
    return overlap > 0 and min(lengths) >= 8


def _rows(lines: list[Line]) -> list[Line]:
    """Top to bottom; pieces on one height left to right."""
    ordered: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.top + line.bottom) / 2):
        row = ordered[-1] if ordered else None
        middle = (line.top + line.bottom) / 2
        if row and row[0].top < middle < row[0].bottom:
            row.append(line)
        else:
            ordered.append([line])
    return [line for row in ordered for line in sorted(row, key=lambda line: line.left)]


def _paragraphs(lines: list[Line]) -> list[list[Line]]:
    """Lines that follow each other closely and start at one edge are one paragraph."""
    groups: list[list[Line]] = []
    for line in lines:
        previous = groups[-1][-1] if groups else None
        if previous and _continues(previous, line, groups[-1]):
            groups[-1].append(line)
        else:
            groups.append([line])
    return groups


def _continues(previous: Line, line: Line, group: list[Line]) -> bool:
    height = max(previous.height, 1.0)
    if abs(line.height - height) > height * 0.35:
        return False
    gap = line.top - previous.bottom
    if gap < -height * 0.5:  # on the same height: another cell of the row
        return False
    widest = max(one.right for one in group)
    reached_edge = previous.right > widest - height * 2 and len(previous.text) >= 8
    indented = line.left > min(one.left for one in group) + height
    return gap < height * 0.9 and reached_edge and not indented


def _block(lines: list[Line], width: int, height: int) -> Block:
    text = ""
    for line in lines:
        text = join_lines(text, line.text)
    outline = share_box(
        min(line.left for line in lines) / width,
        min(line.top for line in lines) / height,
        max(line.right for line in lines) / width,
        max(line.bottom for line in lines) / height,
    )
    return Block("paragraph", text, page=1, box=outline)
