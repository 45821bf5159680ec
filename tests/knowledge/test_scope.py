import datetime
import random

import pytest
from django.utils import timezone

from knowledge import (
    dense,
    embedding,
    lexical,
    postings,
    retrieval,
    scope,
    uploading,
    vectors,
    weighing,
)
from knowledge.models import Chunk, Document
from knowledge.scope import Scope
from tests.knowledge import documents
from tests.knowledge.test_retrieval import Meaning

pytestmark = pytest.mark.django_db

PRODUCTS = ["", "订单系统", "ＯＤＳ", "ods", " Ods ", "CRM"]
VERSIONS = ["", "2.1", "３.0", "V2"]
ENVIRONMENTS = ["", "生产", "Test"]
TAGS = [[], ["网络"], ["网络", "ＤＮＳ"], ["dns"], ["存储"]]


def found(base, wanted, query="磁盘告警"):
    return {p.document_id for p in retrieval.search(query, [base], 50, wanted).passages}


@pytest.fixture
def base():
    """Forty documents about the same thing, each holding for something else."""
    made, chance = documents.base(), random.Random(3)
    rows = documents.put_many(made, *(f"磁盘告警处理第 {n} 种" for n in range(40)))
    for row in rows:
        row.product, row.version = chance.choice(PRODUCTS), chance.choice(VERSIONS)
        row.environment, row.tags = chance.choice(ENVIRONMENTS), chance.choice(TAGS)
    Document.objects.bulk_update(rows, ["product", "version", "environment", "tags"])
    return made


SCOPES = [
    Scope(),
    Scope(product="ods"),
    Scope(product="ｏｄｓ ", version="3.0"),
    Scope(environment="TEST", tags=("DNS",)),
    Scope(tags=("存储", "网络")),
    Scope(tags=("", " ")),
    Scope("订单系统", "v2", "生产", ("没有",)),
    Scope(product="没有这个产品"),
]


@pytest.mark.parametrize("exact", [20_000, 0])
def test_a_scope_finds_what_a_look_at_every_document_finds(base, exact, monkeypatch):
    postings.merge(base.pk)
    monkeypatch.setattr(lexical, "EXACT_CHUNKS", exact)
    monkeypatch.setattr(lexical, "EXACT_INSIDE", exact)
    for wanted in SCOPES:
        holding = {one.pk for one in Document.objects.all() if not wanted.differs(one)}
        assert found(base, wanted) == holding
        assert bool(wanted) == (len(holding) < 40)


def test_the_fields_that_differ_are_named():
    document = Document(product="CRM", version="", tags=["网络"])
    assert Scope("ods", "2", "", ("存储",)).differs(document) == ["product", "tags"]
    assert Scope("crm", "2", "生产", ("网络",)).differs(document) == []


def test_a_scope_changes_no_score(base):
    everywhere = {
        p.chunk_id: p.scores["words"] for p in retrieval.search("磁盘告警 7", [base], 50).passages
    }
    inside = retrieval.search("磁盘告警 7", [base], 50, Scope(product="ods")).passages
    assert inside
    assert all(p.scores["words"] == everywhere[p.chunk_id] for p in inside)


@pytest.mark.parametrize("few", [20_000, 0])
def test_vectors_keep_to_the_scope_too(base, settings, monkeypatch, few):
    config = {
        "BACKEND": f"{Meaning.__module__}.Meaning",
        "OPTIONS": {"model": "meaning", "dimensions": 4},
    }
    settings.EMBEDDERS, settings.EMBEDDER = {"meaning": config}, "meaning"
    settings.BACKENDS = {"embedder": config}
    assert embedding.advance(embedding.create().pk, 60)
    monkeypatch.setattr(vectors, "GRAPH_FROM", few)
    wanted = Scope("ods", tags=("网络",))
    holding = {one.pk for one in Document.objects.all() if not wanted.differs(one)}
    near = dense.nearest_in("硬盘", [base.pk], 50, wanted).stages["dense"]
    assert {Chunk.objects.get(pk=chunk).document_id for chunk in near} == holding
    assert found(base, wanted, "硬盘") == holding


def test_what_has_expired_or_was_retired_answers_no_more(base):
    today = scope.today()
    first, second, third, fourth = Document.objects.order_by("pk")[:4]
    before = weighing.query("磁盘", [base.pk])
    first.expires_on = today
    second.expires_on = today + datetime.timedelta(days=1)
    third.expires_on = today - datetime.timedelta(days=400)
    Document.objects.bulk_update([first, second, third], ["expires_on"])
    uploading.retire(Document.objects.filter(pk=fourth.pk), "其来源已没有它")
    answering = set(Document.objects.filter(scope.answering()).values_list("pk", flat=True))
    assert found(base, None) == answering
    assert answering == {one.pk for one in Document.objects.all() if scope.answers(one)}
    assert len(answering) == 37
    assert second.pk in answering
    assert weighing.query("磁盘", [base.pk]) == before
    uploading.restore(Document.objects.all())
    assert fourth.pk in found(base, None)


def test_a_day_ends_where_the_server_stands(settings, monkeypatch):
    late = datetime.datetime(2026, 3, 1, 17, 30, tzinfo=datetime.UTC)
    monkeypatch.setattr(timezone, "now", lambda: late)
    with timezone.override("UTC"):
        assert scope.today() == datetime.date(2026, 3, 2)  # Asia/Shanghai
