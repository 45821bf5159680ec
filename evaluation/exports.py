"""A certificate as PDF and Word, set as answers are (`chat.exports`), with its chart."""

import io
from collections.abc import Callable, Sequence
from datetime import datetime
from zipfile import ZipFile

import pypdfium2
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from reportlab.graphics import renderPDF
from reportlab.graphics.shapes import Circle, Drawing, Line, String
from reportlab.lib.colors import Color, HexColor
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from chat.exports import docx, pdf
from chat.exports.answer import Answer, Picture, ShownFigure
from evaluation import certifying, wording
from evaluation.models import Certificate
from evaluation.wording import Section

KINDS: dict[str, tuple[Callable[[Answer], bytes], str]] = {
    "pdf": (pdf.export, "application/pdf"),
    "docx": (
        docx.export,
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
}
FACE = "Han"
MARKS = "\\`*_{}[]<>|#~$"  # of Markdown
WIDTH, ROW, LEFT, RIGHT, FOOT = 480, 26, 120, 90, 26  # points
SCALE = 2.5  # pixels a point
INK, QUIET, GOAL = HexColor("#0b5a54"), HexColor("#5a666d"), HexColor("#a3341f")
LINE = HexColor("#d5dbde")


def export(certificate: Certificate, kind: str, language: str) -> bytes:
    """The file, signed where readers of its format do not look. Raises ExportError, also when the
    record was changed: what was not issued is not signed."""
    if not certifying.untouched(certificate):
        said = _("The record was changed: it does not bear its signature.")
        raise pdf.ExportError(said, permanent=True)
    with translation.override(language):
        body = KINDS[kind][0](answer(certificate, language))
    return certifying.signed(body + b"\n%" if kind == "pdf" else _with_comment(body))


def _with_comment(body: bytes) -> bytes:
    """A zip whose comment, its end, is still to be written."""
    file = io.BytesIO(body)
    with ZipFile(file, "a") as archive:
        archive.comment = b"0" * certifying.SIGNATURE
    return file.getvalue()[: -certifying.SIGNATURE]


def answer(certificate: Certificate, language: str) -> Answer:
    """The certificate as a document in the language that is active; of its row nothing counts."""
    record = certificate.record
    name = _("Certificate %(number)s") % {"number": certifying.number(certificate)}
    caption = _("Estimates with their intervals; dashed marks are goals")
    return Answer(
        title=f"{name}: {wording.FINDINGS[record['finding']]}",
        question=wording.claim(certificate),
        text="\n\n".join(markdown(part) for part in wording.sections(certificate)),
        at=timezone.localtime(datetime.fromisoformat(record["issued"])),
        note=_("Issued by %(name)s") % {"name": record["by"]},
        figures=[ShownFigure(caption, picture=chart(certificate))],
        language=language,
        headed=False,
    )


def markdown(section: Section) -> str:
    if section.head:
        lines = [section.head, ["---"] * len(section.head), *section.rows]
        rows = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in lines]
    else:
        said = _("%(name)s: %(value)s")
        rows = [
            "- " + said % {"name": _cell(name), "value": _cell(it)} for name, it in section.rows
        ]
    return "\n".join([f"## {section.title}\n", *rows, "", section.note]).strip()


def _cell(text: str) -> str:
    """As a table of Markdown holds it: letters, no marks."""
    plain = " ".join(text.split())
    return "".join(f"\\{one}" if one in MARKS else one for one in plain)


# --- the chart ----------------------------------------------------------------------------


def chart(certificate: Certificate) -> Picture:
    """Each figure as a point with its interval, and its goal as a mark."""
    pdfmetrics.registerFont(TTFont(FACE, str(pdf.han())))
    made, goals = certificate.record["figures"], certificate.record["goals"]
    known = [name for name in wording.SHORT if made[name]["value"] is not None]
    height = ROW * len(known) + FOOT
    drawing = Drawing(WIDTH, height)
    for at in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _x(at)
        drawing.add(Line(x, FOOT - 4, x, height, strokeColor=LINE, strokeWidth=0.5))
        drawing.add(_text(x, 8, f"{at:.0%}", "middle", QUIET))
    for place, name in enumerate(known):
        y = height - ROW * (place + 0.5)
        _row(drawing, y, str(wording.SHORT[name]), made[name], goals.get(name))
    with pypdfium2.PdfDocument(renderPDF.drawToString(drawing)) as document:
        image = document[0].render(scale=SCALE).to_pil()
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return Picture(buffer.getvalue(), image.width, image.height)


def _row(
    drawing: Drawing, y: float, label: str, estimate: wording.Given, goal: float | None
) -> None:
    drawing.add(_text(LEFT - 10, y - 3, label, "end", INK))
    low, value, high = (_x(estimate[name]) for name in ("low", "value", "high"))
    drawing.add(Line(low, y, high, y, strokeColor=INK, strokeWidth=1.4))
    for x in (low, high):
        drawing.add(Line(x, y - 4, x, y + 4, strokeColor=INK, strokeWidth=1.4))
    drawing.add(Circle(value, y, 3.2, fillColor=INK, strokeColor=INK))
    if goal is not None:
        dashes: Sequence[int] = [2, 2]
        x = _x(goal)
        drawing.add(
            Line(x, y - 11, x, y + 11, strokeColor=GOAL, strokeWidth=1.2, strokeDashArray=dashes)
        )
    drawing.add(_text(WIDTH - RIGHT + 14, y - 3, wording.percent(estimate["value"]), "start", QUIET))  # fmt: skip  # noqa: E501


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _text(x: float, y: float, text: str, anchor: str, colour: Color) -> String:
    return String(x, y, text, fontName=FACE, fontSize=9.5, textAnchor=anchor, fillColor=colour)
