"""A formula as a picture, and as an equation of Word."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import cache
from html.entities import name2codepoint
from typing import Any

import latex2mathml.converter
import latex2mathml.exceptions
import mathml2omml
from docx.oxml import parse_xml
from lxml.etree import XMLSyntaxError

LENGTH = 2000  # characters of TeX: longer ones are not set
SIZE = 100
# The face of formulas has no Chinese: it draws a square as wide, where the letter goes then.
SQUARE, WIDE, ABOVE = "⬜", 1.024, 0.6155  # its width in ems, the share of it above the line
_HAN = re.compile(r"[⺀-鿿　-〿豈-﫿！-｠]")
HAN = "Han"  # the name of the face that whoever draws has for Chinese
_PLACE = ("x", "y", "width", "height")
_MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"
# What TeX that is not right makes of the libraries that read and draw it.
_ERRORS = (
    ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError,
    ArithmeticError, ET.ParseError, XMLSyntaxError,
    *(kind for kind in vars(latex2mathml.exceptions).values() if isinstance(kind, type)),
)  # fmt: skip


@dataclass
class Drawing:
    """All lengths in the size of the letters around it."""

    svg: str  # of paths, and of letters in the face HAN
    width: float
    height: float


@cache
def drawing(tex: str, inline: bool) -> Drawing | None:
    """`tex` as a picture; None when it cannot be set, and stays what it is."""
    import ziamath  # with its fonts, only when there is a formula

    if len(tex) > LENGTH:
        return None
    try:
        formula = ziamath.Latex(_HAN.sub(SQUARE, tex), size=SIZE, inline=inline, margin=0)
        if "\\" in "".join(formula.mathml.itertext()):  # a command that is not known
            return None
        svg, (width, height) = formula.svgxml(), formula.getsize()
        _letters(svg, _HAN.findall(tex))
        _paths(svg)
    except _ERRORS:
        return None
    text = ET.tostring(svg, encoding="unicode")
    return Drawing(text, width / SIZE, height / SIZE)


def _letters(svg: ET.Element, han: list[str]) -> None:
    """Put letters where their squares are: these were drawn in the same order."""
    square = _square()
    places = [use for use in svg.iter("use") if use.get("href") == square]
    for use, letter in zip(places, han, strict=True):
        x, y, width, height = (float(use.attrib[name]) for name in _PLACE)
        line = {"x": f"{x}", "y": f"{y + height * ABOVE}", "font-size": f"{width / WIDE}"}
        ET.SubElement(svg, "text", line | {"font-family": HAN}).text = letter
        svg.remove(use)


def _paths(svg: ET.Element) -> None:
    """Each use of a symbol as what it draws: svglib does not fit symbols into their places."""
    symbols = {f"#{one.get('id')}": one for one in svg.findall("symbol")}
    for use in svg.findall("use"):
        x, y, width, _height = (float(use.attrib[name]) for name in _PLACE)
        symbol = symbols[use.attrib["href"]]
        left, top, wide, _high = map(float, symbol.attrib["viewBox"].split())
        scale = width / wide
        moved = f"translate({x} {y}) scale({scale}) translate({-left} {-top})"
        group = ET.SubElement(svg, "g", {"transform": moved})
        group.extend(symbol)
        svg.remove(use)
    for symbol in symbols.values():
        svg.remove(symbol)


@cache
def _square() -> str | None:
    import ziamath

    return next(ziamath.Latex(SQUARE, margin=0).svgxml().iter("use")).get("href")


def equation(tex: str, display: bool) -> Any | None:
    """`tex` as an element that Word shows and edits; None when it cannot be set."""
    if len(tex) > LENGTH:
        return None
    try:
        omml = mathml2omml.convert(latex2mathml.converter.convert(tex), name2codepoint)
        whole = f"<m:oMathPara>{omml}</m:oMathPara>" if display else omml
        element = parse_xml(whole.replace(">", f' xmlns:m="{_MATH}">', 1))
    except _ERRORS:
        return None
    if "\\" in "".join(element.itertext()):
        return None
    return element
