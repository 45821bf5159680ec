import random
from dataclasses import dataclass, field, replace

import pytest

from knowledge import ranking


@dataclass(frozen=True)
class Found:
    chunk_id: int
    text: str
    score: float = 0.5
    title: str = ""
    heading_path: list[str] = field(default_factory=list)
    question: str = ""
    questions: list[str] = field(default_factory=list)


def entries(*questions):
    return [
        Found(number, "见说明。", title=question, question=question)
        for number, question in enumerate(questions, 1)
    ]


LONG = "集群里的每个节点都要检查。" * 12


def pages(*headings):
    return [
        Found(number, LONG, title="手册", heading_path=["手册", heading])
        for number, heading in enumerate(headings, 1)
    ]


def best(query, found):
    return next(iter(ranking.order(query, found)))


@pytest.mark.parametrize(
    ("query", "questions", "right"),
    [
        ("密码忘了怎么办", ["忘记帐号后怎么办理", "怎么改邮箱", "密码忘记了怎么办"], 3),
        ("不能登录", ["能登录", "登录地址", "不能登录"], 3),
    ],
)
def test_the_question_most_like_what_is_asked_comes_first(query, questions, right):
    assert best(query, entries(*questions)) == right


def test_a_question_in_other_words_counts_as_well():
    found = entries("账户恢复流程", "修改头像", "怎么改邮箱")
    found[2] = replace(found[2], questions=["登录不上去怎么处理"])
    assert best("登录不上去怎么处理", found) == 3


def test_everyday_words_for_each_other_count_as_the_same():
    assert best("想撤销预约", entries("想延长预约", "想打印预约", "想取消预约")) == 3


def test_a_heading_like_the_question_helps():
    assert best("如何扩容磁盘", pages("日志轮转", "备份策略", "扩容磁盘")) == 3


def test_a_page_does_not_pass_an_answer_by_having_a_heading():
    pages_ = pages("扩容磁盘", "备份策略", "日志轮转")
    answer = Found(9, LONG, score=0.51)
    assert best("扩容磁盘", [answer, *pages_]) == 9


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_candidates_makes_no_difference(seed):
    found = entries("密码忘了怎么办", "不能登录", "能登录") + [
        replace(one, chunk_id=one.chunk_id + 10) for one in pages("登录", "密码", "磁盘")
    ]
    mixed = random.Random(seed).sample(found, len(found))
    assert list(ranking.order("忘了密码", mixed).items()) == list(
        ranking.order("忘了密码", found).items()
    )


@pytest.mark.parametrize("noise", ["今天天气不错。", "xyz " * 20, "？！，。" * 10])
def test_noise_takes_no_passage_past_the_same_without(noise):
    clean = pages("日志轮转", "备份策略", "扩容磁盘")
    noisy = [
        replace(one, chunk_id=one.chunk_id + 10, text=one.text + noise, score=one.score - 0.0005)
        for one in clean
    ]
    ranked = list(ranking.order("节点怎么检查磁盘", [*noisy, *clean]))
    assert all(ranked.index(one.chunk_id) < ranked.index(one.chunk_id + 10) for one in clean)


def test_scores_fall_with_the_places_and_stay_between_0_and_1():
    found = [replace(one, score=one.chunk_id / 30) for one in entries(*["怎么登录"] * 29, "登录")]
    scores = list(ranking.order("登录", found).values())
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] <= scores[0] <= 1


@pytest.mark.parametrize("query", ["", "？", "a", "登", "登录" * 5000, "\u0000\ufeff"])
def test_anything_may_be_asked(query):
    found = [Found(1, ""), Found(2, "", 0.0), Found(3, " ", question="？", questions=[""])]
    assert set(ranking.order(query, found)) == {1, 2, 3}
    assert ranking.order(query, []) == {}


def test_alike_passages_keep_their_places():
    found = [Found(number, LONG) for number in (3, 1, 2)]
    assert list(ranking.order("节点", found).items()) == [(1, 0.5), (2, 0.5), (3, 0.5)]
