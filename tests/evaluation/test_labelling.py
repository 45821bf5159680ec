"""Two raters label without seeing each other; a third decides; what is settled counts."""

import pytest
from django.core.exceptions import ValidationError

from evaluation import claiming, labelling, pooling, progress
from evaluation.labelling import Form
from evaluation.models import Item, Label, Relevance, Verdict
from tests.evaluation import drawn
from tests.evaluation.drawn import answered, of, settled

pytestmark = pytest.mark.django_db


def test_what_two_raters_agree_on_is_settled_and_is_the_turns_verdict(sample, ann, bob):
    one = drawn.label(sample, ann, "right" if sample.items.first().answered else "refused")
    assert settled(sample)[one.item_id].kind is None
    assert not Verdict.objects.exists()
    again = drawn.label(sample, bob, one.kind, note="好")
    assert again.item == one.item
    made = settled(sample)[one.item_id]
    assert made.kind == one.kind
    assert made.independent == {ann.pk: one.kind, bob.pk: one.kind}
    assert made.turn == one.item.turn_id
    verdict = Verdict.objects.get()
    assert (verdict.turn, verdict.kind, verdict.item, verdict.note) == (
        one.item.turn, one.kind, one.item, "好",
    )  # fmt: skip


def test_where_raters_differ_a_third_decides(sample, ann, bob, eve):
    item = answered(sample)
    pooling.pool(item)
    keys = list(item.pool.values_list("key", flat=True))
    labelling.finish(of(item, ann), Form("right", unsupported=frozenset({2})))
    labelling.finish(of(item, bob), Form("partly", relevant={key: key == keys[1] for key in keys}))
    item.refresh_from_db()
    assert (item.kind, item.disputed) == (None, True)
    made = settled(sample)[item.pk]
    assert made.kind is None
    assert made.sentences == {1: True}  # about the second they differ
    assert made.pool == made.relevant == frozenset()
    verdict, sentences, passages = labelling.disputes(labelling.said_of(item), 2)
    assert (verdict, sentences, set(passages)) == (True, [2], {keys[0], keys[1]})
    assert claiming.claim(sample, ann, decide=True) is None  # they labelled it themselves
    label = drawn.label(sample, eve, "partly", decide=True, relevant=dict.fromkeys(keys, True))
    assert label.item == item
    made = settled(sample)[item.pk]
    assert (made.kind, made.sentences) == ("partly", {1: True, 2: True})
    assert made.relevant == made.pool == frozenset(keys)
    assert made.independent == {ann.pk: "right", bob.pk: "partly"}
    verdict = Verdict.objects.get()
    assert (verdict.kind, verdict.by, verdict.right) == ("partly", eve, False)


def test_a_quarrel_about_a_passage_does_not_hold_up_the_verdict(sample, ann, bob, eve):
    item = answered(sample)
    pooling.pool(item)
    keys = list(item.pool.values_list("key", flat=True))
    labelling.finish(of(item, ann), Form("wrong"))
    labelling.finish(of(item, bob), Form("wrong", relevant={keys[-1]: True}))
    made = settled(sample)[item.pk]
    assert (made.kind, made.pool) == ("wrong", frozenset())
    assert Item.objects.get(pk=item.pk).disputed
    assert drawn.label(sample, eve, "wrong", decide=True, relevant={keys[-1]: True})
    assert settled(sample)[item.pk].relevant == {keys[-1]}


def test_one_rater_settles_where_one_is_wanted(base, sampler, ann, bob):
    drawn.turn(base)
    sample = drawn.draw(sampler, 1, raters=1)
    label = drawn.label(sample, ann, "wrong")
    assert settled(sample)[label.item_id].kind == "wrong"
    assert claiming.claim(sample, bob) is None


def test_only_what_fits_the_outcome_can_be_said(sample, ann):
    item = answered(sample)
    for kind in ("refused", "missed", "", "nonsense"):
        with pytest.raises(ValidationError):
            labelling.finish(of(item, ann), Form(kind))
        Label.objects.all().delete()


def test_kappa_is_that_of_the_blind_verdicts(base, sampler, ann, bob):
    for _n in range(10):
        drawn.turn(base)
    sample = drawn.draw(sampler, 10)
    kinds = ["right"] * 6 + ["wrong"] * 4
    for item, first, second in zip(sample.items.all(), kinds, ["right"] * 5 + ["wrong"] * 5,
                                   strict=True):  # fmt: skip
        labelling.finish(of(item, ann), Form(first, seconds=30))
        labelling.finish(of(item, bob), Form(second, seconds=10))
    made = progress.of(sample)
    # (0.9 - (0.6·0.5 + 0.4·0.5)) / (1 - 0.5)
    assert made.agreement.kappa == pytest.approx(0.8)
    assert (made.settled, made.disputed, made.whole) == (9, 1, 10)
    assert [(one.name, one.labels, one.seconds) for one in made.raters] == [
        ("ann", 10, 30), ("bob", 10, 10),
    ]  # fmt: skip


def test_what_is_cited_counts_as_relevant_if_the_answer_is_right(sample, ann):
    item = answered(sample)
    pooling.pool(item)
    labelling.finish(of(item, ann), Form("right"))
    assert list(Relevance.objects.order_by("passage__rank").values_list("relevant", flat=True)) == [
        True, False, False,
    ]  # fmt: skip
    Label.objects.all().delete()
    labelling.finish(of(item, ann), Form("unanswerable"))
    assert not Relevance.objects.filter(relevant=True).exists()
