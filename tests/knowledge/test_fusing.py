import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.fusing import summed

WEIGHTS = {"words": 0.35, "dense": 0.65}
HIGHEST = {"words": 20.0, "dense": 1.0}


def fused(words, dense, groups):
    weights = dict.fromkeys(words, WEIGHTS)
    return summed({"words": words, "dense": dense}, weights, HIGHEST, groups)


def test_is_the_weighted_sum_of_z_scores():
    """By hand: words 0, 2, 4 and cosines .2, .8, .5 have the z-scores -1.22, 0, 1.22 and -1.22,
    1.22, 0; together -1.22, .80, .43."""
    scores = fused({1: 0.0, 2: 2.0, 3: 4.0}, {1: 0.2, 2: 0.8, 3: 0.5}, [{1, 2, 3}])
    assert sorted(scores, key=scores.get) == [1, 3, 2]
    assert (scores[2] - scores[3]) / (scores[3] - scores[1]) == pytest.approx(2 / 9)


def test_a_stage_that_gives_all_the_same_orders_nothing():
    assert len(set(fused({1: 0.1, 2: 0.1, 3: 0.1}, {1: 0.7, 2: 0.7}, [{1, 2}]).values())) == 1


def test_a_model_of_narrow_cosines_says_as_much_as_another():
    words = dict.fromkeys(range(1, 7), 1.0)
    wide, narrow = {1: 0.1, 2: 0.5, 3: 0.9}, {4: 0.80, 5: 0.82, 6: 0.84}
    scores = fused(words, wide | narrow, [{1, 2, 3}, {4, 5, 6}])
    assert [scores[n] for n in (1, 2, 3)] == pytest.approx([scores[n] for n in (4, 5, 6)])


def test_meaning_that_agrees_with_the_words_changes_nothing_between_bases():
    """Copies of the same chunks, half of them without vectors."""
    words = {chunk: float(chunk % 10) for chunk in range(20)}
    scores = fused(words, {chunk: words[chunk] / 10 for chunk in range(10)}, [range(10)])
    assert [scores[n] for n in range(10)] == pytest.approx([scores[n] for n in range(10, 20)])


def found_first(right, rng):
    """Whether the right chunk of 200 comes first; the first hundred have vectors."""
    words, dense = {}, {}
    for chunk in range(200):
        about = rng.gauss(0, 1) + 4.5 * (chunk == right)
        words[chunk] = max(0.0, 3 + about + rng.gauss(0, 1))
        dense[chunk] = 0.6 + 0.05 * (about + rng.gauss(0, 1))
    for chunk in range(100, 200):
        del dense[chunk]
    scores = fused(words, dense, [range(100)])
    return max(scores, key=scores.get) == right, max(words, key=words.get) == right


def test_a_base_without_vectors_neither_suffers_nor_gains():
    """It is found there as often as by words alone, and in the other base more often."""
    rng = random.Random(1)
    for right, gain in ((0, 0.05), (199, -0.05)):
        tries = [found_first(right, rng) for _ in range(300)]
        together, by_words = (sum(hits) / len(tries) for hits in zip(*tries, strict=True))
        assert together >= by_words + gain


share = st.floats(0, 1)


@given(st.lists(st.tuples(share, st.none() | share, st.booleans()), min_size=1, max_size=12))
def test_scores_are_shares(chunks):
    words = {n: 20 * word for n, (word, _, _) in enumerate(chunks)}
    dense = {n: cosine for n, (_, cosine, _) in enumerate(chunks) if cosine is not None}
    groups = [{n for n in dense if chunks[n][2] == one} for one in (True, False)]
    scores = fused(words, dense, [group for group in groups if group])
    assert scores.keys() == words.keys()
    assert all(-1e-9 <= score <= 1 + 1e-9 for score in scores.values())
