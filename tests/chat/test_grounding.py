import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat import grounding

PASSAGE = """## 备份
每天 02:30 执行 `pg_dump -Fc ops > /data/backup/ops.dump`，
端口是 5432，保留１４天，最多 1,000 个文件。
提示“备份成功”后检查 PostgreSQL 16.2 的日志。
```sh
systemctl restart   postgresql
```
"""

STANDS = [
    "每天 02:30 执行备份。[1]",
    "端口 5432。",
    "保留 14 天。",
    "最多 1000 个文件",
    "保留 14天",
    "执行 `pg_dump -Fc ops`。",
    "提示「备份成功」。",
    "版本是 PostgreSQL 16.2。",
    "1. 检查 postgresql 的日志。[1][2]",
    "执行 `systemctl restart postgresql`",
    "Backups run at 02:30.",
    "```sh\nsystemctl restart postgresql\n```",
]
INVENTED = [
    ("端口是 3306。", "3306"),
    ("保留 4 天。", "4"),
    ("端口 543。", "543"),
    ("版本是 16.3。", "16.3"),
    ("执行 `rm -rf /`。", "rm -rf /"),
    ("文件在 /data/backups/ops.dump。", None),
    ("看 MySQL 的日志。", "mysql"),
    ("提示“备份失败”。", "备份失败"),
    ("每天 02:31 执行。", "02:31"),
    ("Restart it with pg_ctl.", "pg_ctl"),
    ("```\nsystemctl stop postgresql\n```", "systemctl stop postgresql"),
]


@pytest.mark.parametrize("sentence", STANDS)
def test_what_stands_in_the_passage(sentence):
    assert grounding.ungrounded(sentence, [PASSAGE]) == []


@pytest.mark.parametrize(("sentence", "fact"), INVENTED)
def test_what_does_not(sentence, fact):
    missing = grounding.ungrounded(sentence, [PASSAGE])
    assert missing
    assert fact is None or fact in missing


def test_names_may_come_from_the_question_and_numbers_may_not():
    assert grounding.ungrounded("Navicat 的端口是 5432。", [PASSAGE], "Navicat 用什么端口") == []
    assert grounding.ungrounded("端口是 8080。", [PASSAGE], "端口是 8080 吗") == ["8080"]


def test_a_sentence_about_something_else_is_not_supported():
    assert grounding.supported("每天执行备份，检查日志。", PASSAGE)
    assert not grounding.supported("祝您生活愉快，欢迎再次光临。", PASSAGE)


NUMBER = st.integers(0, 10**6).map(str)


@given(NUMBER, NUMBER)
def test_a_number_stands_only_where_it_stands_whole(said, written):
    missing = grounding.ungrounded(f"端口是 {said}。", [f"端口 {written} 已开放"])
    assert (missing == []) == (said == written)


@given(st.text(alphabet="abc/-. 019", min_size=1, max_size=20))
def test_a_command_copied_from_the_passage_stands_in_it(command):
    assert grounding.ungrounded(f"执行 `{command}` 即可。", [f"先执行 `{command}` 再看结果"]) == []


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_can_be_checked(sentence, passage):
    grounding.ungrounded(sentence, [passage])
    grounding.supported(sentence, passage)


@given(st.text(max_size=60))
def test_a_passage_is_grounded_in_itself(text):
    assert grounding.ungrounded(text, [text]) == []


def test_marks_are_counted_anew():
    assert grounding.renumber("甲[3]乙[1]丙[3]", [3, 1]) == "甲[1]乙[2]丙[1]"
