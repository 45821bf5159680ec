from random import Random

import pytest

from evaluation import damage
from evaluation.question_sets import Question
from knowledge import vocabulary
from tests.knowledge import documents

QUESTION = "kubectl 报 kube-proxy 错，数据库服务器 10.0.0.1 怎么办"


@pytest.mark.parametrize("kind", [damage.LETTERS, damage.CHARACTERS])
def test_a_slip_is_made_in_one_word_and_the_same_each_time(kind):
    wrong = damage.damaged(QUESTION, kind, Random(7))
    assert wrong != QUESTION
    assert wrong == damage.damaged(QUESTION, kind, Random(7))
    kept = ["kube-proxy 错，", "10.0.0.1 怎么办"]
    assert all(part in wrong for part in kept)
    assert wrong.startswith("kubectl 报") == (kind == damage.CHARACTERS)
    if kind == damage.CHARACTERS:
        assert vocabulary.sound(wrong) == vocabulary.sound(QUESTION)


def test_a_question_without_such_a_word_is_left_out():
    assert damage.damaged("怎么办", damage.LETTERS, Random(7)) is None
    assert damage.damaged("NGINX 502", damage.CHARACTERS, Random(7)) is None


@pytest.mark.django_db
def test_mending_gives_back_what_a_slip_costs():
    base = documents.base()
    for word in ("kubectl", "nginx", "zookeeper", "prometheus"):
        documents.put(base, f"{word} 如何配置", external_id=word)
    vocabulary.catch_up(base.pk)
    questions = [
        Question(word, f"{word}?", frozenset([word]), (), True)
        for word in ("kubectl", "zookeeper", "prometheus")
    ]
    figures = damage.measure(questions, base, seed=1)
    assert figures["letters"] == {
        "questions": 3,
        "clean": 1.0,
        "damaged": 0.0,
        "mended": 1.0,
        "restored": 1.0,
    }
    assert figures["characters"]["questions"] == 0
    assert (figures["changed"], figures["hit@5 with mending"]) == (0.0, 1.0)
