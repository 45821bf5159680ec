"""An answer as a Word document."""

import io
from collections.abc import Iterable
from typing import Any

import docx
from django.utils.translation import gettext as _
from docx.document import Document
from docx.enum.style import WD_STYLE_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Mm, Pt, RGBColor
from docx.styles.style import ParagraphStyle
from docx.text.paragraph import Paragraph

from chat.exports.answer import Answer, ShownFigure
from chat.exports.blocks import Block, Span, Table, blocks

LATIN, CHINESE, MONO = "Calibri", "Microsoft YaHei", "Consolas"
MARGIN = Mm(20)
WIDTH = Mm(170)  # between the margins of A4
PICTURE_HEIGHT = Mm(190)
DOT = Mm(25.4) / 96  # a pixel of a picture on paper
QUIET, ACCENT = RGBColor(0x5A, 0x66, 0x6D), RGBColor(0x0B, 0x5A, 0x54)
INDENT = Mm(6)


def export(answer: Answer) -> bytes:
    """The answer as .docx: A4, headings as headings, tables as tables."""
    document = _document(answer)
    document.add_heading(answer.title, 1)
    document.add_paragraph(answer.byline, "Quiet")
    if answer.question:
        document.add_paragraph(answer.question, "Quote")
    document.add_heading(_("Answer"), 2)
    for block in blocks(answer.text):
        _block(document, block)
    if answer.figures:
        document.add_heading(_("Figures and tables"), 2)
    for figure in answer.figures:
        _figure(document, figure)
    if answer.sources:
        document.add_heading(_("Sources"), 2)
    for label, quote in answer.sources:
        document.add_paragraph(label).paragraph_format.keep_with_next = True
        document.add_paragraph(quote, "Quiet").paragraph_format.left_indent = INDENT
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


# --- blocks -----------------------------------------------------------------------
def _block(document: Document, block: Block) -> None:
    match block.kind:
        case "heading":
            _write(document.add_heading("", min(block.level + 2, 9)), block.spans)
        case "code":
            paragraph = document.add_paragraph(block.text, "Code")
            paragraph.paragraph_format.left_indent = INDENT * block.indent
        case "table" if block.table:
            _table(document, block.table)
        case "rule":
            document.add_paragraph("―" * 12, "Quiet")
        case _:
            paragraph = document.add_paragraph(style="Quiet" if block.quote else "Normal")
            paragraph.paragraph_format.left_indent = INDENT * block.indent
            if block.marker:
                paragraph.paragraph_format.first_line_indent = -INDENT
                paragraph.paragraph_format.tab_stops.add_tab_stop(INDENT * block.indent)
                paragraph.add_run(f"{block.marker}\t")
            _write(paragraph, block.spans)


def _write(paragraph: Paragraph, spans: Iterable[Span]) -> None:
    for span in spans:
        run = paragraph.add_run(span.text)
        # None leaves it to the paragraph's style.
        run.bold, run.italic, run.font.strike = (
            span.bold or None,
            span.italic or None,
            span.strike or None,
        )
        if span.code:
            _face(run._r.get_or_add_rPr(), MONO)


def _table(document: Document, table: Table) -> None:
    if not table.cells:
        return
    grid = document.add_table(table.rows, table.columns, "Table Grid")
    places = [row.cells for row in grid.rows]  # grid.cell() would lay out the table each time
    for cell in table.cells:
        place = places[cell.row][cell.column]
        if cell.rows > 1 or cell.columns > 1:
            last = places[cell.row + cell.rows - 1][cell.column + cell.columns - 1]
            place = place.merge(last)
        spans = [Span(s.text, bold=True) for s in cell.spans] if cell.header else cell.spans
        place.paragraphs[0]._p.style = "Cell"  # by its id: looking the name up takes milliseconds
        _write(place.paragraphs[0], spans)
    for row in grid.rows[: table.header_rows]:
        row._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    document.add_paragraph(_("Further rows are in the original.") if table.cut else "", "Quiet")


def _figure(document: Document, figure: ShownFigure) -> None:
    if figure.table:
        _table(document, figure.table)
    elif figure.picture:
        picture = figure.picture
        scale = min(DOT, WIDTH / picture.width, PICTURE_HEIGHT / picture.height)
        document.add_picture(io.BytesIO(picture.png), width=int(picture.width * scale))
        document.paragraphs[-1].paragraph_format.keep_with_next = True
    else:
        document.add_paragraph(_("The picture cannot be shown."), "Quiet")
    document.add_paragraph(figure.label, "Caption")


# --- the look -----------------------------------------------------------------------
def _document(answer: Answer) -> Document:
    document = docx.Document()
    document.core_properties.title = answer.title
    document.core_properties.author = _("OpsDesk")
    document.core_properties.created = answer.at.replace(tzinfo=None)
    section = document.sections[0]
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = MARGIN
    for style in document.styles:
        if style.type == WD_STYLE_TYPE.PARAGRAPH and style.name.startswith(
            ("Normal", "Heading", "Caption", "Quote")
        ):
            _face(style.element.get_or_add_rPr(), LATIN)
    _own_styles(document)
    _page_number(section.footer.paragraphs[0])
    return document


def _own_styles(document: Document) -> None:
    styles = document.styles
    styles["Normal"].font.size = Pt(10.5)
    for level in range(1, 7):
        styles[f"Heading {level}"].font.color.rgb = ACCENT
    for name in ("Quiet", "Caption"):
        style = styles[name] if name in styles else _style(document, name)
        style.font.size, style.font.color.rgb, style.font.bold = Pt(9), QUIET, False
    styles["Quote"].font.italic = False
    _shade(styles["Quote"], "E0F2EF")
    code = _style(document, "Code")
    code.font.size = Pt(9)
    _face(code.element.get_or_add_rPr(), MONO)
    _shade(code, "EEF1F3")
    cell = _style(document, "Cell")
    cell.font.size, cell.paragraph_format.space_after = Pt(9), Pt(0)


def _style(document: Document, name: str) -> ParagraphStyle:
    style = document.styles.add_style(name, WD_STYLE_TYPE.PARAGRAPH)
    style.base_style = document.styles["Normal"]
    return style


def _face(properties: Any, latin: str) -> None:
    """The face of a run or style: Word keeps one for each script, and themes override both."""
    fonts = properties.get_or_add_rFonts()
    for theme in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
        fonts.attrib.pop(qn(f"w:{theme}"), None)
    for script, face in (("ascii", latin), ("hAnsi", latin), ("eastAsia", CHINESE)):
        fonts.set(qn(f"w:{script}"), face)


def _shade(style: Any, color: str) -> None:
    shade = OxmlElement("w:shd")
    for name, value in (("val", "clear"), ("color", "auto"), ("fill", color)):
        shade.set(qn(f"w:{name}"), value)
    style.element.get_or_add_pPr().append(shade)


def _page_number(paragraph: Paragraph) -> None:
    field = OxmlElement("w:fldSimple")
    field.set(qn("w:instr"), "PAGE")
    paragraph._p.append(field)
