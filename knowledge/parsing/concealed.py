"""Text that no reader sees: hidden runs of Word, invisible letters of PDFs, text of a web page that
is moved away or too small. It is taken out, and counted.

Runs in the parsing subprocess only. What is read from a picture of the page never holds it.
"""

import ctypes
import io
import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy
import pypdfium2
from lxml import etree, html
from pypdfium2 import raw

from knowledge.parsing.detection import BROKEN_ZIP
from knowledge.parsing.document import ParsedDocument
from knowledge.parsing.package import Package, attribute, name

SHORTEST = 4  # letters: fewer say nothing, and stand elsewhere
SMALLEST = 2.0  # points, or pixels: below it are no letters that anybody reads
WHITE = 245  # of 255, in all colours
COVERED = 0.4  # share of a page under a picture from which on its text layer is meant to be unseen
_PARTS = re.compile(r"word/(?:document|header\d*|footer\d*|footnotes|endnotes)\.xml")
_OFF = {"0", "false", "off", "none"}
_STYLE = re.compile(
    r"font-size\s*:\s*0*(?:[01](?:\.\d+)?)\s*(?:px|pt|em|%|;|$)|opacity\s*:\s*0(?:\.0+)?\s*(?:;|$)"
    r"|(?:left|top|right|text-indent|margin-left|margin-top)\s*:\s*-\d{3,}"
    r"|(?<![-\w])color\s*:\s*transparent|clip\s*:\s*rect\(0",
    re.IGNORECASE,
)
_EM = re.compile(r"font-size\s*:\s*1(?:\.\d+)?\s*em", re.IGNORECASE)
_PALE = re.compile(
    r"(?<![-\w])color\s*:\s*(?:#f{3}(?:f{3})?\b|white\b|rgb\(\s*255\s*,\s*255\s*,\s*255\s*\))",
    re.IGNORECASE,
)


def word(data: bytes) -> tuple[bytes, int]:
    """A .docx without its hidden runs; how many there were."""
    try:
        package = Package(data)
        parts = {part: package.xml(part) for part in package.names if _PARTS.fullmatch(part)}
    except BROKEN_ZIP:  # whoever reads it says so
        return data, 0
    changed, count = {}, 0
    for part, root in parts.items():
        hidden = list(_hidden_runs(root)) if root is not None else []
        if root is not None and hidden:
            for run in hidden:
                run.getparent().remove(run)
            changed[part] = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
            count += len(hidden)
    return (_rewritten(package.archive, changed), count) if changed else (data, 0)


def _hidden_runs(root: etree._Element) -> Iterator[etree._Element]:
    for run in root.iter():
        if name(run) != "r" or not any(name(one) == "t" and one.text for one in run):
            continue
        look = {name(one): one for one in next((p for p in run if name(p) == "rPr"), ())}
        if _is_on(look.get("vanish")) or _is_on(look.get("specVanish")):
            yield run
        elif "sz" in look and _number(attribute(look["sz"], "val")) < 2 * SMALLEST:
            yield run  # in half points
        elif "color" in look and attribute(look["color"], "val").upper() == "FFFFFF":
            shaded = {"shd", "highlight"} & look.keys()
            if not shaded and not any(name(one) in ("tbl", "txbxContent") or _is_shaded(one)
                                      for one in run.iterancestors()):  # fmt: skip
                yield run


def _is_on(switch: etree._Element | None) -> bool:
    return switch is not None and attribute(switch, "val").lower() not in _OFF


def _number(text: str) -> float:
    return float(text) if re.fullmatch(r"\d+(?:\.\d+)?", text) else 100.0


def _is_shaded(node: etree._Element) -> bool:
    return any(name(one) == "shd" for look in node if name(look) == "pPr" for one in look)


def _rewritten(archive: zipfile.ZipFile, changed: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as copy:
        for member in archive.infolist():
            copy.writestr(member, changed.get(member.filename) or archive.read(member))
    return made.getvalue()


def page(data: bytes) -> tuple[bytes, int]:
    """A web page without what its own styles hide; how many elements that were."""
    text = data.decode("utf-8", "ignore") if b"style" in data else ""
    if not _STYLE.search(text) and not _PALE.search(text):
        return data, 0
    try:
        root = html.document_fromstring(text)
    except (etree.ParserError, ValueError):
        return data, 0
    hidden = [one for one in root.iter() if _is_hidden(one)]
    for one in hidden:
        if one.getparent() is not None:
            one.drop_tree()
    return (html.tostring(root, encoding="utf-8"), len(hidden)) if hidden else (data, 0)


def _is_hidden(node: Any) -> bool:
    style = node.get("style") or "" if isinstance(node.tag, str) else ""
    if not style or not "".join(node.itertext()).strip():
        return False
    if _STYLE.search(_EM.sub("", style)):
        return True
    around = [node, *node.iterancestors()]
    plain = not any(one.get("class") or one.get("bgcolor") for one in around) and not any(
        "background" in (one.get("style") or "") for one in around
    )
    return bool(_PALE.search(style)) and plain


def pdf(document: pypdfium2.PdfDocument, pages: list[int]) -> dict[int, list[str]]:
    """The lines that these `pages` (from 1) hide and show nowhere.

    A page that is a picture of text keeps the invisible layer that lies over it. The file itself
    is left as it is: written again, letters of embedded faces would become others.
    """
    found: dict[int, list[str]] = {}
    for number in pages:
        shown = document[number - 1]
        try:
            things = list(shown.get_objects(max_depth=1))
            if _share(shown, things) < COVERED and (lines := _hidden_lines(shown, things)):
                found[number] = lines
        finally:
            shown.close()
    return found


def _hidden_lines(shown: pypdfium2.PdfPage, things: list[Any]) -> list[str]:
    unseen = list(_unseen(shown, things))
    if not unseen:
        return []
    layer = shown.get_textpage()
    try:
        lines = [
            "".join(_text(layer, one) for one in line)
            for _bottom, line in groupby(unseen, key=lambda one: round(one.get_bounds()[1] / 2))
        ]
        said = _tight(layer.get_text_range())
    finally:
        layer.close()
    return [
        line
        for line, times in Counter(map(_tight, lines)).items()
        if len(line) >= SHORTEST and said.count(line) <= times
    ]


def _text(layer: pypdfium2.PdfTextPage, thing: Any) -> str:
    size = raw.FPDFTextObj_GetText(thing.raw, layer.raw, None, 0)
    buffer = (ctypes.c_ushort * (size // 2))()
    raw.FPDFTextObj_GetText(thing.raw, layer.raw, buffer, size)
    return bytes(buffer).decode("utf-16-le", "ignore").rstrip("\0")


def _tight(text: str) -> str:
    return "".join(text.split())


def take_out(parsed: ParsedDocument, hidden: dict[int, list[str]]) -> int:
    """Take hidden lines out of the blocks of their pages; how many were there."""
    count = 0
    for page, lines in hidden.items():
        for line in lines:
            look = re.compile(r"[\s\\]*".join(map(re.escape, line)))
            for block in (one for one in parsed.blocks if one.page == page):
                block.text, times = look.subn("", block.text)
                rows = [[look.subn("", cell) for cell in row] for row in block.rows]
                block.rows = [[cell for cell, _times in row] for row in rows]
                count += times + sum(times for row in rows for _cell, times in row)
    parsed.blocks = [
        one for one in parsed.blocks
        if one.page not in hidden or one.text.strip() or one.rows or one.asset is not None
    ]  # fmt: skip
    return count


def _share(shown: pypdfium2.PdfPage, things: list[Any]) -> float:
    width, height = shown.get_size()
    boxes = [one.get_bounds() for one in things if one.type == raw.FPDF_PAGEOBJ_IMAGE]
    return max(((r - x) * (t - b) / (width * height) for x, b, r, t in boxes), default=0.0)


def _unseen(shown: pypdfium2.PdfPage, things: list[Any]) -> Iterator[Any]:
    picture, height = None, 0.0
    for thing in things:
        if thing.type != raw.FPDF_PAGEOBJ_TEXT:
            continue
        left, bottom, right, top = thing.get_bounds()
        red, green, blue, alpha = _fill(thing)
        mode = raw.FPDFTextObj_GetTextRenderMode(thing.raw)
        if mode == raw.FPDF_TEXTRENDERMODE_INVISIBLE or alpha == 0 or _size(thing) < 1:
            yield thing
        elif min(red, green, blue) >= WHITE and right > left:
            if picture is None:
                picture, height = shown.render(scale=1).to_numpy(), shown.get_height()
            rows = slice(max(int(height - top), 0), int(height - bottom) + 1)
            place = picture[rows, max(int(left), 0) : int(right) + 1]
            if place.size and numpy.ptp(place) == 0:
                yield thing


def _size(thing: Any) -> float:
    """Of its letters, in points."""
    size = ctypes.c_float()
    raw.FPDFTextObj_GetFontSize(thing.raw, ctypes.byref(size))
    matrix = thing.get_matrix()
    return size.value * math.hypot(matrix.c, matrix.d)


def _fill(thing: Any) -> tuple[int, int, int, int]:
    parts = [ctypes.c_uint(0) for _ in range(4)]
    if not raw.FPDFPageObj_GetFillColor(thing.raw, *(ctypes.byref(one) for one in parts)):
        return 0, 0, 0, 255
    red, green, blue, alpha = (one.value for one in parts)
    return red, green, blue, alpha
