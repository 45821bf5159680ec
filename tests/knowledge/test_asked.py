"""How often a search asks the database, and that what it remembers is of that search alone."""

import pytest
from django.db import transaction

from knowledge import dense, retrieval, synonyms, weighing
from knowledge.asked import Asked
from knowledge.models import Calibration, KnowledgeBase, Term
from knowledge.scope import Scope
from knowledge.stores.base import Store
from tests.knowledge import documents, test_embedding

pytestmark = pytest.mark.django_db
TEXTS = ("磁盘满了先清理日志", "备份失败时看备份日志", "重启服务之前通知值班人员")


@pytest.fixture
def base():
    made = documents.base()
    for text in TEXTS:
        documents.put(made, text, title=text[:4], product="Web")
    return made


@pytest.fixture
def vectors(base, settings):
    test_embedding.choose(settings, "first")
    test_embedding.built(settings)
    return base


@pytest.mark.django_db(transaction=True)
def test_by_words_it_takes_four_statements(base, django_assert_max_num_queries):
    retrieval.search("磁盘", [base])  # the base's terms are read once a process
    with django_assert_max_num_queries(4):
        assert retrieval.search("磁盘满了怎么清理", [base]).mode == retrieval.WORDS


@pytest.mark.django_db(transaction=True)
def test_with_vectors_eight_and_one_more_in_a_scope(vectors, django_assert_max_num_queries):
    retrieval.search("磁盘", [vectors])
    # In a transaction, where one connection reads them all.
    with transaction.atomic(), django_assert_max_num_queries(8):
        assert retrieval.search("磁盘满了怎么清理", [vectors]).mode == retrieval.HYBRID
    with transaction.atomic(), django_assert_max_num_queries(9):
        found = retrieval.search("磁盘满了怎么清理", [vectors], scope=Scope(product="web"))
        assert found.passages


def test_every_passage_has_its_cosine_however_it_was_found(vectors):
    every = dense.nearest_in("磁盘", [vectors.pk], 3)
    one = dense.nearest_in("磁盘", [vectors.pk], 1)
    assert (len(one.chunks), len(every.chunks)) == (1, 3)
    one.add(every.chunks)
    assert one.stages == every.stages


def test_what_words_found_has_cosines_where_nothing_is_near(vectors, monkeypatch):
    """Of a base behind so many others that the graph came across none of it."""
    monkeypatch.setattr(Store, "nearest", lambda *args: {})
    found = retrieval.search("磁盘", [vectors])
    assert found.mode == retrieval.HYBRID
    assert {frozenset(one.scores) for one in found.passages} == {frozenset(["words", "dense"])}


def test_what_is_remembered_is_of_one_search(base):
    asked = Asked([base.pk])
    there = weighing.frequencies([weighing.key("words", "磁盘")], asked)
    assert there and asked.standings[0].chunks == 3
    documents.put(base, "另一个磁盘")
    Term.objects.create(knowledge_base=base, canonical="磁盘", variants=["硬盘"])
    synonyms.changed([base.pk])
    assert weighing.frequencies(there, asked) == there
    assert asked.standings[0].chunks == 3
    # The next one knows it.
    assert retrieval.search("硬盘", [base]).passages
    assert weighing.frequencies(there, Asked([base.pk])) == dict.fromkeys(there, 2)


def test_the_calibration_in_use_judges_at_once(base):
    assert retrieval.search("磁盘满了", [base]).least < 0.9
    made = Calibration.objects.create(
        knowledge_base=base, active=True, target=0.9, threshold=0.93, intercept=-6.5,
        coefficients=dict(retrieval.confidence.SHIPPED.coefficients), base_rate=0.5, labels=9,
        precision=0.9, precision_low=0.8, precision_high=1.0, coverage=0.5,
    )  # fmt: skip
    assert retrieval.search("磁盘满了", [base]).least == 0.93
    Calibration.objects.filter(pk=made.pk).update(active=False)
    assert retrieval.search("磁盘满了", [base]).least < 0.9


def test_bases_stand_each_for_itself(base):
    other = KnowledgeBase.objects.create(slug="other", name="别的")
    documents.put(other, "磁盘")
    stood = {one.base_id: one for one in Asked([other.pk, base.pk]).standings}
    assert (stood[base.pk].chunks, stood[other.pk].chunks) == (3, 1)
    assert stood[other.pk].index is None and stood[other.pk].calibration is None
    assert stood[base.pk].version > stood[other.pk].version
