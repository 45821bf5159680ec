import io
import re

import docx
import pypdf
import pytest
from django.core.files.base import ContentFile
from django.utils import translation
from docx.oxml.ns import qn
from PIL import Image

from chat import presenting, transcript
from chat.exports import docx as word
from chat.exports import pdf
from chat.exports.answer import Answer, Picture, ShownFigure
from chat.exports.blocks import ROWS, blocks, html_table
from chat.models import Citation, Figure
from knowledge.models import Attachment, Document, KnowledgeBase, Revision

ANSWER = """先确认磁盘占用,再清理日志 [1]。

1. 执行 `df -h`;
2. 清理 **七天前** 的日志 [2]:

   ```bash
   if true; then
       systemctl reload nginx
   fi
   ```

| 级别 | 响应时间 |
|---|---|
| P1 | 5 分钟 |
"""
MERGED = """<table><tr><th colspan="2">分级</th><th>时限</th></tr>
<tr><td rowspan="2">严重</td><td>P1</td><td>五分钟</td></tr>
<tr><td>P2</td><td>一刻钟</td></tr></table>"""


def png(width=1200, height=500):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return ContentFile(buffer.getvalue(), "1.png")


@pytest.fixture
def message(conversation):
    base = KnowledgeBase.objects.create(slug="ops", name="运维手册")
    document = Document.objects.create(knowledge_base=base, title="巡检手册")
    revision = Revision.objects.create(document=document, name="巡检.pdf", size=1, sha256="0" * 64)
    transcript.append(conversation.pk, "customer", "磁盘空间不足怎么处理?\n/dev/sda1 100%")
    message = transcript.append(conversation.pk, "assistant", ANSWER)
    citation = Citation.objects.create(
        message=message,
        n=1,
        title="巡检手册",
        page=3,
        locator="第3节 › 磁盘",
        revision=revision,
        quote="磁盘使用率超过 85% 时,\n先清理 <日志>。",
    )
    Citation.objects.create(message=message, n=2, title="日志规范", quote="保留七天")
    attachments = [
        Attachment(kind="picture", number="图 1", caption="告警截图", page=3, file=png()),
        Attachment(kind="table", number="表 1", caption="分级", page=4, html=MERGED),
        Attachment(kind="picture", number="图 2", caption="坏图", file=ContentFile(b"no", "2.png")),
        Attachment(kind="picture", number="图 3", caption="丢失", file="attachments/gone.png"),
    ]
    for position, attachment in enumerate(attachments):
        attachment.revision, attachment.position = revision, position
        attachment.save()
        Figure.objects.create(
            message=message, attachment=attachment, citation=citation, position=position
        )
    return message


@pytest.fixture
def answer(message):
    with translation.override("zh-hans"):
        return Answer.of(message)


def words(text):
    return re.sub(r"\s+", "", text)


EXPECTED = [
    "磁盘空间不足怎么处理?", "/dev/sda1100%", "先确认磁盘占用,再清理日志[1]。", "执行df-h;",
    "七天前的日志[2]:", "systemctlreloadnginx", "图1·告警截图·第3页·巡检手册",
    "表1·分级·第4页·巡检手册", "五分钟", "图片无法显示。", "图2·坏图·巡检手册", "图3·丢失·巡检手册",
    "[1]巡检手册·第3页·第3节›磁盘", "先清理<日志>。", "[2]日志规范",
]  # fmt: skip


def in_order(text, parts):
    at = 0
    for part in parts:
        at = text.find(part, at)
        assert at >= 0, part


def pdf_of(answer):
    with translation.override("zh-hans"):
        return pypdf.PdfReader(io.BytesIO(pdf.export(answer)))


def word_of(answer):
    with translation.override("zh-hans"):
        return docx.Document(io.BytesIO(word.export(answer)))


def test_pdf_holds_everything_in_order(answer):
    reader = pdf_of(answer)
    text = words("".join(page.extract_text() for page in reader.pages))
    in_order(text, EXPECTED)
    assert reader.metadata.title == answer.title
    assert f"{answer.at:%Y-%m-%d}" in text
    images = [image for page in reader.pages for image in page.images]
    assert [image.image.size for image in images] == [(1200, 500)]


def test_pdf_embeds_its_faces(answer):
    page = pdf_of(answer).pages[0]
    fonts = [font.get_object() for font in page["/Resources"]["/Font"].values()]
    named = {font["/BaseFont"] for font in fonts if "/FontDescriptor" in font}
    embedded = {f["/BaseFont"] for f in fonts if "/FontFile2" in f.get("/FontDescriptor", {})}
    assert named == embedded
    assert any("Droid" in name for name in embedded)
    # Every reader has the one for commands.
    assert {font["/BaseFont"] for font in fonts} - embedded <= {"/Courier", "/Helvetica"}


def test_pdf_lines_stay_on_the_page_and_words_whole():
    text = "服务 kubernetes-apiserver 重启之后,执行 `systemctl restart kubelet`。" * 30
    command = "curl https://ops.example.com/" + "very-long-path/" * 30
    answer = Answer("题", "问", f"{text}\n\n```\n{command}\n```\n\n{'x' * 400}", at=_now())
    rights = []

    def visit(text, _cm, matrix, _font, size):
        rights.append(matrix[4])

    for page in pdf_of(answer).pages:
        page.extract_text(visitor_text=visit)
    shown = "".join(page.extract_text() for page in pdf_of(answer).pages)
    assert max(rights) < 595 - 50
    assert shown.count("apiserver") == 30
    assert words(command) in words(shown)  # a line that ends in it adds no letter
    assert words(shown).count("x") > 400


def test_pdf_keeps_the_lines_and_columns_of_code(answer):
    text = "".join(page.extract_text() for page in pdf_of(answer).pages)
    assert "if true; then" in map(str.strip, text.splitlines())
    assert "    systemctl reload nginx" in text.splitlines()


def test_marks_lead_to_their_sources(answer):
    targets = [
        annotation.get_object().get("/Dest")
        for page in pdf_of(answer).pages
        for annotation in page.get("/Annots", [])
    ]
    assert len([target for target in targets if target is not None]) == 1
    body = word_of(answer).element.body
    links = [link.get(qn("w:anchor")) for link in body.iter(qn("w:hyperlink"))]
    marks = [mark.get(qn("w:name")) for mark in body.iter(qn("w:bookmarkStart"))]
    assert links == ["source_1"]
    assert marks == ["source_1", "source_2"]


@pytest.mark.parametrize(
    ("text", "cited"),
    [("清理日志。[1][2][3]", [1, 2, 3]), ("见 `a[1][2]` 与 a[1][x]。[2][1]", [2, 1])],
)
def test_marks_that_follow_one_another_all_lead(text, cited):
    """On the page as in what is exported."""
    links = re.findall(r'data-n="(\d)"', presenting.html(text, 3))
    spans = [span for block in blocks(text, {1, 2, 3}) for span in block.spans]
    assert [int(link) for link in links] == [span.cite for span in spans if span.cite] == cited


FORMULAS = r"""可用率$A=\frac{MTBF}{MTBF+MTTR}$是:

$$
A = \frac{\text{运行时间}}{\text{总时间}}
$$

写错的 $\badcommand{x}=1$,变量 $HOME/$USER。"""


def test_formulas_are_set_and_what_cannot_be_stays_code():
    answer = Answer("题", "问", FORMULAS, _now())
    shown = words(pdf_of(answer).pages[0].extract_text())
    assert "frac" not in shown
    assert "运行时间" in shown  # Chinese in a formula
    assert r"\badcommand{x}=1" in shown
    assert "$HOME/$USER" in shown
    document = word_of(answer)
    math = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
    assert len(list(document.element.body.iter(f"{math}oMath"))) == 2
    assert len(list(document.element.body.iter(f"{math}f"))) == 2  # fractions that Word can edit
    [code] = [run for p in document.paragraphs for run in p.runs if "badcommand" in run.text]
    assert code.font.name == "Consolas"


def test_signs_have_a_face():
    shown = pdf_of(Answer("题", "问", "警告 ⚠ → Ω 没有 𠮷", _now())).pages[0]
    assert "警告 ⚠ → Ω 没有 □" in shown.extract_text()
    faces = {font.get_object()["/BaseFont"] for font in shown["/Resources"]["/Font"].values()}
    assert any("DejaVuSans" in face for face in faces)


def test_pictures_among_letters_are_shown_as_signs_or_left_out():
    said = "✅ 好了 ❌ 没好 ⚠️ 当心 🎉庆祝 👨‍💻 值班"
    shown = " ".join(pdf_of(Answer("题", "问", said, _now())).pages[0].extract_text().split())
    assert "✔ 好了 ✘ 没好 ⚠ 当心 庆祝 值班" in shown


def test_a_picture_stays_with_its_caption():
    pictures = [Picture(png(600, height).read(), 600, height) for height in (500, 900, 1600, 40)]
    figures = [ShownFigure(f"图{n}", picture=p) for n, p in enumerate(pictures, 1)]
    reader = pdf_of(Answer("题", "问", "答", _now(), figures=figures))
    for page in reader.pages[1:]:
        assert len(page.images) == len(re.findall(r"图\d", words(page.extract_text())))
    assert sum(len(page.images) for page in reader.pages) == 4


def test_a_wide_table_lies_across_with_its_caption():
    row = "".join(f"<td>node-{n}.example</td>" for n in range(12))
    figures = [ShownFigure("宽表", table=html_table(f"<table><tr>{row}</tr></table>"))]
    answer = Answer("题", "问", "答", _now(), figures=figures)
    [across] = [p for p in pdf_of(answer).pages if p.mediabox.width > p.mediabox.height]
    assert "宽表" in across.extract_text()
    sections = [s.page_width > s.page_height for s in word_of(answer).sections]
    assert sections == [False, True, False]


def test_thirty_pages():
    text = "\n\n".join(
        f"## 第 {n} 节\n\n" + f"{'磁盘使用率超过阈值时先清理。' * 8}\n\n" * 20 for n in range(30)
    )
    assert len(pdf_of(Answer("题", "问", text, _now())).pages) >= 25


def test_a_cell_higher_than_a_page_does_not_lose_the_pdf():
    table = html_table(
        f'<table><tr><td rowspan="2">{"很长的单元格。" * 300}</td><td>甲</td></tr>'
        f"<tr><td>{'另一格。' * 300}</td></tr></table>"
    )
    answer = Answer("题", "问", "答 [1]", _now(), figures=[ShownFigure("大表", table=table)])
    text = words("".join(page.extract_text() for page in pdf_of(answer).pages))
    assert (text.count("很"), text.count("另")) == (300, 300)
    assert "大表" in text


def test_word_holds_everything_in_order(answer):
    document = word_of(answer)
    text = words("".join(node.text or "" for node in document.element.body.iter(qn("w:t"))))
    in_order(text, [part for part in EXPECTED if part != "/dev/sda1100%"])
    assert len(document.inline_shapes) == 1
    shape = document.inline_shapes[0]
    assert shape.width / shape.height == pytest.approx(1200 / 500, rel=0.01)
    assert document.core_properties.title == answer.title


def test_word_has_headings_and_merged_tables(answer):
    document = word_of(answer)
    headings = [p.text for p in document.paragraphs if p.style.name.startswith("Heading")]
    assert headings == [answer.title, "答案", "图表", "来源"]
    plain, merged = document.tables
    assert [[cell.text for cell in row.cells] for row in plain.rows] == [
        ["级别", "响应时间"], ["P1", "5 分钟"],
    ]  # fmt: skip
    assert [[cell.text for cell in row.cells] for row in merged.rows] == [
        ["分级", "分级", "时限"], ["严重", "P1", "五分钟"], ["严重", "P2", "一刻钟"],
    ]  # fmt: skip


TIMES = (
    "|分级||时限|\n|---|---|---|\n|严重|P1|五分钟|\n||P2|一刻钟|\n"  # MERGED as a passage has it
)
OTHER = "|分级||时限|\n|---|---|---|\n|严重|五分钟|P1|\n"


def export_of(message, text, *quotes):
    """Words of the PDF and of the Word document of an answer that cites `quotes`."""
    message.text = text
    message.citations.filter(n=2).delete()
    message.citations.update(quote=quotes[0])
    for n, quote in enumerate(quotes[1:], 2):
        Citation.objects.create(message=message, n=n, title=f"手册 {n}", quote=quote)
    with translation.override("zh-hans"):
        made = Answer.of(message)
    printed = "".join(page.extract_text() for page in pdf_of(made).pages)
    parts = word_of(made).element.body.iter(qn("w:t"))
    return [words(printed), words("".join(part.text or "" for part in parts))]


def test_a_table_stands_once_where_it_comes_first(message):
    part = TIMES.replace("|严重|P1|五分钟|\n", "")  # a passage may begin in the middle of it
    for text in export_of(
        message, f"时限如下：\n\n{TIMES}\n\n[1]", TIMES, f"另见\n\n{part}", OTHER
    ):
        assert text.count("一刻钟") == 1
        assert text.count("五分钟") == 2  # the other table says something else
        label = "表1·分级·第4页·巡检手册"
        parts = [
            "一刻钟",
            f"{label}表格见上文。",
            "[1]巡检手册",
            f"表格见上文。{label}",
            "[2]",
            "见上文。",
        ]
        in_order(text, parts)


def test_a_table_that_only_passages_hold_is_referred_to_by_the_first_of_them(message):
    message.figures.all().delete()
    for text in export_of(message, "见表 [1][2]。", TIMES, TIMES):
        assert text.count("一刻钟") == 1
        in_order(text, ["[1]巡检手册", "一刻钟", "[2]手册2", "表格见上文。[1]"])


def test_a_table_of_which_nothing_was_shown_is_shown():
    full = "|级别|时限|\n|---|---|\n|P1|五分钟|\n|P2|一刻钟|\n"
    worst = "|级别|时限|\n|---|---|\n|P1|五分钟|\n"
    empty = html_table("<table><tr><td></td><td></td></tr></table>")
    text = f"{full}\n\n其中最严重的：\n\n{worst}\n\n再看一遍：\n\n{full}"
    made = Answer("题", "问", text, _now(), figures=[ShownFigure("表 1", table=empty)])
    assert not made.figures[0].above
    assert [bool(block.table) for block in made.body] == [True, False, True, False, False]


def test_word_names_a_chinese_face_everywhere(answer):
    document = word_of(answer)
    for name in ("Normal", "Heading 1", "Heading 2", "Code", "Caption"):
        properties = document.styles[name].element.rPr
        fonts = properties.find(qn("w:rFonts")) if properties is not None else None
        assert fonts is not None, name
        assert fonts.get(qn("w:eastAsia")) == "Microsoft YaHei"
        assert not [key for key in fonts.attrib if "Theme" in key]


def test_control_characters_do_not_lose_the_export(message):
    message.text = "退出码\x1b[31m 1 \x0b\ufffe"
    with translation.override("zh-hans"):
        answer = Answer.of(message)
    assert "退出码[31m 1" in "".join(p.text for p in word_of(answer).paragraphs)
    assert "退出码" in "".join(page.extract_text() for page in pdf_of(answer).pages)


@pytest.mark.parametrize(
    "hostile",
    ["![x](http://10.0.0.1/a.png)", "<img src=file:///etc/passwd>", "[a](javascript:alert(1))",
     "**" * 500, "- " * 60 + "深", "> " * 60 + "深", "<b>&amp;</para>", ""],
)  # fmt: skip
def test_strange_markdown_is_printed(hostile):
    answer = Answer("题", "问", hostile, _now())
    assert pdf_of(answer).pages
    assert word_of(answer).paragraphs


def test_blocks_of_lists_carry_their_markers():
    found = blocks("3. 三\n4. 四\n\n   续\n   - 子\n")
    assert [(b.marker, b.indent, "".join(s.text for s in b.spans)) for b in found] == [
        ("3.", 1, "三"), ("4.", 1, "四"), ("", 1, "续"), ("•", 2, "子"),
    ]  # fmt: skip


def test_spans_that_lie_are_cut():
    table = html_table(
        '<table><tr><td rowspan="99999" colspan="99999">a</td></tr><tr><td>b</td></tr></table>'
    )
    assert (table.rows, table.columns) == (2, 40)
    assert [cell.spans[0].text for cell in table.cells] == ["a"]
    long = html_table("<table>" + "<tr><td>x</td></tr>" * (ROWS + 1) + "</table>")
    assert (long.rows, long.cut) == (ROWS, True)


def _now():
    from django.utils import timezone

    return timezone.localtime()


def test_a_table_can_run_nothing_in_the_chat(message):
    figure = message.figures.get(attachment__kind="table")
    figure.attachment.html = '<table><tr><td colspan="2">甲<img src=x onerror=alert(1)></td></tr>'
    html = presenting.figure_json(figure)["html"]
    assert "甲" in html and 'colspan="2"' in html and "img" not in html


def test_what_an_answer_was_made_without_is_told(message):
    message.data = {"degraded": ["words_only"]}
    with translation.override("zh-hans"):
        answer = Answer.of(message)
    assert answer.note
    assert words(answer.note) in words(pdf_of(answer).pages[0].extract_text())
    assert word_of(answer).paragraphs[2].text == answer.note
