import dataclasses
import re

import pytest

from chat import extractive, presenting
from chat.exports.blocks import blocks
from knowledge.retrieval import Passage


def passage(text, kind="text", question="", chunk=1, document=1):
    return Passage(
        chunk_id=chunk, document_id=document, revision_id=1, knowledge_base_id=1, external_id="",
        title="手册", kind=kind, heading_path=[], question=question, questions=[], text=text,
        page=None, page_end=None, locator="", regions=[], position=0, holds_for=(), score=1.0,
        scores={}, asked=None,
    )  # fmt: skip


FILLER = "这一段说的是值班人员交接时需要填写的表格以及机房出入登记的规定。" * 4


def test_the_sentences_about_the_question_are_shown_in_their_order():
    text = f"集群扩容前先检查磁盘余量。{FILLER}\n\n{FILLER}扩容完成后执行均衡命令检查集群状态。"
    made = extractive.extract("集群扩容前后检查什么", [passage(text), passage("别的段落")])
    first = made.text.index("集群扩容前先检查磁盘余量。[1]")
    assert first < made.text.index("扩容完成后执行均衡命令检查集群状态。[1]")
    assert len(made.text) < extractive.LENGTH * 1.2
    assert len(made.sources) == 1


def test_code_is_shown_whole_or_not_at_all():
    code = "```sh\nkubectl drain node-1 --ignore-daemonsets\nkubectl delete node node-1\n```"
    made = extractive.extract(
        "怎么下线 kubectl node 节点", [passage(f"{FILLER}\n\n下线节点：\n\n{code}")]
    )
    assert f"下线节点：[1]\n\n{code}" in made.text


def test_code_without_an_introduction_carries_its_mark_beneath():
    code = "```sh\nkubectl drain node-1\n```"
    made = extractive.extract("kubectl drain", [passage(f"## 下线\n\n{code}")])
    assert made.text == f"## 下线\n\n{code}\n\n[1]"


def test_a_formula_on_its_lines_is_not_cut_by_marks():
    formula = "$$\nA = \\prod_{i=1}^{n} A_i\n$$"
    made = extractive.extract("可用性怎么计算", [passage(f"系统可用性这样计算：\n\n{formula}")])
    assert made.text == f"系统可用性这样计算：[1]\n\n{formula}"


def test_the_section_about_the_question_comes_before_its_neighbours():
    text = (
        "## 6.1 快照过旧\n\n长查询的回滚数据已被覆盖时报 ORA-01555。紧急时执行以下命令：\n\n"
        "```sql\nALTER SYSTEM SET undo_retention = 21600;\n```\n\n"
        f"## 6.2 连接数耗尽\n\n先查看来源最多的应用。{FILLER}\n\n"
        f"## 6.3 死锁\n\n{FILLER}"
    )
    made = extractive.extract("报 ORA-01555 怎么处理", [passage(text)])
    assert "以下命令：[1]\n\n```sql\nALTER SYSTEM" in made.text
    assert "6.1" in made.text
    assert "6.2" not in made.text


def test_an_entry_of_a_faq_is_shown_whole_and_with_its_other_parts():
    parts = [
        passage("第一步，停止写入。" + FILLER * 4, "qa", "怎么切换主库？", chunk=7),
        passage("第二步，提升从库。", "qa", "怎么切换主库？", chunk=8),
        passage("换个问题的答案。", "qa", "怎么备份？", chunk=9),
    ]
    made = extractive.extract("怎么切换主库", [parts[0], parts[2], parts[1]])
    assert [source.chunk_id for source in made.sources] == [7, 8]
    assert FILLER * 4 in made.text.replace("[1]", "")
    assert made.text.endswith("第二步，提升从库。[2]")
    assert "换个问题" not in made.text


def test_of_a_long_table_the_header_and_the_best_rows_are_shown():
    rows = [f"| svc-{n} | {8000 + n} | 第 {n} 组 |" for n in range(60)]
    table = "\n".join(["| 服务 | 端口 | 负责 |", "| --- | --- | --- |", *rows])
    made = extractive.extract("svc-42 的端口是多少", [passage(table, "table")])
    lines = made.text.splitlines()
    assert lines[:2] == ["| 服务 | 端口 | 负责 |", "| --- | --- | --- |"]
    assert rows[42] in lines
    assert len(lines) <= 2 + extractive.ROWS + 2


def beneath(*scores, wanted=None):
    """What stands beneath an answer of passages with these scores."""
    texts = ["先停止写入。", f"{FILLER}再提升从库。", "- 提升从库要五分钟。"]
    texts += [f"提升从库之后检查第 {n} 项。" for n in range(1, 4)]
    found = [
        dataclasses.replace(passage(text, chunk=n), score=score)
        for n, (text, score) in enumerate(zip(texts, scores, strict=False), 1)
    ]
    made = extractive.extract("提升从库", found)
    return extractive.beneath("提升从库", made, found, wanted)


def test_beneath_stands_a_line_of_each_that_is_about_as_good():
    made = beneath(0.5, 0.45, 0.4, 0.39, 0.38, 0.37)
    assert made.text.startswith("先停止写入。[1]\n\n")
    assert made.text.splitlines()[-4:] == [
        "- 手册：再提升从库。[2]",
        "- 手册：提升从库要五分钟。[3]",
        "- 手册：提升从库之后检查第 1 项。[4]",
        "- 手册：提升从库之后检查第 2 项。[5]",
    ]
    assert [source.chunk_id for source in made.sources] == [1, 2, 3, 4, 5]
    assert [source.chunk_id for source in beneath(0.5, 0.45, 0.3).sources] == [1, 2]


def test_nothing_stands_beneath_what_is_clearly_the_best():
    assert beneath(0.5, 0.3, 0.2).text == "先停止写入。[1]"


def test_beneath_stands_only_what_holds_what_is_wanted():
    made = beneath(0.5, 0.45, 0.4, wanted=lambda text: "五分钟" in text)
    assert [source.chunk_id for source in made.sources] == [1, 3]


def test_a_long_line_is_cut_without_half_of_its_marks():
    long = dataclasses.replace(passage("提升**从库**" + "检查`x`" * 60, chunk=2), score=1.0)
    made = extractive.extract("从库", [passage("从库"), long])
    line = extractive.beneath("从库", made, [passage("从库"), long]).text.splitlines()[-1]
    assert line.endswith("…[2]")
    assert not {"*", "`"} & set(line)


def test_a_passage_without_a_sentence_does_not_stand_beneath():
    found = [
        passage("先停止写入。"),
        passage("| 甲 | 乙 |\n|---|---|\n| 1 | 2 |", "table", chunk=2),
    ]
    made = extractive.extract("停止写入", found)
    assert extractive.beneath("停止写入", made, found) == made


def test_what_a_passage_has_like_marks_cites_nothing():
    """Neither on the page nor in what is exported, whose text is the passage's own."""
    said = "停止写入见 [2] 和 [3][1]，即 `a[2]`，`[2]` 与 [2](https://e.org/)。"
    table = "| 停止 | 写入 [2] |\n|---|---|\n| 1 | [1] |"
    found = [passage(f"## 写入 [2]\n\n{said}\n\n{table}"), passage(said, chunk=2)]
    made = extractive.extract("停止写入", found)
    made = extractive.beneath("停止写入", made, found)
    shown = presenting.html(made.text, len(made.sources))
    assert re.findall(r'data-n="(\d)"', shown) == ["1", "2"]
    seen = re.sub(r"<[^>]*>", "", re.sub(r'<a class="cite.*?</a>', "", shown))
    assert seen.count("停止写入见 [2] 和 [3][1]，即 a[2]，[2] 与 2。") == 2
    assert "\\" not in seen
    spans = [
        span
        for block in blocks(made.text, {1, 2})
        for part in [block, *(block.table.cells if block.table else [])]
        for span in part.spans
    ]
    assert [span.cite for span in spans if span.cite] == [1, 2]
    assert "".join(span.text for span in spans).count("见 [2] 和 [3][1]，即 a[2]") == 2


@pytest.mark.parametrize("text", ["一句话", "```\n", "|a|\n|-|", "\n\n", "- 甲\n- 乙\n"])
def test_any_passage_gives_some_text(text):
    assert extractive.extract("什么", [passage(text)]).sources


def test_html_is_safe_and_marks_are_links_outside_code():
    shown = presenting.html(
        "见[1]和[7]，`a[1]` <img src=x onerror=alert(1)> ![p](http://evil/p.png)"
        " [x](javascript:y)\n\n"
        "| a | b |\n|---|---|\n| 1 | [1] |",
        citations=1,
    )
    assert shown.count('class="cite"') == 2
    assert "<code>a[1]</code>" in shown
    assert "[7]" in shown
    assert "<img" not in shown
    assert "javascript:" not in shown.replace("[x](javascript:y)", "")
    assert "<table>" in shown


@pytest.mark.parametrize("kind", ["qa", "text"])
def test_to_a_mere_code_the_answer_begins_with_what_it_is(kind):
    text = "先看 1370 号日志。退出码 137 表示内存超限。需要调高上限。"
    one = passage(text, kind, question="容器反复重启怎么办" if kind == "qa" else "")
    assert extractive.extract("137", [one], asked="137").text.startswith(
        "退出码 137 表示内存超限。"
    )
    assert extractive.extract("重启 137", [one], asked="重启 137").text.startswith("先看")


def test_an_entry_about_the_code_itself_is_shown_whole():
    one = passage("内存不够。137 是 128 加 9。", "qa", question="退出码 137 是什么")
    assert extractive.extract("137", [one], asked="137").text.startswith("内存不够。")
