import pytest

from knowledge import near, retrieval
from tests.knowledge import documents


def test_words_lie_near_each_other_within_their_group_only():
    assert "撤销" in near.words("取消")
    assert "取消" in near.words("撤销")
    assert "销户" in near.words("注销") and "登出" in near.words("注销")
    assert "销户" not in near.words("登出")
    assert near.words("没有的词") == ()


def test_phrases_are_said_but_not_looked_for():
    assert "没成功" not in near.words("失败")
    assert near.told("没成功怎么办", "付款失败怎么办", near.asked("没成功怎么办")) == "失败怎么办"


def test_what_the_text_says_as_well_stays():
    said = near.asked("取消还是撤销")
    assert near.told("取消还是撤销", "撤销和取消", said) == "取消还是撤销"
    assert near.told("取消预约", "延长预约", said) == "取消预约"


@pytest.mark.django_db
def test_an_everyday_word_for_another_counts_less_than_the_word_itself():
    base = documents.base("everyday")
    for text in ("保存申请的步骤", "取消申请的步骤", "撤销申请的步骤"):
        documents.put(base, text)
    found = retrieval.search("撤销申请", [base], top_k=3).passages
    assert [one.text[:2] for one in found] == ["撤销", "取消", "保存"]
    assert "取消" in found[1].hits
