from knowledge.parsing import breaks, tables
from knowledge.parsing.document import Block, ParsedDocument

HEADER = ["编号", "名称"]


def table(page, rows, header_rows, left=0.1):
    top, bottom = (0.4, 0.9) if page == 1 else (0.08, 0.3)
    return Block(
        "table", rows=rows, header_rows=header_rows, page=page, box=(left, top, 0.9, bottom)
    )


def joined(first, second, *between):
    parsed = ParsedDocument(blocks=[first, *between, second])
    tables.show(parsed)
    breaks.join(parsed)
    return parsed


def html(parsed, block):
    return parsed.assets[block.asset].html


def test_a_part_without_a_header_gets_it():
    first = table(1, [HEADER, ["1", "甲"], ["2", "乙"]], 1)
    second = table(2, [["3", "丙"]], 0)
    footer = Block("paragraph", "第 1 页", page=1, box=(0.4, 0.95, 0.6, 0.97))
    parsed = joined(first, second, footer)
    assert second.rows == [HEADER, ["3", "丙"]] and second.header_rows == 1
    assert (second.page, second.box) == (2, (0.1, 0.08, 0.9, 0.3))
    assert second.asset == first.asset
    assert html(parsed, first).count("<th>") == 2
    assert "<tr><td>2</td><td>乙</td></tr><tr><td>3</td><td>丙</td></tr></table>" in html(
        parsed, first
    )


def test_a_repeated_header_is_shown_once():
    first = table(1, [HEADER, ["1", "甲"]], 1)
    second = table(2, [HEADER, ["2", "乙"]], 1)
    parsed = joined(first, second)
    assert second.rows == [HEADER, ["2", "乙"]]
    assert html(parsed, first).count("编号") == 1


def test_words_under_figures_are_no_header():
    first = table(1, [HEADER, ["1", "甲"], ["2", "乙"]], 1)
    second = table(2, [["3", "丙"], ["4", "丁"]], 1)
    joined(first, second)
    assert second.rows[0] == HEADER


def test_another_table_stays_alone():
    def upper():
        return table(1, [HEADER, ["1", "甲"], ["2", "乙"]], 1)

    others = [
        table(2, [["级别", "时限"], ["P1", "15"]], 1),  # a header of its own
        table(2, [["1", "2", "3"]], 0),  # other columns
        table(2, [["3", "丙"]], 0, left=0.3),  # another place
        table(3, [["3", "丙"]], 0),  # not the next page
    ]
    for other in others:
        rows = [list(row) for row in other.rows]
        joined(first := upper(), other)
        assert other.rows == rows and other.asset != first.asset
    text = Block("paragraph", "下表是另一张表。", page=2, box=(0.1, 0.2, 0.9, 0.25))
    second = table(2, [["3", "丙"]], 0)
    joined(upper(), second, text)
    assert second.rows == [["3", "丙"]]
