"""Shares with intervals, raters' errors, agreement and findings, against values known elsewhere."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from evaluation import estimating
from evaluation.estimating import Estimate

ONE = np.array([1000.0])


def simple(right, wrong):
    part = np.array([1.0] * right + [0.0] * wrong)
    return estimating.share(part, np.ones_like(part), np.zeros(len(part), int), ONE)


def test_a_simple_sample_has_the_exact_binomial_interval():
    # Clopper and Pearson 1934, as R's binom.test(358, 385) and (0, 30) give it.
    made = simple(358, 27)
    assert (made.low, made.high) == pytest.approx((0.89960, 0.95328), abs=1e-5)
    assert (made.n, made.method) == (385, "exact")
    assert simple(0, 30).high == pytest.approx(0.11570, abs=1e-5)
    assert simple(30, 0).low == pytest.approx(1 - 0.11570, abs=1e-5)
    assert simple(0, 0).value is None


def test_a_true_93_per_cent_needs_about_385_labels():
    assert estimating.needed(0.93, 0.90) == 385
    assert estimating.needed(0.90, 0.90) is None
    open_ = estimating.exact(93, 100)
    assert estimating.finding(open_, 0.9) == "open"
    assert estimating.more(open_, 0.9) == 285
    assert estimating.finding(estimating.exact(380, 400), 0.9) == "pass"
    assert estimating.finding(estimating.exact(330, 400), 0.9) == "fail"
    assert estimating.finding(estimating.NOTHING, 0.9) == "open"
    assert estimating.more(estimating.NOTHING, 0.9) is None
    assert estimating.for_width(0.05, 0.5) == 385


def test_strata_count_for_their_population():
    # 90 of 100 right where 9,000 turns are, 5 of 10 where 1,000 are.
    part = np.array([1.0] * 90 + [0.0] * 10 + [1.0] * 5 + [0.0] * 5)
    strata = np.array([0] * 100 + [1] * 10)
    made = estimating.share(part, np.ones(110), strata, np.array([9000.0, 1000.0]))
    assert made.value == pytest.approx(0.9 * 0.9 + 0.1 * 0.5)
    assert made.method == "stratified"
    # By hand: sum of W² s²/n, with each stratum's own variance.
    error = math.sqrt(0.81 * 0.09 / 99 + 0.01 * 0.25 / 9)
    assert (made.high - made.low) / 2 == pytest.approx(1.96 * error, rel=0.12)
    assert made.low < made.value < made.high


def test_what_is_wholly_labelled_is_known():
    strata, populations = np.array([0, 0, 1, 1]), np.array([2.0, 2.0])
    made = estimating.share(np.array([1.0, 0, 1, 1]), np.ones(4), strata, populations)
    assert (made.low, made.value, made.high, made.method) == (0.75, 0.75, 0.75, "all")


def test_only_a_part_of_the_turns_is_in_a_share():
    # Accuracy is of the answered ones: the others of a stratum say nothing of it.
    answered = np.array([1.0, 1, 0, 0, 1, 1])
    right = np.array([1.0, 0, 0, 0, 1, 1])
    strata, populations = np.array([0, 0, 0, 0, 1, 1]), np.array([40.0, 20.0])
    made = estimating.share(right, answered, strata, populations)
    assert made.value == pytest.approx((10 * 1 + 10 * 2) / (10 * 2 + 10 * 2))
    assert made.n == 4


@hypothesis_settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=60
    )
)  # fmt: skip
def test_an_interval_holds_its_estimate_and_stays_in_bounds(rows):
    strata = np.array([row[0] for row in rows])
    whole = np.array([float(row[1]) for row in rows])
    part = whole * np.array([float(row[2]) for row in rows])
    populations = np.bincount(strata, minlength=4) * 7.0
    pooled = estimating.pooled(part * 2, whole * 2, strata, populations, 1, 50)
    for made in (estimating.share(part, whole, strata, populations), pooled):
        assert 0 <= made.low <= made.high <= 1
        assert made.value is None or made.low - 1e-9 <= made.value <= made.high + 1e-9


def test_recall_is_drawn_again_by_question_and_is_the_same_each_time():
    chance = np.random.default_rng(5)
    relevant = 1.0 + chance.poisson(1, 200)
    found = chance.binomial(relevant.astype(int), 0.7).astype(float)
    strata, populations = np.repeat([0, 1], 100), np.array([5000.0, 5000.0])
    made = estimating.pooled(found, relevant, strata, populations, 3)
    assert made.value == pytest.approx(found.sum() / relevant.sum())
    assert (made.n, made.method) == (200, "bootstrap")
    assert made == estimating.pooled(found, relevant, strata, populations, 3)
    # The linearised error of a ratio (Cochran 1977, 6.3) tells nearly the same.
    apart = found - made.value * relevant
    error = math.sqrt(200 * apart.var(ddof=1)) / relevant.sum()
    assert (made.high - made.low) / 2 == pytest.approx(1.97 * error, rel=0.1)
    everything = estimating.pooled(relevant, relevant, strata, populations, 3)
    assert everything.value == everything.high == 1 > everything.low > 0.95
    nothing = estimating.pooled(found * 0, relevant * 0, strata, populations, 3)
    assert nothing.value is None


def test_what_two_raters_labelled_corrects_what_one_did():
    chance = np.random.default_rng(2)
    true = (chance.random(4000) < 0.2).astype(int)  # 1: wrong
    first, second = (np.where(chance.random(4000) < 0.1, 1 - true, true) for _ in range(2))
    said = [(a, b) if n % 3 == 0 else (a,) for n, (a, b) in enumerate(zip(first, second, strict=True))]  # fmt: skip  # noqa: E501
    final = [int(true[n]) if len(one) > 1 else int(one[0]) for n, one in enumerate(said)]
    naive = np.mean(final)
    is_, was = estimating.corrected(said, final, 2)
    assert was
    assert naive > true.mean() + 0.02
    assert is_[:, 1].mean() == pytest.approx(true.mean(), abs=0.012)
    # As sure as it can be: less than if all had been labelled twice.
    strata = np.zeros(4000, int)
    once = estimating.share(is_[:, 1], np.ones(4000), strata, np.array([1e9]))
    twice = estimating.share(true.astype(float), np.ones(4000), strata, np.array([1e9]))
    assert once.effective < twice.effective
    few, was = estimating.corrected([(0,), (1,)], [0, 1], 2)
    assert not was
    assert few.tolist() == [[1, 0], [0, 1]]
    assert estimating.corrected([], [], 2)[0].shape == (0, 2)


def test_agreement_of_two_raters():
    table = np.array([[106, 10, 4], [22, 28, 10], [2, 12, 6]])
    pairs = [(row, column) for row, column in np.ndindex(3, 3) for _ in range(table[row, column])]
    made = estimating.agreement(pairs)
    first, second = np.array(pairs).T
    assert made.kappa == pytest.approx(cohen_kappa_score(first, second))
    chance = np.random.default_rng(4)
    drawn = [chance.integers(0, 200, 200) for _ in range(300)]
    spread = np.std([cohen_kappa_score(first[places], second[places]) for places in drawn])
    assert (made.high - made.low) / 2 == pytest.approx(1.96 * spread, rel=0.15)
    assert (made.n, made.agreed) == (200, pytest.approx(0.7))
    assert estimating.agreement([(1, 1)] * 5).kappa is None
    assert estimating.agreement([]).n == 0


def test_what_is_missing_may_be_anything():
    sure = Estimate(0.95, 0.92, 0.97, 400, 400.0)
    less = sure.without(0.1)
    assert (less.low, less.high) == pytest.approx((0.828, 0.973))
