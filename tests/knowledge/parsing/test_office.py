import multiprocessing

import pytest

from knowledge.parsing import parse
from opsdesk.errors import ParseError
from tests.knowledge.parsing import files


def first(parsed, kind):
    return next(block for block in parsed.blocks if block.kind == kind)


def test_word(tmp_path):
    files.docx(tmp_path / "手册.docx")
    parsed = parse(tmp_path / "手册.docx", "手册.docx")
    assert parsed.title == "值班手册"
    assert parsed.pages is None
    headings = [(block.text, block.level) for block in parsed.blocks if block.kind == "heading"]
    assert headings == [("故障处理", 1), ("分级", 2)]
    assert first(parsed, "paragraph").text == "磁盘使用率超过 90% 时，先清理日志：再扩容。"
    table = first(parsed, "table")
    assert table.rows == [
        ["级别", "现象", "时限"],
        ["P1", "全站不可用", "15 分钟"],
        ["", "登录失败", "30 分钟"],
    ]
    assert table.header_rows == 1
    assert '<td rowspan="2">P1</td>' in parsed.assets[table.asset].html
    assert first(parsed, "formula").text.replace(" ", "") == r"\frac{a}{b}"
    pictures = [asset for asset in parsed.assets if asset.kind == "picture"]
    assert len(pictures) == 1  # the tiny one is decoration
    shown = pictures[0]
    assert (shown.number, shown.caption, shown.width, shown.height) == (
        "图 3",
        "图 3 值班流程",
        240,
        120,
    )
    assert shown.data.startswith((b"\x89PNG", b"\xff\xd8"))


def test_excel_keeps_sheets_and_the_places_of_cells(tmp_path):
    files.xlsx(tmp_path / "台账.xlsx")
    parsed = parse(tmp_path / "台账.xlsx", "台账.xlsx")
    assert (parsed.pages, parsed.page_names) == (2, ["主机", "费用"])
    hosts, costs = [block for block in parsed.blocks if block.kind == "table"]
    assert (hosts.page, hosts.first_row, hosts.first_column) == (1, 4, 3)
    assert hosts.rows == [["名称", "地址"], ["db-1", "10.0.0.1"], ["db-2", "10.0.0.2"]]
    assert (costs.page, costs.first_row, costs.first_column) == (2, 1, 1)
    assert costs.rows[:3] == [["2024 年费用", ""], ["项目", "金额"], ["带宽", "1200"]]
    assert costs.header_rows == 2
    assert len(parsed.warnings) == 1
    assert parsed.warnings[0].startswith("1 个公式单元格")


def test_powerpoint(tmp_path):
    files.pptx(tmp_path / "a.pptx")
    parsed = parse(tmp_path / "a.pptx", "a.pptx")
    assert parsed.pages == 2
    texts = [(block.page, block.text) for block in parsed.blocks if block.text]
    assert texts[0] == (1, "发布流程")
    assert "先灰度，再全量" in texts[1][1]
    assert texts[2] == (2, "回滚")
    assert [asset.page for asset in parsed.assets] == [2]


def _parse_csv(path, answers):
    answers.put(parse(path, "a.csv").blocks[0].rows)


def test_a_daemonic_worker_may_parse(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("问题,答案\n密码过期,找管理员\n".encode("gb18030"))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_parse_csv, args=(path, answers), daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert answers.get() == [["问题", "答案"], ["密码过期", "找管理员"]]


def test_nothing_readable_is_an_error(tmp_path):
    path = tmp_path / "a.html"
    path.write_text("<html><body><script>alert(1)</script></body></html>")
    with pytest.raises(ParseError, match="没有可读取的内容"):
        parse(path, "a.html")
