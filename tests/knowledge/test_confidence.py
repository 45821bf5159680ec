from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge import confidence, retrieval, weighing
from tests.knowledge import documents

pytestmark = pytest.mark.django_db


@pytest.fixture
def base():
    made = documents.base()
    documents.put(made, "重启 nginx 服务：systemctl restart nginx")
    documents.put(made, "ORA-01555 快照过旧，增大 undo 表空间")
    documents.put(made, "数据库备份每天执行一次，保留七天")
    return made


def sure(query, base):
    return retrieval.search(query, [base]).confidence


def test_what_is_there_is_surer_than_what_is_not(base):
    there = sure("ORA-01555 快照过旧怎么办", base)
    partly = sure("ORA-04031 共享池不足怎么办", base)
    elsewhere = sure("Kafka 分区再均衡失败怎么办", base)
    assert 0 <= elsewhere < partly < there <= 1


def test_it_does_not_depend_on_how_many_passages_are_asked_for(base):
    counts = {
        retrieval.search("数据库备份保留几天", [base], top_k=k).confidence for k in (1, 3, 50)
    }
    assert len(counts) == 1


def test_features_have_no_scale_of_their_own(base):
    asked = weighing.query("nginx 重启", [base.pk])
    passages = retrieval.search("nginx 重启", [base]).passages
    values = confidence.features(asked, passages)
    assert values["coverage"] == pytest.approx(1.0)
    assert values["names"] == 1.0
    assert 0 < values["strength"] <= weighing.K1 + 1
    assert 0 < values["lead"] <= 1
    assert values.keys() == confidence.SHIPPED.coefficients.keys()


def test_names_and_numbers_count_in_any_of_the_first_passages(base):
    def names(query):
        passages = retrieval.search(query, [base]).passages
        return confidence.features(weighing.query(query, [base.pk]), passages)["names"]

    assert names("nginx 重启 kafka") == 0.5
    assert names("nginx 重启") == names("数据库备份") == 1.0
    assert names("nginx 和 ORA-01555") == 1.0  # in two passages


def test_a_question_of_which_more_is_found_is_surer():
    shares = st.floats(0, 1)
    raised = ("strength", "coverage", "names", "share")

    @given(st.fixed_dictionaries(dict.fromkeys(confidence.SHIPPED.coefficients, shares)), shares)
    def check(features, more):
        for model in (confidence.SHIPPED, confidence.RIGHT):
            before = model.probability(features)
            assert 0 < before < 1
            for name in raised:
                after = model.probability({**features, name: features[name] + more})
                assert before <= after < 1

    check()


def test_without_passages_there_is_no_confidence(base):
    assert confidence.features(weighing.query("备份", [base.pk]), []) == {}
    assert confidence.RIGHT.probability({}) == confidence.SHIPPED.probability({}) == 0.0
    assert not retrieval.search("Kafka", [base]).sure


def test_a_small_base_is_made_up_for_and_never_beyond_bounds(base):
    asked = weighing.query("nginx 重启", [base.pk])
    passages = retrieval.search("nginx 重启", [base]).passages
    sizes = {n: confidence.features(replace(asked, chunks=n), passages)["small"]
             for n in (0, 3, 40, 200, 400, 10_000)}  # fmt: skip
    assert sizes[0] == sizes[3] == sizes[40] == 1
    assert 0 < sizes[200] < 1
    assert sizes[400] == sizes[10_000] == 0


def told(title, score, **scores):
    return Told(title, score, scores or {"words": score})


class Told(NamedTuple):
    """A passage of the document `document_id`."""

    document_id: str
    score: float
    scores: dict[str, float]
    words = frozenset()


def share(passages, shown=()):
    return confidence.features(weighing.Query({}, {}, 1), passages, shown)["share"]


def test_what_is_shown_has_less_of_the_weight_the_more_others_are_as_good():
    clear = [told("a", 0.8), told("b", 0.2), told("c", 0.1)]
    tied = [told(name, 0.8) for name in "abcd"]
    assert share(clear) > 0.99
    assert share(tied) == share(tied, tied[:1]) == pytest.approx(1 / 4)
    assert share(tied, tied[:3]) == pytest.approx(3 / 4)
    assert share(tied, tied) == 1
    # Passages of one document do not vie with each other.
    assert share([told("a", 0.8)] * 3 + [told("b", 0.8)]) == pytest.approx(1 / 2)
    assert share([told("a", 0.0), told("b", 0.0)]) == pytest.approx(1 / 2)


def test_where_stages_were_fused_words_tell_the_weight():
    fused = [told("a", 0.6, words=9.0, dense=0.7), told("b", 0.59, words=0.9, dense=0.7)]
    assert share(fused) > 0.99


def test_the_same_passages_are_less_surely_right_among_others_like_them():
    made = documents.base("alike")
    documents.put(made, "堡垒机密码过期后在自助门户重置")
    alone = retrieval.search("堡垒机密码过期怎么重置", [made])
    for name in range(12):
        documents.put(made, f"堡垒机密码过期 {name} 号机房重置流程见手册")
    among = retrieval.search("堡垒机密码过期怎么重置", [made])
    assert alone.features["share"] == 1
    assert among.features["share"] < 0.7
    assert alone.right > among.right
