"""Small documents of every kind, made on the spot."""

import io
import struct
import zipfile
from pathlib import Path

import docvortex
from docx import Document
from docx.oxml import parse_xml
from openpyxl import Workbook
from PIL import Image, ImageDraw, ImageFont
from pptx import Presentation
from pptx.util import Inches
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

FONT = Path(docvortex.__file__).parent / "resources" / "fonts" / "DroidSansFallbackFull.ttf"
MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"


def picture(size=(240, 120), text="", color="#3366aa", points=32):
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, size[0] - 5, size[1] - 5), outline=color, width=3)
    if text:
        draw.text((20, 20), text, fill="black", font=ImageFont.truetype(str(FONT), points))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def docx(path):
    document = Document()
    document.core_properties.title = "值班手册"
    document.add_heading("故障处理", 1)
    document.add_paragraph("磁盘使用率超过 90% 时，先清理日志：再扩容。")
    document.add_heading("分级", 2)
    table = document.add_table(rows=3, cols=3)
    texts = [("级别", "现象", "时限"), ("P1", "全站不可用", "15 分钟"), ("", "登录失败", "30 分钟")]
    for row, values in enumerate(texts):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    table.cell(1, 0).merge(table.cell(2, 0)).text = "P1"
    formula = f'<m:oMath xmlns:m="{MATH}"><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num>'
    formula += "<m:den><m:r><m:t>b</m:t></m:r></m:den></m:f></m:oMath>"
    document.add_paragraph()._p.append(parse_xml(formula))
    document.add_picture(io.BytesIO(picture((16, 16), color="red")))
    document.add_paragraph("流程如下：")
    document.add_picture(io.BytesIO(picture()))
    document.add_paragraph("图 3 值班流程", style="Caption")
    document.save(path)


def xlsx(path):
    book = Workbook()
    first = book.active
    first.title = "主机"
    for row, values in enumerate([("名称", "地址"), ("db-1", "10.0.0.1"), ("db-2", "10.0.0.2")]):
        for column, value in enumerate(values):
            first.cell(row + 4, column + 3, value)
    second = book.create_sheet("费用")
    second.merge_cells("A1:B1")
    second["A1"] = "2024 年费用"
    second["A2"], second["B2"] = "项目", "金额"
    second["A3"], second["B3"] = "带宽", 1200
    second["A4"], second["B4"] = "合计", "=SUM(B3:B3)"
    book.save(path)


def pptx(path):
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "发布流程"
    slide.placeholders[1].text = "先灰度，再全量"
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "回滚"
    slide.shapes.add_picture(io.BytesIO(picture((300, 200))), Inches(1), Inches(2))
    deck.save(path)


def pdf(path, pages, password=None):
    """A page for each list of lines."""
    if "CJK" not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(TTFont("CJK", str(FONT)))
    encryption = StandardEncryption(password) if password else None
    canvas = Canvas(str(path), encrypt=encryption)
    for lines in pages:
        canvas.setFont("CJK", 12)
        for index, line in enumerate(lines):
            canvas.drawString(72, 760 - 24 * index, line)
        canvas.showPage()
    canvas.save()


def scan(path, text):
    canvas = Canvas(str(path), pagesize=(400, 120))
    image = ImageReader(io.BytesIO(picture((800, 240), text, points=44)))
    canvas.drawImage(image, 0, 0, 400, 120)
    canvas.save()


def ole(path, *streams):
    """A compound file with empty streams of these names: header, allocation table, directory."""
    free, end = 0xFFFFFFFF, 0xFFFFFFFE
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16
    header += struct.pack(
        "<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096, end, 0, end, 0
    )
    header += struct.pack("<I", 0) + struct.pack("<I", free) * 108
    table = struct.pack("<II", 0xFFFFFFFD, end) + struct.pack("<I", free) * 126
    directory = _entry("Root Entry", 5, child=1, start=end)
    for index, name in enumerate(streams, start=2):
        directory += _entry(name, 2, right=index if index <= len(streams) else free, start=end)
    path.write_bytes(header + table + directory.ljust(512, b"\0"))


def _entry(name, kind, child=0xFFFFFFFF, right=0xFFFFFFFF, start=0):
    encoded = (name + "\0").encode("utf-16-le")
    fields = struct.pack("<HBBIII", len(encoded), kind, 1, 0xFFFFFFFF, right, child)
    return encoded.ljust(64, b"\0") + fields + b"\0" * 36 + struct.pack("<IQ", start, 0)


def archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
