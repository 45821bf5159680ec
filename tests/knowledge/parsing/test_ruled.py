"""Rules that are drawn, and lines that were recognised between them."""

import numpy
import pytest
from PIL import Image, ImageDraw

from knowledge.parsing import ruled
from knowledge.parsing.layout import Line


def drawn(across, down, size=(640, 300)):
    """A picture with these rules: (y, left, right) and (x, top, bottom)."""
    image = Image.new("L", size, "white")
    draw = ImageDraw.Draw(image)
    for y, left, right in across:
        draw.line((left, y, right, y), fill="black", width=2)
    for x, top, bottom in down:
        draw.line((x, top, x, bottom), fill="black", width=2)
    return numpy.asarray(image)


def at(text, x, y, width=40):
    return Line(text, x, y, x + width, y + 16)


def read(picture, lines):
    (grid,) = ruled.grids(picture, lines)
    return ruled.table(grid, lines)


def test_missing_rules_merge_cells():
    picture = drawn(
        [(40, 40, 600), (100, 200, 600), (160, 40, 600), (220, 200, 600), (280, 40, 600)],
        [(40, 40, 280), (200, 40, 280), (400, 100, 280), (600, 40, 280)],
    )
    texts = [
        at("机房", 80, 90),
        at("设备", 380, 60),
        at("名称", 260, 120),
        at("数量", 480, 120),
        at("北京", 80, 200),
        at("一号楼", 80, 220),
        at("交换机", 260, 180),
        at("3", 480, 180),
        at("路由器", 260, 240),
        at("12", 480, 240),
    ]
    table = read(picture, texts)
    assert table.rows == [
        ["机房", "设备", ""],
        ["", "名称", "数量"],
        ["北京一号楼", "交换机", "3"],
        ["", "路由器", "12"],
    ]
    assert '<th rowspan="2">机房</th><th colspan="2">设备</th>' in table.html
    assert '<td rowspan="2">北京一号楼</td>' in table.html


def test_a_table_may_be_open_at_its_sides():
    rules = [(y, 40, 600) for y in (40, 100, 160, 220)]
    picture = drawn(rules, [(240, 40, 220), (420, 40, 220)])
    lines = [
        at(f"{row}{column}", 60 + 190 * column, 60 + 60 * row)
        for row in range(3)
        for column in range(3)
    ]
    assert read(picture, lines).rows == [["00", "01", "02"], ["10", "11", "12"], ["20", "21", "22"]]


def test_a_line_over_rules_is_cut_at_them():
    rules = [(y, 40, 600) for y in (40, 100, 160)]
    (grid,) = ruled.grids(drawn(rules, [(x, 40, 160) for x in (40, 240, 420, 600)]), [])
    edges = ruled.split(grid, Line("2,000 2015-09-07 备注", 200, 60, 560, 80))
    assert [round(edge, -1) for edge in sum(edges, ())] == [200, 240, 240, 420, 420, 560]
    assert ruled.split(grid, at("一格", 60, 60)) == [(60, 100)]


@pytest.mark.parametrize("lines", [[], [at("菜单", 60, 90 + 18 * row) for row in range(10)]])
def test_a_window_is_no_table(lines):
    picture = drawn(
        [(40, 40, 600), (80, 40, 600), (280, 40, 600)], [(x, 40, 280) for x in (40, 200, 600)]
    )
    assert read(picture, lines) is None


def test_underlined_words_are_no_table():
    assert ruled.grids(drawn([(60, 40, 600), (120, 40, 600)], []), []) == []
