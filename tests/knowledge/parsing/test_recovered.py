"""What lies beside the body text of Office files and web pages is read, once, in its place."""

import pytest

from knowledge.parsing import captions, embedded, parse
from knowledge.parsing import tables as html_tables
from knowledge.parsing.rendering import to_markdown
from opsdesk.errors import ParseError
from tests.knowledge.parsing import files, office_files


def read(path):
    return parse(path, path.name)


def texts(parsed):
    return [block.text for block in parsed.blocks if block.text and not block.hidden]


def tables(parsed):
    return [block for block in parsed.blocks if block.kind == "table"]


def test_boxes_notes_and_comments_of_word(tmp_path):
    office_files.docx(tmp_path / "a.docx")
    parsed = read(tmp_path / "a.docx")
    found = texts(parsed)
    whole = "\n".join(found)
    for text in ("框中注意：先断电", "旧式文本框", "以季度评审为准", "王工: 此处要核对"):
        assert whole.count(text) == 1, text
    assert "已删除的话" not in whole and "可见的话" in whole
    # The comment stands behind the paragraph that it is on.
    places = [next(i for i, t in enumerate(found) if w in t) for w in ("框前", "王工", "第二段")]
    assert places == sorted(places)
    assert [block.text for block in parsed.blocks if block.hidden] == ["内部资料"]
    assert "> 内部资料" in to_markdown(parsed)


def test_tables_of_word_keep_their_cells_apart(tmp_path):
    office_files.docx_tables(tmp_path / "a.docx")
    parsed = read(tmp_path / "a.docx")
    merged, beside, outer = tables(parsed)
    assert merged.rows == [["甲00", "甲01", "甲02"], ["甲10", "甲11", ""], ["甲20", "", ""]]
    assert '<td rowspan="2" colspan="2">甲11</td>' in parsed.assets[merged.asset].html
    assert beside.rows == [["乙00", "乙01"], ["乙10", "乙11"]]
    assert outer.rows == [["步骤", "参数"], ["第一段\n第二段\n- 项目", "内00 | 内01\n内10 | 内11"]]


def test_formulas_are_latex_and_full_width_signs_stay(tmp_path):
    office_files.formula_docx(tmp_path / "a.docx")
    parsed = read(tmp_path / "a.docx")
    (formula,) = [block.text for block in parsed.blocks if block.kind == "formula"]
    assert formula.replace(" ", "") == r"\sum_{i=1}^{n}\sqrt{x}"
    (sentence,) = texts(parsed)[1:]
    assert sentence.replace(" ", "") == r"可用率：$\frac{a}{b}$（单位：％）；见下。"


def test_charts_diagrams_groups_and_files_on_slides(tmp_path):
    files.docx(tmp_path / "手册.docx")
    office_files.pptx(tmp_path / "a.pptx", embedded=tmp_path / "手册.docx")
    parsed = read(tmp_path / "a.pptx")
    whole = to_markdown(parsed, "a.pptx")
    for text in ("组内文字", "次数（次）", "讲稿：提醒看二月", "- 定位", "图 2 每月告警", "柱形图"):
        assert whole.count(text) == 1, text
    chart, merged = tables(parsed)[:2]
    assert chart.rows == [["", "告警数"], ["一月", "3"], ["二月", "5"]]
    asset = parsed.assets[chart.asset]
    assert (asset.number, asset.caption) == ("图 2", "图 2 每月告警")
    assert merged.rows == [["合并", ""], ["左", "右"]]
    assert '<td colspan="2">合并</td>' in parsed.assets[merged.asset].html
    # The Word file on the slide, with its own table and formula.
    assert "故障处理" in whole and "全站不可用" in whole and r"\frac{a}{b}" in whole
    assert {block.page for block in parsed.blocks} == {1}
    assert whole.startswith("<!-- slide 1 -->")


def test_charts_comments_formulas_and_hidden_sheets(tmp_path):
    office_files.xlsx(tmp_path / "a.xlsx")
    parsed = read(tmp_path / "a.xlsx")
    whole = to_markdown(parsed, "a.xlsx")
    for text in ("月度成本", "万元", "A2: 含税", "合并的说明", "# 成本"):
        assert whole.count(text) == 1, text
    assert tables(parsed)[0].rows == [["月份", "金额"], ["一月", "3"], ["二月", "=B2+1"]]
    assert len(parsed.warnings) == 1 and parsed.warnings[0].startswith("1 个公式单元格")
    assert parsed.page_names == ["成本", "底稿"]
    hidden = [block.text or block.rows for block in parsed.blocks if block.hidden]
    assert "底稿" in hidden and {b.page for b in parsed.blocks if b.hidden} == {2}


def test_a_discussion_is_read_once(tmp_path):
    office_files.xlsx(tmp_path / "a.xlsx")
    office_files.discuss(tmp_path / "a.xlsx")
    found = texts(read(tmp_path / "a.xlsx"))
    assert "A3: 要复核" in found
    assert not any("含税" in text for text in found)  # what is written for old programs


def test_tables_of_open_document_sheets_have_places(tmp_path):
    office_files.ods(tmp_path / "a.ods")
    parsed = read(tmp_path / "a.ods")
    places = [(table.first_row, table.first_column) for table in tables(parsed)]
    assert places == [(4, 3), (9, 1)]
    assert parsed.page_names == ["主机"]


def test_web_page(tmp_path):
    (tmp_path / "a.html").write_text(office_files.PAGE, "utf-8")
    parsed = read(tmp_path / "a.html")
    assert parsed.title == "磁盘告警处理 - 运维手册"
    (table,) = tables(parsed)
    assert table.rows == [["级别", "时限", ""], ["", "响应", "恢复"], ["P1", "5 分钟", "1 小时"]]
    assert table.header_rows == 2
    assert '<th rowspan="2">级别</th>' in parsed.assets[table.asset].html
    kinds = {block.kind: block.text for block in parsed.blocks if not block.hidden}
    assert kinds["heading"] == "磁盘告警处理" and kinds["code"] == "du -sh /var/log/*"
    assert kinds["list"] == "- 登录主机\n  - 用堡垒机\n- 执行 `df -h`"
    assert "不该出现" not in to_markdown(parsed)
    # Menus and margins are kept, and not searched.
    hidden = " ".join(block.text for block in parsed.blocks if block.hidden)
    assert "首页" in hidden and "版权所有" in hidden


def test_a_photo_in_a_form_is_no_header():
    rows = "<tr><td>姓名</td><td>王工</td><td rowspan='5'>照片</td></tr>"
    rows += "<tr><td>电话</td><td>1</td></tr>" * 4
    assert html_tables.read(f"<table>{rows}</table>").header_rows == 1
    assert captions.number("图表 2：每月告警") == "图表 2"


def test_an_attached_file_is_unwrapped():
    stream = office_files.attached("清单.txt", b"hello")
    assert embedded._native(stream) == ("清单.txt", b"hello")
    assert embedded._native(stream[:9]) is None


def test_a_damaged_file_on_a_slide_is_named(tmp_path):
    files.archive(tmp_path / "inner.docx", {"word/document.xml": "<w:docum"})
    path = tmp_path / "a.pptx"
    office_files.pptx(path, tmp_path / "inner.docx")
    parsed = read(path)
    assert "组内文字" in texts(parsed) and len(parsed.warnings) == 1


def test_an_empty_deck_says_so(tmp_path):
    from pptx import Presentation

    deck = Presentation()
    deck.slides.add_slide(deck.slide_layouts[6])
    deck.save(tmp_path / "a.pptx")
    with pytest.raises(ParseError, match="没有可读取的内容"):
        read(tmp_path / "a.pptx")
