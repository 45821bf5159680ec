"""Text recognition without a network: the models are part of the rapidocr package.

Runs in the parsing subprocess only.
"""

from functools import cache
from typing import Any

import numpy
from PIL import Image

from knowledge.parsing import layout
from knowledge.parsing.document import Block
from knowledge.parsing.layout import Line

# Pixels of the longer side in which lines are looked for: a page at 200 dpi bears to be made
# smaller, the small letters of a screenshot do not.
PAGE = 1280
PICTURE = 1920
SURE = 0.6  # of the recogniser; below it are patterns that are no letters


@cache
def _engine(side: int) -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.text_score": SURE,
            "Global.use_cls": False,  # it turns upright lines over, and costs time
            "Det.limit_type": "max",
            "Det.limit_side_len": side,
            "EngineConfig.onnxruntime.intra_op_num_threads": 2,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def recognise(image: Image.Image, side: int = PAGE) -> list[Block]:
    """Paragraphs and tables of the picture in reading order, boxes as shares of it."""
    return layout.blocks(read_lines(image, side), image.width, image.height)


def read_lines(image: Image.Image, side: int = PAGE) -> list[Line]:
    """Lines of text, boxes in pixels."""
    found = _engine(side)(numpy.asarray(image.convert("RGB"))[:, :, ::-1])
    if found.boxes is None or found.txts is None:
        return []
    lines = []
    for corners, text in zip(found.boxes, found.txts, strict=True):
        xs, ys = [float(x) for x, _ in corners], [float(y) for _, y in corners]
        lines.append(Line(text.strip(), min(xs), min(ys), max(xs), max(ys)))
    return [line for line in lines if line.text]
