"""Makes the demo's PDF, Word and Excel files from `source/`: python knowledge/demo/make.py

For development only: the files are committed, nothing is made when OpsDesk runs.
"""

import base64
import csv
import io
import math
from pathlib import Path

import docvortex
from docx import Document
from docx.document import Document as WordDocument
from docx.oxml import parse_xml
from docx.oxml.ns import qn
from docx.shared import Pt
from openpyxl import Workbook
from openpyxl.styles import Alignment, Font, PatternFill
from PIL import Image, ImageDraw, ImageFont
from reportlab.platypus import paragraph
from xhtml2pdf import pisa, reportlab_paragraph
from xhtml2pdf.config.resources import ResourceAccessPolicy

HERE = Path(__file__).parent
SOURCE, FILES = HERE / "source", HERE / "files"
FONT = Path(docvortex.__file__).parent / "resources" / "fonts" / "DroidSansFallbackFull.ttf"
INK, QUIET, LINE, PAPER = "#1f2933", "#7b8794", "#d5dde5", "#ffffff"
# xhtml2pdf carries an old copy of this function, which cuts Latin words in two.
reportlab_paragraph.cjkFragSplit = paragraph.cjkFragSplit

BLUE, RED, AMBER, GREEN = "#1d5b8f", "#c0392b", "#b9770e", "#1e8449"


def main() -> None:
    FILES.mkdir(exist_ok=True)
    make_pdf()
    make_word()
    make_excel()


def make_pdf() -> None:
    picture = io.BytesIO()
    draw_screenshot().save(picture, "PNG", optimize=True)
    screenshot = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
    html = (SOURCE / "database_manual.html").read_text("utf-8")
    html = html.replace("{{font}}", str(FONT)).replace("{{screenshot}}", screenshot)
    made = io.BytesIO()
    policy = ResourceAccessPolicy(allow_remote=False, base_dir=FONT.parent)
    if pisa.CreatePDF(html, dest=made, resource_policy=policy).err:
        raise SystemExit("the PDF could not be made")
    (FILES / "database-manual.pdf").write_bytes(made.getvalue())


# --- The monitoring page in the PDF ----------------------------------------------
def draw_screenshot() -> Image.Image:
    image = Image.new("RGB", (1240, 760), "#f4f6f8")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 1240, 64), fill="#16324a")
    write(draw, (28, 18), "云舟监控 · 数据库大盘", 24, PAPER)
    write(draw, (850, 22), "实例 user-my-01    2026-09-18 10:42", 18, "#c8d6e2")
    cards = [
        ("连接数", "1 486 / 2000", AMBER),
        ("每秒事务数", "3 214", GREEN),
        ("主备延迟", "187 秒", RED),
        ("告警数", "2", RED),
    ]
    for number, (label, value, colour) in enumerate(cards):
        left = 28 + number * 300
        draw.rounded_rectangle((left, 88, left + 284, 190), 8, fill=PAPER, outline=LINE)
        write(draw, (left + 20, 102), label, 18, QUIET)
        write(draw, (left + 20, 136), value, 30, colour)
    draw_curve(draw)
    draw_alerts(draw)
    return image


def draw_curve(draw: ImageDraw.ImageDraw) -> None:
    draw.rounded_rectangle((28, 210, 1212, 500), 8, fill=PAPER, outline=LINE)
    write(draw, (48, 222), "主备延迟（秒），最近一小时", 18, INK)
    for seconds in (0, 60, 120, 180):
        y = 470 - seconds
        draw.line((96, y, 1190, y), fill=RED if seconds == 120 else LINE)
        write(draw, (48, y - 12), str(seconds), 16, QUIET)
    write(draw, (1060, 324), "严重值 120 秒", 16, RED)
    points = [
        (96 + minute * 18, 470 - 8 - 4 * math.sin(minute / 2) - max(0, minute - 38) ** 1.68)
        for minute in range(61)
    ]
    draw.line(points, fill=BLUE, width=3)


def draw_alerts(draw: ImageDraw.ImageDraw) -> None:
    rows = [
        ("级别", "告警", "实例", "开始时间", "状态"),
        ("P2", "主备延迟超过 120 秒", "user-my-02", "10:37:20", "未认领"),
        ("P3", "连接数超过 70%", "user-my-01", "10:31:05", "已认领 张工"),
    ]
    draw.rounded_rectangle((28, 520, 1212, 736), 8, fill=PAPER, outline=LINE)
    write(draw, (48, 532), "未恢复的告警", 18, INK)
    for number, row in enumerate(rows):
        y = 572 + number * 52
        draw.line((48, y + 40, 1192, y + 40), fill=LINE)
        for x, cell in zip((48, 150, 560, 780, 980), row, strict=True):
            colour = QUIET if number == 0 else RED if cell == "P2" else INK
            write(draw, (x, y + 6), cell, 18, colour)


def write(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, colour: str
) -> None:
    draw.text(place, text, font=ImageFont.truetype(str(FONT), size), fill=colour)


# --- Word --------------------------------------------------------------------------
def make_word() -> None:
    """`source/release.txt`: # headings, - bullets, 1. steps, | rows, ``` commands, $ formulas."""
    document = Document()
    document.core_properties.title = "发布与回滚流程"
    document.core_properties.author = "云舟科技 基础平台部"
    for name in ("Normal", "Title", "Heading 1", "Heading 2", "List Bullet", "List Number"):
        use_font(document, name)
    blocks = (SOURCE / "release.txt").read_text("utf-8").strip().split("\n\n")
    for block in blocks:
        add_block(document, block)
    document.save(str(FILES / "release-process.docx"))


def use_font(document: WordDocument, style: str) -> None:
    properties = document.styles[style].element.get_or_add_rPr()
    fonts = properties.get_or_add_rFonts()
    for attribute in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
        fonts.attrib.pop(qn(f"w:{attribute}"), None)
    fonts.set(qn("w:ascii"), "Arial")
    fonts.set(qn("w:hAnsi"), "Arial")
    fonts.set(qn("w:eastAsia"), "Microsoft YaHei")


def add_block(document: WordDocument, block: str) -> None:
    lines = block.splitlines()
    if block.startswith("#"):
        marks, text = block.split(" ", 1)
        document.add_heading(text, len(marks) - 1)
    elif block.startswith("- "):
        for line in lines:
            document.add_paragraph(line[2:], "List Bullet")
    elif block.startswith("1. "):
        for line in lines:
            document.add_paragraph(line.partition(". ")[2], "List Number")
    elif block.startswith("|"):
        add_table(document, [line.strip("| ").split(" | ") for line in lines])
    elif block.startswith("```"):
        run = document.add_paragraph(style="No Spacing").add_run("\n".join(lines[1:-1]))
        run.font.name, run.font.size = "Courier New", Pt(9)
    elif block.startswith("$"):
        document.add_paragraph()._p.append(parse_xml(formula(*block[1:].split("|"))))
    else:
        document.add_paragraph(block)


def add_table(document: WordDocument, rows: list[list[str]]) -> None:
    table = document.add_table(len(rows), len(rows[0]), "Table Grid")
    for row, cells in zip(table.rows, rows, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    for cell in table.rows[0].cells:
        cell.paragraphs[0].runs[0].bold = True


def formula(name: str, above: str, below: str) -> str:
    """`name` = `above` / `below` in Office's mathematics."""

    def run(text: str) -> str:
        return f"<m:r><m:t>{text}</m:t></m:r>"

    return (
        '<m:oMathPara xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"><m:oMath>'
        f"{run(f'{name} = ')}<m:f><m:num>{run(above)}</m:num><m:den>{run(below)}</m:den></m:f>"
        "</m:oMath></m:oMathPara>"
    )


# --- Excel -------------------------------------------------------------------------
def make_excel() -> None:
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.title = "常见问题"
    with (SOURCE / "faq.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.reader(lines):
            sheet.append(row)
    for cell in sheet[1]:
        cell.font = Font(bold=True)
        cell.fill = PatternFill("solid", fgColor="DBE7F1")
    for column, width in zip("ABCDE", (8, 36, 90, 12, 10), strict=True):
        sheet.column_dimensions[column].width = width
    for cells in sheet.iter_rows(min_row=2):
        for cell in cells:
            cell.alignment = Alignment(wrap_text=True, vertical="top")
    sheet.freeze_panes = "A2"
    book.save(FILES / "faq.xlsx")


if __name__ == "__main__":
    main()
