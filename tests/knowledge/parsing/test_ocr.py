"""Pages and pictures whose text is recognised, through the door that everything else takes."""

import io

import pytest
from docx import Document
from docx.shared import Inches
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics, ttfonts
from reportlab.pdfgen.canvas import Canvas

from knowledge.parsing import legibility, parse
from tests.knowledge.parsing import files

ERROR = "ORA-12541: TNS no listener"
LINES = ["数据库主从切换手册", "第一步确认主库已经无法恢复", "第二步在从库执行切换命令"]


def page(texts, rules=(), size=(900, 560)):
    """A picture with these (x, y, text) and these rules (left, top, right, bottom)."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(str(files.FONT), 26)
    for x, y, text in texts:
        draw.text((x, y), text, fill="black", font=font)
    for rule in rules:
        draw.line(rule, fill="black", width=2)
    return image


def scans(path, *images):
    canvas = Canvas(str(path))
    for image in images:
        canvas.setPageSize((image.width / 2, image.height / 2))
        canvas.drawImage(ImageReader(image), 0, 0, image.width / 2, image.height / 2)
        canvas.showPage()
    canvas.save()


def test_columns_under_a_title_and_a_ruled_table(tmp_path):
    left = ["左栏第一行说的是网络设备", "左栏第二行说的是交换机了", "左栏第三行到此为止。"]
    right = ["右栏第一行说的是数据库呢", "右栏第二行说的是主从切换", "右栏第三行到此为止。"]
    texts = [(200, 20, "运维值班手册：通栏标题在最上方")]
    for row in range(3):
        texts += [(40, 80 + 40 * row, left[row]), (500, 80 + 40 * row, right[row])]
    rules = [(40, y, 860, y) for y in (260, 320, 440)]
    rules += [(300, 380, 860, 380), *((x, 260, x, 440) for x in (40, 300, 580, 860))]
    cells = [(60, 275, "级别"), (320, 275, "现象"), (600, 275, "时限"), (60, 395, "P1")]
    cells += [(320, 335, "全站不可用"), (600, 335, "15分钟")]
    cells += [(320, 395, "登录失败"), (600, 395, "30分钟")]
    path = tmp_path / "扫描.pdf"
    scans(path, page(texts + cells, rules).rotate(180))
    parsed = parse(path, path.name)
    title, first, second, table = parsed.blocks
    assert title.text == "运维值班手册：通栏标题在最上方"
    assert (first.text, second.text) == ("".join(left), "".join(right))
    assert table.rows == [
        ["级别", "现象", "时限"],
        ["P1", "全站不可用", "15分钟"],
        ["", "登录失败", "30分钟"],
    ]
    assert '<td rowspan="2">P1</td>' in parsed.assets[table.asset].html
    # The page stands on its head: its boxes are where a reader of the file sees them.
    assert table.box[3] < title.box[1]


def layered(path, monkeypatch, said):
    """A PDF whose text layer has `said(character)` where it shows `character`."""
    real = ttfonts.makeToUnicodeCMap

    def wrong(name, subset):
        return real(name, [said(code) for code in subset])

    monkeypatch.setattr(ttfonts, "makeToUnicodeCMap", wrong)
    pdfmetrics.registerFont(ttfonts.TTFont("Layer", str(files.FONT)))
    canvas = Canvas(str(path), pagesize=(420, 140))
    canvas.setFont("Layer", 20)
    for row, line in enumerate(LINES):
        canvas.drawString(30, 100 - 32 * row, line)
    canvas.save()


def test_a_wrong_text_layer_is_not_believed(tmp_path, monkeypatch):
    path = tmp_path / "a.pdf"
    layered(path, monkeypatch, lambda code: code and 0xE000 + code % 0x1000)
    parsed = parse(path, path.name)
    text = "".join(block.text for block in parsed.blocks)
    assert parsed.parser == "rapidocr"
    assert "主从切换手册" in text and "无法恢复" in text


def test_a_strange_text_layer_that_is_right_is_kept(tmp_path, monkeypatch):
    """One character is an unknown sign, as of a symbol font; the rest is what is seen."""
    path = tmp_path / "a.pdf"
    layered(path, monkeypatch, lambda code: 0xF0B7 if code == ord("第") else code)
    assert legibility.suspicious("".join(LINES).replace("第", "\uf0b7"))
    parsed = parse(path, path.name)
    assert parsed.parser.startswith("docvortex")
    assert "一步确认主库已经无法恢复" in "".join(block.text for block in parsed.blocks)


def test_doubled_characters_of_a_text_layer_stand_once(tmp_path, monkeypatch):
    path = tmp_path / "a.pdf"
    real = ttfonts.makeToUnicodeCMap

    def twice(name, subset):
        lines = real(name, subset).split("\n")
        return "\n".join(
            f"{line[:-1]}{line[-5:]}" if line.startswith("<") and line.count("<") == 2 else line
            for line in lines
        )

    monkeypatch.setattr(ttfonts, "makeToUnicodeCMap", twice)
    layered(path, monkeypatch, lambda code: code)
    parsed = parse(path, path.name)
    assert parsed.parser.startswith("docvortex")
    assert "".join(block.text for block in parsed.blocks) == "".join(LINES)


@pytest.fixture
def screenshots(tmp_path):
    """A Word file with a screenshot twice, an icon and a rule."""
    document = Document()
    document.add_paragraph("连接报错如下：")
    for image in (page([(20, 20, ERROR)], size=(460, 90)), page([], size=(24, 24))):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        document.add_picture(buffer, width=Inches(2))
    path = tmp_path / "报错.docx"
    document.save(path)
    return path


def test_the_words_of_a_screenshot_are_found(screenshots):
    told = []
    parsed = parse(screenshots, screenshots.name, report=lambda *counts: told.append(counts))
    (shown,) = [block for block in parsed.blocks if block.kind == "picture"]
    assert ERROR in shown.text and ERROR in parsed.assets[shown.asset].text
    assert told == [(1, 1), (2, 2)]
