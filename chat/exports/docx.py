"""An answer as a Word document."""

import io
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import docx
from django.utils.translation import gettext as _
from docx.document import Document
from docx.enum.section import WD_ORIENT, WD_SECTION
from docx.enum.style import WD_STYLE_TYPE
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Mm, Pt, RGBColor
from docx.styles.style import ParagraphStyle
from docx.text.paragraph import Paragraph
from docx.text.run import Run

from chat.exports.answer import Answer, ShownFigure, Source
from chat.exports.blocks import Block, Span, Table
from chat.exports.formulas import equation

LATIN, CHINESE, MONO = "Calibri", "Microsoft YaHei", "Consolas"
MARGIN = Mm(20)
WIDTH = Mm(170)  # between the margins of A4
PICTURE_HEIGHT = Mm(150)
DOT = Mm(25.4) / 96  # a pixel of a picture on paper
QUIET, ACCENT = RGBColor(0x5A, 0x66, 0x6D), RGBColor(0x0B, 0x5A, 0x54)
INDENT = Mm(6)
DEEPEST = 8  # deeper lists and quotations stand no farther right
WIDE = 9  # columns: a table with more lies across the page
ACROSS = Mm(257)  # between the margins there
LONGEST = 48  # letters of a line in a cell that its column is made for
LETTER = Pt(5)  # about what one takes there
HEADINGS = (18, 13, 11.5, 11, 11, 11)  # points, by level
SIDES = ("top", "left", "bottom", "right", "insideH", "insideV")
SHADE, LINE = "EEF1F3", "B9C2C7"


def export(answer: Answer) -> bytes:
    """The answer as .docx: A4, headings as headings, tables as tables."""
    document = _document(answer)
    document.add_heading(answer.title, 1)
    document.add_paragraph(answer.byline, "Quiet")
    if answer.note:
        document.add_paragraph(answer.note, "Quiet")
    if answer.question:
        document.add_paragraph(answer.question, "Quote")
    if answer.headed:
        document.add_heading(_("Answer"), 2)
    for block in answer.body:
        _block(document, block)
    if answer.figures:
        document.add_heading(_("Figures and tables"), 2)
    for figure in answer.figures:
        _figure(document, figure)
    if answer.sources:
        document.add_heading(_("Sources"), 2)
    for source in answer.sources:
        _source(document, source)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


# --- blocks -----------------------------------------------------------------------
def _block(document: Document, block: Block, style: str = "Normal", indent: int = 0) -> None:
    left = INDENT * min(block.indent + indent, DEEPEST)
    match block.kind:
        case "heading":
            _write(document.add_heading("", min(block.level + 2, 9)), block.spans)
        case "code":
            code = document.add_paragraph(block.text, "Code")
            code.paragraph_format.left_indent = left
        case "table" if block.table:
            _table(document, block.table)
        case "formula":
            _write(document.add_paragraph(style=style), [Span(block.text, formula="display")])
        case "rule":
            document.add_paragraph("―" * 12, "Quiet")
        case _:
            paragraph = document.add_paragraph(style="Quiet" if block.quote else style)
            paragraph.paragraph_format.left_indent = left
            if block.marker:
                paragraph.paragraph_format.first_line_indent = -INDENT
                paragraph.paragraph_format.tab_stops.add_tab_stop(left)
                paragraph.add_run(f"{block.marker}\t")
            _write(paragraph, block.spans)


def _write(paragraph: Paragraph, spans: Iterable[Span]) -> None:
    for span in spans:
        if span.formula and (formula := equation(span.text, span.formula == "display")) is not None:
            paragraph._p.append(formula)
            continue
        run = paragraph.add_run(span.text)
        # None leaves it to the paragraph's style.
        run.bold, run.italic, run.font.strike = (
            span.bold or None,
            span.italic or None,
            span.strike or None,
        )
        if span.code or span.formula:
            _face(run._r.get_or_add_rPr(), MONO)
        if span.cite:
            run.font.color.rgb = ACCENT
            _link(run, anchor=f"source_{span.cite}")
        elif span.href:
            run.font.color.rgb, run.font.underline = ACCENT, True
            _link(run, address=span.href)


def _link(run: Run, anchor: str = "", address: str = "") -> None:
    """Let a click on `run` lead to a bookmark of the document, or to an address."""
    link = OxmlElement("w:hyperlink")
    if anchor:
        link.set(qn("w:anchor"), anchor)
    else:
        link.set(qn("r:id"), run.part.relate_to(address, RELATIONSHIP_TYPE.HYPERLINK, True))
    run._r.addprevious(link)
    link.append(run._r)


def _table(document: Document, table: Table, caption: str = "") -> None:
    if not table.cells:
        return
    wide = table.columns > WIDE
    if wide:
        _turn(document, WD_ORIENT.LANDSCAPE)
    if caption:
        document.add_paragraph(caption, "Caption").paragraph_format.keep_with_next = True
    grid = document.add_table(table.rows, table.columns, "Table Grid")
    for column, width in zip(grid.columns, _widths(table, ACROSS if wide else WIDTH), strict=True):
        column.width = width
    places = [row.cells for row in grid.rows]  # grid.cell() would lay out the table each time
    for cell in table.cells:
        place = places[cell.row][cell.column]
        if cell.rows > 1 or cell.columns > 1:
            last = places[cell.row + cell.rows - 1][cell.column + cell.columns - 1]
            place = place.merge(last)
        spans = [replace(span, bold=True) for span in cell.spans] if cell.header else cell.spans
        # By its id: looking the name up takes milliseconds.
        place.paragraphs[0]._p.style = "CellSmall" if wide else "Cell"
        _write(place.paragraphs[0], spans)
        if cell.header:
            _shade(place._tc.get_or_add_tcPr(), SHADE)
    for n, row in enumerate(grid.rows):
        properties = row._tr.get_or_add_trPr()
        properties.append(OxmlElement("w:cantSplit"))
        if n < table.header_rows:
            properties.append(OxmlElement("w:tblHeader"))
    document.add_paragraph(_("Further rows are in the original.") if table.cut else "", "Quiet")
    if wide:
        _turn(document, WD_ORIENT.PORTRAIT)


def _widths(table: Table, room: int) -> list[int]:
    """What each column gets of `room`, by the longest line in it: narrow ones what they want, and
    long ones share what is left."""
    wanted = [4.0] * table.columns
    for cell in table.cells:
        text = "".join(span.text for span in cell.spans)
        length = max(sum(1 if char.isascii() else 2 for char in line) for line in text.split("\n"))
        if cell.columns == 1:
            wanted[cell.column] = max(wanted[cell.column], min(length + 3, LONGEST))
    left, rest = room / LETTER, sum(wanted)
    given = list(wanted)
    for n, column in enumerate(sorted(range(table.columns), key=wanted.__getitem__)):
        if wanted[column] > left / (table.columns - n):  # no more than its part
            given[column] = left * wanted[column] / rest
        left, rest = left - given[column], rest - wanted[column]
    return [int(room * share / sum(given)) for share in given]


def _turn(document: Document, orientation: WD_ORIENT) -> None:
    """Go on on a page that lies across, or upright again."""
    section = document.add_section(WD_SECTION.NEW_PAGE)
    long, short = Mm(297), Mm(210)
    across = orientation == WD_ORIENT.LANDSCAPE
    section.orientation = orientation
    section.page_width, section.page_height = (long, short) if across else (short, long)


def _figure(document: Document, figure: ShownFigure) -> None:
    if figure.above:
        document.add_paragraph(figure.label, "Caption").paragraph_format.keep_with_next = True
        document.add_paragraph(_("The table is shown above."), "Quiet")
        return
    if figure.table:
        _table(document, figure.table, figure.label)
        return
    if figure.picture:
        picture = figure.picture
        scale = min(DOT, WIDTH / picture.width, PICTURE_HEIGHT / picture.height)
        shape = document.add_picture(
            io.BytesIO(picture.png), width=max(int(picture.width * scale), 1)
        )
        shape._inline.docPr.set("descr", figure.label)
        document.paragraphs[-1].paragraph_format.keep_with_next = True
    else:
        lost = document.add_paragraph(_("The picture cannot be shown."), "Quiet")
        lost.paragraph_format.keep_with_next = True
    document.add_paragraph(figure.label, "Caption")


def _source(document: Document, source: Source) -> None:
    paragraph = document.add_paragraph()
    paragraph.paragraph_format.keep_with_next = True
    _bookmark(paragraph, source.n)
    paragraph.add_run(source.label)
    if source.original:
        spans = [Span("    " + _("Original: ")), Span(source.original, href=source.url)]
        _write(paragraph, spans)
    for block in source.quote:
        _block(document, block, "Quiet", indent=1)


def _bookmark(paragraph: Paragraph, number: int) -> None:
    """Where marks [`number`] lead."""
    for name in ("w:bookmarkStart", "w:bookmarkEnd"):
        mark = OxmlElement(name)
        mark.set(qn("w:id"), str(number))
        if name == "w:bookmarkStart":
            mark.set(qn("w:name"), f"source_{number}")
        paragraph._p.append(mark)


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
    spacing = styles["Normal"].paragraph_format
    spacing.space_after, spacing.line_spacing = Pt(6), 1.25
    for level in range(1, 7):
        heading = styles[f"Heading {level}"]
        heading.font.color.rgb, heading.font.size = ACCENT, Pt(HEADINGS[level - 1])
    for border in styles["Table Grid"].element.iter(*(qn(f"w:{side}") for side in SIDES)):
        border.set(qn("w:color"), LINE)
    for name in ("Quiet", "Caption"):
        style = styles[name] if name in styles else _style(document, name)
        style.font.size, style.font.color.rgb, style.font.bold = Pt(9), QUIET, False
    styles["Quote"].font.italic = False
    _shade(styles["Quote"].element.get_or_add_pPr(), "E0F2EF")
    code = _style(document, "Code")
    code.font.size = Pt(9)
    _face(code.element.get_or_add_rPr(), MONO)
    _shade(code.element.get_or_add_pPr(), SHADE)
    for name, size in (("Cell", 9), ("CellSmall", 7)):
        cell = _style(document, name)
        cell.font.size, cell.paragraph_format.space_after = Pt(size), Pt(0)
        cell.paragraph_format.line_spacing = 1.1


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


def _shade(properties: Any, color: str) -> None:
    shade = OxmlElement("w:shd")
    for name, value in (("val", "clear"), ("color", "auto"), ("fill", color)):
        shade.set(qn(f"w:{name}"), value)
    properties.append(shade)


def _page_number(paragraph: Paragraph) -> None:
    """3 / 7"""
    for name in ("PAGE", "NUMPAGES"):
        field = OxmlElement("w:fldSimple")
        field.set(qn("w:instr"), name)
        if name == "NUMPAGES":
            paragraph.add_run(" / ")
        paragraph._p.append(field)
