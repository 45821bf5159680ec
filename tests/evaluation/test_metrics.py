import pytest

from evaluation import metrics


def test_a_document_counts_where_it_stands_first():
    assert metrics.distinct(["a", "b", "a", "c", "b"]) == ["a", "b", "c"]


def test_hits_recall_and_reciprocal_rank():
    ranking, gold = ["a", "b", "c", "d"], {"b", "d", "x"}
    assert not metrics.hit_at(1, ranking, gold)
    assert metrics.hit_at(2, ranking, gold)
    assert metrics.recall_at(3, ranking, gold) == pytest.approx(1 / 3)
    assert metrics.recall_at(5, ranking, gold) == pytest.approx(2 / 3)
    assert metrics.reciprocal_rank(10, ranking, gold) == 0.5
    assert metrics.reciprocal_rank(1, ranking, gold) == 0.0


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    positives, negatives = [0.9, 0.5, 0.5], [0.5, 0.1]
    pairs = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
    assert metrics.auroc(positives, negatives) == pytest.approx(sum(pairs) / len(pairs))


def test_auroc_needs_both_kinds():
    assert metrics.auroc([0.5], []) is None
    assert metrics.auroc([], [0.5]) is None


def test_percentiles():
    values = [float(n) for n in range(1, 101)]
    assert metrics.percentile(values, 0.5) == 50
    assert metrics.percentile(values, 0.95) == 95
    assert metrics.percentile([7.0], 0.95) == 7.0
    assert metrics.percentile([], 0.5) is None


def test_mean_of_nothing_is_nothing():
    assert metrics.mean([]) is None
    assert metrics.mean([True, False]) == 0.5
