"""Which passages an answer is made of, of passages as a search finds them."""

from dataclasses import replace

from chat import choosing, kinds
from tests.chat.test_extractive import passage


class Asked:
    """A question of one telling word."""

    def words(self):
        return {"redis": 1.0}

    def understood(self, words):
        return words


def test_an_entry_that_asks_the_same_comes_before_one_that_only_speaks_of_it():
    question = "Redis 的端口是多少"
    speaks = passage("先连上 Redis 的端口，再导出。", "qa", "怎么备份？", chunk=1)
    asks = passage("6379", "qa", "Redis 的端口是多少？", chunk=2)
    worth = {"redis": 1.0, "端口": 1.0}
    found = choosing.holding(question, kinds.asked(question), [speaks, asks], worth)
    assert found == [asks, speaks]


def test_what_is_found_by_its_meaning_stands_beneath_without_a_word_of_the_question():
    first, near, far = (
        replace(passage(text, chunk=n), asked=Asked(), scores=scores)
        for n, (text, scores) in enumerate(
            [("Redis 超时", {}), ("缓存连不上", {"dense": 0.8}), ("咖啡机清洗", {})]
        )
    )
    assert choosing.akin([first, near, far], 0.9) == [first, near]
