import numpy as np
import pytest

from evaluation import fitting
from knowledge import ranking


def case(features, gold="a", questions=False):
    """Passages a, b, c … with the score so far and one feature each."""
    of = 1 + ranking.FEATURES.index("letters" if questions else "runs")
    table = np.zeros((len(features), 1 + len(ranking.FEATURES)))
    table[:, 0], table[:, of] = zip(*features, strict=True)
    kinds = np.full(len(features), questions)
    return fitting.Case(table, kinds, list("abcdefgh"[: len(features)]), frozenset(gold))


RIGHT_FEATURE = case([(0, 1), (1, -1), (-1, 0)])  # the first is right, by its feature alone


def test_what_tells_right_from_wrong_gets_weight():
    weights = fitting.fit([[RIGHT_FEATURE] * 5 + [case([(1, 0), (-1, 0)])] * 5])
    assert weights[0] == 1
    assert weights[1] > 0
    assert not weights[2:].any()
    assert fitting.measured([RIGHT_FEATURE], np.eye(len(weights))[0]) == [0, 1, 1]
    assert fitting.measured([RIGHT_FEATURE], weights + np.eye(len(weights))[1]) == [1, 1, 1]


def test_a_likeness_never_counts_against_a_passage():
    wrong = case([(1, -1), (-1, 1)])
    assert fitting.fit([[wrong] * 5])[1] == 0


def test_questions_and_passages_are_fitted_apart():
    questions = [case([(1, 1), (-1, -1)], questions=True)] * 5
    passages = [case([(1, -1), (-1, 1)])] * 5
    alone, beside = fitting.fit([questions]), fitting.fit([questions, passages])
    assert np.allclose(alone, beside)
    assert alone[1 + ranking.FEATURES.index("letters")] > 0


def test_a_set_is_left_out_of_its_own_weights():
    sets = {"tells": [RIGHT_FEATURE] * 9, "does not": [case([(1, 0), (-1, 0)])] * 9}
    assert fitting.left_out(sets, "tells") == fitting.measured(
        sets["tells"], np.eye(1 + len(ranking.FEATURES))[0]
    )


def test_a_half_is_measured_with_the_other_half():
    found = [case([(0.4, 1), (0.6, -1)], gold) for gold in ("a", "ax", "ay", "az", "aq", "aw")]
    assert {one.half for one in found} == {found[0].half}  # one answer is in one half
    alike = [case([(1, 1), (-1, -1)])] * 9
    assert fitting.half_seen({"x": found, "y": alike}, "x") == [1, 1, 1]
    assert fitting.measured(found, np.eye(1 + len(ranking.FEATURES))[0])[0] == 0


def test_no_pair_no_weights():
    assert not fitting.fit([[case([(1, 1)])]]).any()


@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_question_that_was_not_found_is_no_hit(k):
    assert case([(1, 0), (0, 0)], gold="z").hits(np.eye(1 + len(ranking.FEATURES))[0])[k] == 0
