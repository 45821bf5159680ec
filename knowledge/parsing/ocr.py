"""Text recognition without a network: the models are part of the rapidocr package.

Runs in the parsing subprocess only.
"""

import math
import re
from dataclasses import dataclass
from functools import cache
from statistics import mean, median
from typing import Any

import cv2
import numpy
from PIL import Image

from knowledge.parsing import layout, ruled
from knowledge.parsing.document import Block, Box
from knowledge.parsing.joining import share_box
from knowledge.parsing.layout import Line

# Pixels of the longer side in which lines are looked for: a page at 200 dpi bears to be made
# smaller, the small letters of a screenshot do not.
PAGE = 960
PICTURE = 1920
SURE = 0.6  # of the recogniser; below it are patterns that are no letters
# A page read the wrong way round: its lines stand on end, or the recogniser is at a loss.
ON_END = 0.6  # of the lines
AT_A_LOSS = 0.8
STRAIGHT = 0.15  # degrees; a page that is turned by more is read along its lines
CROOKED = 8.0  # degrees; more is a drawing, not a page that slipped

_WIDE = dict(zip(":;,!?", "：；，！？", strict=True))
_NARROW = re.compile(r"(?<=[\u4e00-\u9fff])[:;,!?](?=[\u4e00-\u9fff]|$)")


@cache
def _engine(side: int) -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.text_score": 0.0,
            "Global.use_cls": False,  # it turns upright lines over, and costs time
            "Det.limit_type": "max",
            "Det.limit_side_len": side,
            "EngineConfig.onnxruntime.intra_op_num_threads": 2,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


@dataclass
class Found:
    """A line as it was recognised: its corners clockwise from its top left, in pixels."""

    text: str
    corners: numpy.ndarray  # 4 × 2
    score: float


def recognise(image: Image.Image, side: int = PAGE, unsure: bool = False) -> list[Block]:
    """Paragraphs and tables of the picture in reading order, boxes as shares of it.

    With `unsure`, behind them what may be no letters: hidden paragraphs.
    """
    pixels = numpy.asarray(image.convert("RGB"))[:, :, ::-1]
    turns, read = _upright(pixels, side)
    pixels = numpy.rot90(pixels, turns)
    height, width = pixels.shape[:2]
    blocks = []
    if unsure:
        blocks = [
            Block("paragraph", line.text, box=_around(line.corners, width, height), hidden=True)
            for line in read
            if line.score < SURE
        ]
    if found := [line for line in read if line.score >= SURE]:
        pixels, lines, turn = _straightened(pixels, found)
        made = layout.blocks(_with_tables(pixels, lines, side), width, height)
        for block in made:
            block.box = block.box and _slanted_back(block.box, turn, width, height)
        blocks = made + blocks
    for block in blocks:
        block.box = block.box and _turned_back(block.box, turns)
    return blocks


def _upright(pixels: numpy.ndarray, side: int) -> tuple[int, list[Found]]:
    """By how many quarters to turn the picture to the left so that it is upright, and all that
    may be its lines."""
    found = _read(pixels, side)
    if len(found) < 3:
        return 0, found
    ways = {0: found}
    if sum(map(_on_end, found)) > ON_END * len(found):
        ways = {turns: _read(numpy.rot90(pixels, turns), side) for turns in (1, 3)}
    elif mean(line.score for line in found) < AT_A_LOSS:
        ways[2] = _read(numpy.rot90(pixels, 2), side)
    turns = max(ways, key=lambda turns: sum(len(line.text) * line.score for line in ways[turns]))
    return turns, ways[turns]


def _read(pixels: numpy.ndarray, side: int) -> list[Found]:
    found = _engine(side)(numpy.ascontiguousarray(pixels), use_det=True, use_rec=True)
    if found.boxes is None or found.txts is None:
        return []
    return [
        Found(_full_width(text.strip()), numpy.asarray(corners), float(score))
        for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        if text.strip()
    ]


def _full_width(text: str) -> str:
    """The recogniser hardly tells the two widths of a sign apart; in Chinese it is the wide one."""
    return _NARROW.sub(lambda sign: _WIDE[sign[0]], text)


def _on_end(line: Found) -> bool:
    width, height = numpy.ptp(line.corners, axis=0)
    return len(line.text) > 1 and bool(height > 1.5 * width)


def _straightened(
    pixels: numpy.ndarray, found: list[Found]
) -> tuple[numpy.ndarray, list[Line], numpy.ndarray]:
    """The picture and its lines turned so that the lines run level, and the turn (2 × 3)."""
    turn: numpy.ndarray = numpy.eye(2, 3)
    slopes = [
        math.degrees(math.atan2(*(line.corners[1] - line.corners[0])[::-1]))
        for line in found
        if numpy.ptp(line.corners[:, 0]) > 5 * numpy.ptp(line.corners[:, 1])
    ]
    slope = median(slopes) if len(slopes) >= 3 else 0.0
    if STRAIGHT < abs(slope) < CROOKED:
        height, width = pixels.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), slope, 1)
        pixels = cv2.warpAffine(pixels, turn, (width, height), borderValue=(255, 255, 255))
        for line in found:
            line.corners = line.corners @ turn[:, :2].T + turn[:, 2]
    lines = []
    for line in found:
        (left, top), (right, bottom) = line.corners.min(axis=0), line.corners.max(axis=0)
        lines.append(Line(line.text, float(left), float(top), float(right), float(bottom)))
    return pixels, lines, turn


def _with_tables(pixels: numpy.ndarray, lines: list[Line], side: int) -> list[Line]:
    """The lines, those in a ruled table replaced by the table."""
    grey = cv2.cvtColor(numpy.ascontiguousarray(pixels), cv2.COLOR_BGR2GRAY)
    for grid in ruled.grids(grey, lines):
        inside = [line for line in lines if grid.holds(line)]
        pieces = [piece for line in inside for piece in _cut(pixels, grid, line, side)]
        if made := ruled.table(grid, pieces):
            left, top, right, bottom = grid.box
            lines = [line for line in lines if line not in inside]
            lines.append(Line("", left, top, right, bottom, ruled.block(made)))
    return lines


def _cut(pixels: numpy.ndarray, grid: ruled.Grid, line: Line, side: int) -> list[Line]:
    """A line that was read across rules, read again cell by cell."""
    spans = ruled.split(grid, line)
    if len(spans) == 1:
        return [line]
    pieces = []
    top, bottom = max(round(line.top), 0), round(line.bottom)
    for left, right in spans:
        crop = pixels[top:bottom, max(round(left) + 3, 0) : round(right) - 3]
        if min(crop.shape[:2]) < 4:
            continue
        read = _engine(side)(numpy.ascontiguousarray(crop), use_det=False, use_rec=True)
        for text, score in zip(read.txts or (), read.scores or (), strict=True):
            if text.strip() and score >= SURE:
                pieces.append(Line(_full_width(text.strip()), left, line.top, right, line.bottom))
    return pieces


def _around(corners: numpy.ndarray, width: int, height: int) -> Box:
    left, top = map(float, corners.min(axis=0))
    right, bottom = map(float, corners.max(axis=0))
    return share_box(left / width, top / height, right / width, bottom / height)


def _slanted_back(box: Box, turn: numpy.ndarray, width: int, height: int) -> Box:
    """A place in the straightened picture: what holds it in the one that was crooked."""
    left, top, right, bottom = numpy.multiply(box, (width, height, width, height))
    corners = numpy.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    back = cv2.invertAffineTransform(turn)
    return _around(corners @ back[:, :2].T + back[:, 2], width, height)


def _turned_back(box: Box, turns: int) -> Box:
    """A place in the upright picture as it stands in the one that was given."""
    left, top, right, bottom = box
    turned = {
        0: box,
        1: (1 - bottom, left, 1 - top, right),
        2: (1 - right, 1 - bottom, 1 - left, 1 - top),
        3: (top, 1 - right, bottom, 1 - left),
    }
    return share_box(*turned[turns])
