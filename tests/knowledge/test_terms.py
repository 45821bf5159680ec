import pytest

from knowledge import terms


def words(text):
    return terms.views(text)["words"]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("报错 ORA-01555 怎么办", "ora-01555"),
        ("看 kube-system 命名空间", "kube-system"),
        ("kubectl get pods -n 命名空间", "-n"),
        ("tar --exclude=a 目录", "--exclude=a"),
        ("连接10.0.0.1:4000超时", "10.0.0.1:4000"),
        ("改 etc/my.cnf 文件", "etc/my.cnf"),
        ("用 C++ 写", "c++"),
        ("升级到 v7.5.0。", "v7.5.0"),
        ("Größe ändern", "größe"),
        ("ＯＲＡ－０１５５５", "ora-01555"),  # full width is the same
    ],
)
def test_what_belongs_together_is_one_word(text, whole):
    assert words(text)[whole] == 1


def test_runs_are_also_found_by_their_parts():
    assert {"ora", "01555"} <= words("ORA-01555").keys()
    assert {"tikv", "ti", "kv", "server", "http"} <= words("TiKV HTTPServer").keys()


def test_a_part_that_is_the_whole_counts_once():
    assert words("redis")["redis"] == 1


def test_chinese_words_are_found_inside_longer_ones():
    assert {"安全", "策略"} <= words("安全策略").keys()


def test_the_other_views_are_characters():
    views = terms.views("重启 nginx 服务重启")
    assert views["bigrams"] == {"重启": 2, "服务": 1, "务重": 1}
    assert views["unigrams"] == {"重": 2, "启": 2, "服": 1, "务": 1, "nginx": 1}


def test_the_newest_han_characters_and_kana_are_characters_too():
    assert terms.views("𠮷野家カレー")["bigrams"].keys() >= {"𠮷野", "野家", "カレ"}


def test_question_words_weigh_less_and_only_as_words():
    asked = terms.query_terms("如何重启")
    assert asked["words"]["如何"] == terms.QUESTION_WORD_WEIGHT
    assert asked["words"]["重启"] == 1.0
    assert set(asked["bigrams"].values()) == {1.0}


@pytest.mark.parametrize("text", ["", " \n", "？！…", "👍", "\x00"])
def test_text_without_words_has_no_terms(text):
    assert not any(terms.views(text).values())


def test_a_blob_is_kept_by_its_beginning():
    assert max(map(len, words("a" * 5000))) == terms.LONGEST_TERM
