from knowledge.parsing import captions, layout, running
from knowledge.parsing.document import Asset, Block, ParsedDocument
from knowledge.parsing.joining import unify
from knowledge.parsing.layout import Line


def column(left, right, texts, top=100):
    return [
        Line(text, left, top + 20 * i, right, top + 20 * i + 14) for i, text in enumerate(texts)
    ]


def test_columns_are_read_one_after_the_other_below_a_title():
    title = Line("通栏标题", 100, 40, 900, 70)
    left = column(50, 480, ["左栏第一行文字文字文字", "左栏第二行文字文字文字", "左栏第三行。"])
    right = column(520, 950, ["右栏第一行文字文字文字", "右栏第二行文字文字文字", "右栏第三行。"])
    mixed = [line for pair in zip(right, left, strict=True) for line in pair]
    blocks = layout.blocks([*mixed, title], 1000, 1000)
    assert [block.text for block in blocks] == [
        "通栏标题",
        "左栏第一行文字文字文字左栏第二行文字文字文字左栏第三行。",
        "右栏第一行文字文字文字右栏第二行文字文字文字右栏第三行。",
    ]
    assert blocks[1].box == (0.05, 0.1, 0.48, 0.154)


def test_pieces_in_columns_are_a_table():
    lines = [
        *column(50, 120, ["主机", "db-1", "db-2"]),
        *column(300, 380, ["地址", "10.0.0.1", "10.0.0.2"]),
        *column(600, 640, ["状态", "正常"]),
    ]
    (table,) = layout.blocks(lines, 1000, 1000)
    assert table.rows == [
        ["主机", "地址", "状态"],
        ["db-1", "10.0.0.1", "正常"],
        ["db-2", "10.0.0.2", ""],
    ]


def test_short_lines_end_a_paragraph():
    lines = column(50, 900, ["第一段很长很长很长的一行", "第一段的第二行也很长很长"])
    lines += [Line("短。", 50, 140, 90, 154), Line("第二段从这里开始一直写", 50, 160, 900, 174)]
    texts = [block.text for block in layout.blocks(lines, 1000, 1000)]
    assert texts == [
        "第一段很长很长很长的一行第一段的第二行也很长很长短。",
        "第二段从这里开始一直写",
    ]


def test_running_lines_are_hidden_and_logos_dropped():
    parsed = ParsedDocument(pages=4)
    for page in range(1, 5):
        parsed.assets.append(Asset("picture", page=page))
        parsed.blocks += [
            Block("picture", page=page, box=(0.8, 0.02, 0.9, 0.05), asset=page - 1),
            Block("paragraph", f"机密 第 {page} 页", page=page, box=(0.1, 0.95, 0.3, 0.97)),
            Block("paragraph", "每页都有的正文", page=page, box=(0.1, 0.5, 0.9, 0.52)),
        ]
    running.hide(parsed)
    assert parsed.assets == []
    assert [block.hidden for block in parsed.blocks] == [True, False] * 4


def test_radicals_become_characters():
    assert unify("⽂档⻅⻚ ﬁle") == "文档见页 file"


def test_captions_belong_to_the_picture_above_and_the_table_below():
    parsed = ParsedDocument(assets=[Asset("picture"), Asset("table"), Asset("picture")])
    parsed.blocks = [
        Block("picture", asset=0),
        Block("paragraph", "图 3-1 值班流程"),
        Block("paragraph", "表2　时限"),
        Block("table", rows=[["a"]], asset=1),
        Block("picture", asset=2),
        Block("paragraph", "图 4 说明了值班的流程，先由一线处理，再升级到二线。"),
    ]
    captions.link(parsed)
    assert [asset.number for asset in parsed.assets] == ["图 3-1", "表2", ""]
    assert parsed.assets[0].caption == "图 3-1 值班流程"
