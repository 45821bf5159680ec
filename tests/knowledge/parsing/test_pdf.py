import pytest
from PIL import Image

from knowledge.parsing import parse
from opsdesk.errors import ParseError
from tests.knowledge.parsing import files

LINES = [
    "数据库主从切换手册。本文说明如何在主库故障时切换到从库，以及切换之后怎样核对数据。",
    "第一步：确认主库已经无法恢复，并通知值班经理。第二步：在从库执行切换命令，等待完成。",
]


def test_text_of_two_pages_with_boxes(tmp_path):
    path = tmp_path / "手册.pdf"
    files.pdf(
        path, [LINES, ["切换之后核对复制延迟：应当小于一秒，否则回退并联系数据库管理员处理。"] * 2]
    )
    parsed = parse(path, path.name)
    assert parsed.pages == 2
    pages = {page: "".join(b.text for b in parsed.blocks if b.page == page) for page in (1, 2)}
    assert "第一步：确认主库" in pages[1]
    assert "复制延迟：应当" in pages[2]
    assert all(0 <= edge <= 1 for block in parsed.blocks for edge in block.box)


def test_a_protected_file_asks_for_its_password(tmp_path):
    path = tmp_path / "a.pdf"
    files.pdf(path, [LINES], password="1")
    with pytest.raises(ParseError, match="密码保护"):
        parse(path, path.name)
    assert "主从切换" in parse(path, path.name, password="1").blocks[0].text


def test_a_scan_is_read(tmp_path):
    path = tmp_path / "扫描.pdf"
    files.scan(path, "服务器巡检记录")
    parsed = parse(path, path.name)
    assert parsed.parser == "rapidocr"
    assert [(block.text, block.page) for block in parsed.blocks] == [("服务器巡检记录", 1)]
    left, top, right, bottom = parsed.blocks[0].box
    assert left < 0.1 and top < 0.2 and 0.3 < right < 0.6 and bottom < 0.5


def test_a_huge_picture_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (9000, 7000)).save(path)
    with pytest.raises(ParseError, match="尺寸过大"):
        parse(path, path.name)
