import re
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.chunking import HEADING, TARGET, chunk
from knowledge.parsing.document import Asset, Block, ParsedDocument
from knowledge.pieces import LIMIT
from knowledge.sentences import fit, sentences


def heading(text, level=1, **options):
    return Block("heading", text, level=level, **options)


def paragraph(text, **options):
    return Block("paragraph", text, **options)


def table(*rows, header_rows=1, **options):
    return Block("table", rows=[list(row) for row in rows], header_rows=header_rows, **options)


def chunks(*blocks, **options):
    return chunk(ParsedDocument(blocks=list(blocks), **options))


LONG = "".join(f"第{i}步要先检查磁盘空间，再确认备份已经完成。" for i in range(100))


class TestSections:
    def test_a_section_that_fits_is_one_chunk_under_its_headings(self):
        made = chunks(
            heading("运维手册"), heading("安装", 2), paragraph(LONG[:600]), paragraph(LONG[:300]),
            heading("升级", 2), paragraph(LONG[:700]),
        )  # fmt: skip
        assert [draft.heading_path for draft in made] == [
            ["运维手册", "安装"],
            ["运维手册", "升级"],
        ]
        assert made[0].text == f"{LONG[:600]}\n\n{LONG[:300]}"
        assert made[0].locator == "运维手册 › 安装"

    def test_small_neighbours_share_a_chunk_with_their_headings_in_it(self):
        (made,) = chunks(
            heading("手册"), heading("端口", 2), paragraph("用 5432。"), heading("账号", 2),
            paragraph("用 ops。"),
        )  # fmt: skip
        assert made.heading_path == ["手册"]
        assert made.text == "## 端口\n\n用 5432。\n\n## 账号\n\n用 ops。"
        assert made.locator == "手册 › 端口 – 账号"

    def test_sections_on_different_pages_do_not(self):
        made = chunks(
            heading("甲", page=1), paragraph("一", page=1), heading("乙", page=2),
            paragraph("二", page=2),
        )  # fmt: skip
        assert [(draft.page, draft.locator) for draft in made] == [(1, "甲"), (2, "乙")]

    def test_nor_does_the_answer_under_a_question(self):
        made = chunks(
            heading("常见问题"), heading("怎么重启？", 2), paragraph("甲"),
            heading("怎么备份？", 2), paragraph("乙"),
        )  # fmt: skip
        assert [draft.heading_path for draft in made] == [
            ["常见问题", "怎么重启？"],
            ["常见问题", "怎么备份？"],
        ]

    def test_a_heading_without_text_is_kept(self):
        (made,) = chunks(heading("第三章"))
        assert (made.text, made.heading_path) == ("# 第三章", [])

    def test_a_heading_as_long_as_a_paragraph_is_one(self):
        (made,) = chunks(heading("长" * (HEADING + 1)), paragraph("短"))
        assert made.heading_path == []
        assert made.text.startswith("长")

    def test_hidden_blocks_are_left_out(self):
        (made,) = chunks(paragraph("页眉", hidden=True), paragraph("正文"))
        assert made.text == "正文"

    def test_nothing_makes_no_chunk(self):
        assert chunks() == []
        assert chunks(paragraph("  \n")) == []

    def test_a_long_section_is_cut_between_sentences(self):
        made = chunks(heading("流程"), paragraph(LONG))
        assert "".join(draft.text for draft in made) == LONG
        assert all(draft.text.endswith("。") for draft in made)
        assert all(len(draft.text) <= TARGET for draft in made)
        assert all(len(draft.text) > TARGET / 2 for draft in made[:-1])

    def test_pages_and_boxes_are_those_of_the_text(self):
        (made,) = chunks(
            paragraph("甲", page=2, box=(0, 0, 1, 0.5)), paragraph("乙", page=3, box=(0, 0, 1, 0.1))
        )
        assert (made.page, made.page_end) == (2, 3)
        assert made.regions == [
            {"page": 2, "box": [0, 0, 1, 0.5], "block": 0, "rows": None},
            {"page": 3, "box": [0, 0, 1, 0.1], "block": 1, "rows": None},
        ]


class TestWholes:
    def test_a_line_that_introduces_a_command_stays_with_it(self):
        before = paragraph(LONG[: TARGET - 20])
        made = chunks(before, paragraph("执行以下命令："), Block("code", "systemctl restart nginx"))
        assert "命令" not in made[0].text
        assert made[1].text == "执行以下命令：\n\n```\nsystemctl restart nginx\n```"

    def test_code_is_never_cut_while_it_fits(self):
        code = "\n\n".join(f"kubectl get pod -n ns{i}" for i in range(60))
        assert TARGET < len(code) < LIMIT - 20
        made = chunks(paragraph(LONG[:300]), Block("code", code, language="bash"))
        assert f"```bash\n{code}\n```" in [draft.text for draft in made]
        assert made[1].kind == "code"

    def test_over_long_code_is_cut_at_blank_lines(self):
        code = "\n\n".join(f"function step_{i} {{\n  echo {i}\n}}" for i in range(200))
        made = chunks(Block("code", code))
        inner = [draft.text.removeprefix("```\n").removesuffix("\n```") for draft in made]
        assert "\n".join(inner) == code
        assert all(part.strip().startswith("function") for part in inner)

    def test_code_with_fences_in_it_gets_a_longer_fence(self):
        (made,) = chunks(Block("code", "```\nx\n```"))
        assert made.text == "````\n```\nx\n```\n````"

    def test_a_list_is_never_cut_while_it_fits(self):
        items = "\n".join(f"- 第 {i} 项要检查的内容，逐一确认之后再签字" for i in range(60))
        assert TARGET < len(items) < LIMIT
        assert chunks(Block("list", items))[0].text == items

    def test_an_over_long_list_is_cut_between_its_items(self):
        items = "\n".join(f"1. 检查\n   - 细节 {i} " + "说明" * 20 for i in range(60))
        made = chunks(Block("list", items))
        assert "\n".join(draft.text for draft in made) == items
        assert all(draft.text.startswith("1. ") for draft in made)

    def test_formulas_are_display_mathematics(self):
        (made,) = chunks(Block("formula", r"A = \frac{MTBF}{MTBF + MTTR}"))
        assert made.text == "$$\nA = \\frac{MTBF}{MTBF + MTTR}\n$$"

    def test_a_picture_is_its_caption_and_what_was_read_in_it(self):
        asset = Asset("picture", number="图 3", caption="告警页面")
        (made,) = chunks(paragraph("如图："), Block("picture", "CPU 97%", asset=0), assets=[asset])
        assert made.text == "如图：\n\n图 3 告警页面\n\nCPU 97%"
        assert made.assets == [0]

    def test_a_caption_that_stands_only_in_a_running_header_is_said(self):
        asset = Asset("picture", caption="告警页面")
        (made,) = chunks(
            paragraph("告警页面", hidden=True), Block("picture", asset=0), assets=[asset]
        )
        assert made.text == "告警页面"

    def test_a_caption_that_stands_beside_is_not_said_twice(self):
        asset = Asset("picture", number="图 3", caption="图 3 告警页面")
        (made,) = chunks(Block("picture", asset=0), paragraph("图 3 告警页面"), assets=[asset])
        assert (made.text, made.assets) == ("图 3 告警页面", [0])


class TestTables:
    def test_the_header_is_repeated(self):
        rows = [(f"80{i:02}", "监听地址" * 10) for i in range(50)]
        made = chunks(paragraph("端口如下。"), table(("端口", "用途"), *rows))
        assert len(made) > 2
        assert all("| 端口 | 用途 |\n| --- | --- |\n| 80" in draft.text for draft in made)
        assert made[0].regions[-1]["rows"][0] == 1
        assert made[-1].regions[0]["rows"][1] == 50
        assert made[-1].kind == "table"

    def test_an_enormous_cell_is_cut_as_a_last_resort(self):
        made = chunks(table(("项", "说明"), ("甲", LONG * 2), ("乙", "短")))
        assert all(len(draft.text) <= LIMIT for draft in made)
        assert made[0].text.startswith("项：甲\n说明：第0步")
        assert "| 乙 | 短 |" in made[-1].text

    def test_bars_in_cells_stay_in_them(self):
        (made,) = chunks(table(("命令",), ("ps | grep",)))
        assert made.text == "| 命令 |\n| --- |\n| ps \\| grep |"

    def test_cells_of_a_sheet_are_named(self):
        rows = [(f"主机{i}", "10.0.0.1") for i in range(3)]
        (made,) = chunks(
            table(("主机", "地址"), *rows, page=2, first_row=11, first_column=27),
            page_names=["封面", "Sheet1"],
        )
        assert made.locator == "Sheet1!AA12:AB14"

    @pytest.mark.parametrize(
        ("question", "answer"),
        [
            ("问题", "答案"),
            ("标准问", "回答"),
            ("Question", "Answer"),
            ("问 题", "解决方案"),
            ("Q", "A"),
        ],
    )
    def test_questions_and_answers_are_a_chunk_each(self, question, answer):
        made = chunks(
            table(
                ("编号", question, answer, "产品"),
                ("1", "怎么重启？", "systemctl restart db\n等一分钟", "数据库"),
                ("2", "怎么备份？", "pg_dump", ""),
                page=1, first_row=1, first_column=1,
            ),
            page_names=["常见问题"],
        )  # fmt: skip
        assert [(draft.kind, draft.question) for draft in made] == [
            ("qa", "怎么重启？"),
            ("qa", "怎么备份？"),
        ]
        assert made[0].text == "systemctl restart db\n等一分钟"
        assert made[0].heading_path == ["编号：1", "产品：数据库"]  # found by, not shown
        assert (made[1].text, made[1].heading_path) == ("pg_dump", ["编号：2"])
        assert made[1].locator == "常见问题!A3:D3"
        assert made[1].regions == [{"page": 1, "box": None, "block": 0, "rows": [2, 2]}]

    def test_other_columns_are_the_answer_or_speak_of_it(self):
        names = ("问题", "原因", "解决办法", "适用版本", "更新时间", "相似问法", "备注")
        row = ("为什么慢？", "索引缺失", "建索引", "5.2", "2026-01-31", "好慢|卡死了", "高峰期勿做")
        (made,) = chunks(table(names, row))
        assert made.text == "建索引\n\n原因：索引缺失\n备注：高峰期勿做"
        assert made.heading_path == ["适用版本：5.2", "更新时间：2026-01-31"]
        assert made.questions == ["好慢", "卡死了"]

    def test_a_title_above_the_header_is_no_hindrance(self):
        made = chunks(table(("运维问答汇总", ""), ("问题", "答案"), ("为什么慢？", "索引缺失")))
        assert [draft.question for draft in made] == ["", "为什么慢？"]

    def test_a_question_without_an_answer_is_not_offered_as_one(self):
        (made,) = chunks(table(("问题", "答案"), ("为什么慢？", "")))
        assert (made.kind, made.question, made.text) == ("text", "", "问题：为什么慢？")

    def test_a_long_answer_keeps_its_question(self):
        made = chunks(table(("问题", "答案"), ("流程？", LONG * 2)))
        assert len(made) > 1
        assert {draft.question for draft in made} == {"流程？"}
        assert "".join(draft.text for draft in made) == LONG * 2

    def test_columns_about_questions_are_none(self):
        (made,) = chunks(table(("问题类型", "处理人"), ("网络", "张工")))
        assert made.kind == "table"


class TestSentences:
    @given(st.text(alphabet="好。！？a.A 1\n“”（）`[]()；，", max_size=200), st.integers(1, 30))
    def test_nothing_is_lost(self, text, limit):
        assert "".join(sentences(text)) == text
        pieces = fit(text, limit)
        assert "".join(pieces) == text
        assert all(len(piece) <= limit for piece in pieces)

    def test_ends_and_what_looks_like_one(self):
        text = "它说“好的。”然后呢？见[文档。](http://a.b)。用 v1.2.3。See this. Then go! `a。b`"
        assert sentences(text) == [
            "它说“好的。”",
            "然后呢？",
            "见[文档。](http://a.b)。",
            "用 v1.2.3。",
            "See this. ",
            "Then go! ",
            "`a。b`",
        ]


# Documents of numbered words, so that it can be told where each word of a chunk came from.
KINDS = ["heading", "paragraph", "intro", "list", "code", "table", "qa", "formula", "picture"]
SIZES = st.one_of(st.integers(0, 12), st.integers(0, 700))


@st.composite
def documents(draw):
    numbers = count()

    def words(size):
        return [f"w{next(numbers):05}" for _ in range(size)]

    document = ParsedDocument(pages=9)
    plan = draw(st.lists(st.tuples(st.sampled_from(KINDS), SIZES, st.integers(1, 4)), max_size=14))
    page = 1
    for kind, size, number in plan:
        page += draw(st.integers(0, 1))
        block = Block(kind, page=page, hidden=draw(st.integers(0, 9)) == 0)
        document.blocks.append(block)
        if kind == "heading":
            block.text, block.level = " ".join(words(number)), number
        elif kind in ("paragraph", "intro"):
            block.kind = "paragraph"
            block.text = "".join(f"{word}，" if i % 7 else f"{word}。" for i, word in
                                 enumerate(words(size), 1)) + "：" * (kind == "intro")  # fmt: skip
        elif kind == "list":
            block.text = "\n".join(f"- {word}" for word in words(size))
        elif kind == "code":
            block.text = "".join(f"{word}\n" * (1 + (i % number == 0)) for i, word in
                                 enumerate(words(size)))  # fmt: skip
        elif kind in ("table", "qa"):
            block.kind = "table"
            names = ["问题", "答案", *words(1)] if kind == "qa" else words(3)
            block.rows = [names, *(words(3) for _ in range(size // 3))]
            block.header_rows = 1
            block.first_row = block.first_column = draw(st.sampled_from([None, 3]))
        elif kind == "formula":
            block.text = "+".join(words(min(size, 99)))
        else:
            document.assets.append(Asset("picture", caption=" ".join(words(number))))
            block.asset, block.text = len(document.assets) - 1, " ".join(words(size))
    return document


def source(document, block):
    """Every word of a block, with its caption."""
    cells = [cell for row in block.rows for cell in row]
    caption = document.assets[block.asset].caption if block.asset is not None else ""
    return set(re.findall(r"w\d+", " ".join([block.text, caption, *cells])))


def words_of(*texts):
    return set(re.findall(r"w\d+", " ".join(texts)))


@settings(max_examples=120)
@given(documents())
def test_any_document(document):
    made = chunk(document)
    shown = [(i, block) for i, block in enumerate(document.blocks) if not block.hidden]

    assert all(0 < len(draft.text) <= LIMIT for draft in made)
    # Nothing is lost, and what a chunk says stands in the blocks that it points at.
    everything = set().union(*(source(document, block) for _, block in shown))
    found = set().union(
        *(words_of(draft.question, draft.text, *draft.heading_path) for draft in made)
    )
    unsaid = {block.rows[0][2] for _, block in shown if block.rows and block.rows[0][0] == "问题"}
    headings = {block.text for _, block in shown if block.kind == "heading"}
    assert everything - unsaid <= found <= everything
    for draft in made:
        places = [document.blocks[region["block"]] for region in draft.regions]
        assert words_of(draft.text, draft.question) <= set().union(
            *(source(document, block) for block in places)
        )
        assert set(draft.heading_path) <= headings
        assert (draft.page, draft.page_end) == (places[0].page, places[-1].page)
        assert set(draft.assets) == {b.asset for b in places if b.asset is not None}
    # The order is kept, of blocks and of the rows in them.
    order = [
        (region["block"], *(region["rows"] or [0, 0])) for draft in made for region in draft.regions
    ]
    assert order == sorted(order)
    # Code is what it was.
    for _, block in shown:
        code = block.text.strip("\n")
        if block.kind == "code" and code and len(code) <= LIMIT - 10:
            assert sum(f"```\n{code}\n```" in draft.text for draft in made) == 1
