"""A store beside PostgreSQL: Milvus in this process, and one that fails."""

import logging

import pytest
from django.core.management import CommandError, call_command
from django_q.models import OrmQ

from knowledge import embedding, indexing, lexical, retrieval, vectors, weighing
from knowledge.models import Chunk, EmbeddingIndex, KnowledgeBase, StoreChange
from knowledge.parsing.document import Block
from knowledge.scope import Scope
from knowledge.stores import outside, store
from knowledge.stores.base import Store
from knowledge.stores.milvus import MilvusStore
from opsdesk.errors import StoreError
from tests.chat.conftest import put

pytestmark = pytest.mark.django_db

SUBJECTS = ("数据库备份", "磁盘空间", "证书续期", "消息分区", "网关重启", "主从切换")


@pytest.fixture(scope="module")
def milvus(tmp_path_factory):
    made = MilvusStore(str(tmp_path_factory.mktemp("milvus") / "store.db"))
    yield made
    made.client.close()
    logging.getLogger("milvus_lite").setLevel(logging.ERROR)  # it ends after our log is closed


@pytest.fixture
def chosen(milvus, settings, monkeypatch):
    """Milvus searches, also for few chunks."""
    milvus.clear()
    monkeypatch.setattr("knowledge.stores.backend", lambda alias: milvus)
    monkeypatch.setattr(lexical, "EXACT_CHUNKS", 0)
    monkeypatch.setattr(lexical, "EXACT_INSIDE", 0)
    monkeypatch.setattr(vectors, "GRAPH_FROM", 0)
    return milvus


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def base():
    base = KnowledgeBase.objects.create(slug="ops", name="运维")
    for number, subject in enumerate(SUBJECTS):
        put(
            base,
            f"{subject} {number}",
            Block("paragraph", f"{subject}的步骤{number}：先检查日志。"),
        )
    return base


@pytest.fixture
def index(base):
    """Vectors that are chosen by hand: the chunk of each subject leans to its own side."""
    made = EmbeddingIndex.objects.create(
        embedder="known", model="known", dimensions=8, state=EmbeddingIndex.State.ACTIVE
    )
    chunks = list(Chunk.objects.filter(knowledge_base=base).order_by("pk"))
    vectors.insert(made, [(chunk, embedding.Meaning(side(n))) for n, chunk in enumerate(chunks)])
    return made


def side(number):
    return [1.0 if n == number else 0.1 for n in range(8)]


def chunk_of(subject):
    return Chunk.objects.get(text__startswith=subject).pk


def best(base, question, scope=None):
    asked = weighing.query(question, [base.pk])
    return store().best(asked, [base.pk], 3, scope or Scope())


def test_postgresql_is_the_store_unless_another_is_named():
    assert type(store()) is Store
    with pytest.raises(CommandError):
        call_command("rebuild_store")


def test_it_ranks_as_postgresql_does(chosen, base, index):
    outside.catch_up()
    assert not StoreChange.objects.exists()
    asked = weighing.query("数据库备份步骤", [base.pk])
    found = chosen.best(asked, [base.pk], 3)
    assert found == pytest.approx(Store().best(asked, [base.pk], 3))
    assert next(iter(found)) == chunk_of("数据库备份")
    between = [0.1, 0.5, 1.0, 0.2, 0.3, 0.6, 0.4, 0.15]  # no two are equally near
    near = chosen.nearest(index, between, [base.pk], 3)
    assert near == pytest.approx(Store().nearest(index, between, [base.pk], 3), abs=1e-3)
    assert next(iter(near)) == chunk_of("证书续期")
    # And it is Milvus that proposes.
    assert chosen.propose_near(index, side(2), [base.pk], 1) == [chunk_of("证书续期")]


def test_a_change_is_found_at_once_and_written_by_one_task(chosen, base):
    assert StoreChange.objects.exists()
    assert next(iter(best(base, "网关重启"))) == chunk_of("网关重启")  # from the outbox
    groups = [task.group() for task in OrmQ.objects.all()]
    assert groups.count(outside.GROUP) == 1
    assert chosen.catch_up() > 0
    assert chosen.catch_up() == 0
    assert next(iter(best(base, "网关重启"))) == chunk_of("网关重启")


def test_what_is_gone_hidden_or_out_of_scope_is_not_found(chosen, base):
    chosen.catch_up()
    gone, hidden = chunk_of("磁盘空间"), chunk_of("主从切换")
    indexing.remove(Chunk.objects.get(pk=gone).document)  # Milvus still has it
    Chunk.objects.filter(pk=hidden).update(enabled=False)
    kept = Chunk.objects.get(pk=chunk_of("消息分区")).document
    kept.product = "kafka"
    kept.save()
    found = best(base, "磁盘空间 主从切换 消息分区")
    assert gone not in found and hidden not in found and chunk_of("消息分区") in found
    other = best(base, "磁盘空间 主从切换 消息分区", Scope(product="redis"))
    assert chunk_of("消息分区") not in other
    chosen.catch_up()
    asked = weighing.query("磁盘空间", [base.pk]).known()
    assert gone not in chosen.propose_words(asked or {1: 1.0}, [base.pk], 10)


def test_a_filter_that_leaves_out_most_is_asked_past(chosen, base, monkeypatch):
    monkeypatch.setattr(outside, "SPARE", 1)
    chosen.catch_up()
    last = list(Store().best(weighing.query("步骤日志", [base.pk]), [base.pk], 10))[-1]
    Chunk.objects.exclude(pk=last).update(enabled=False)
    assert list(best(base, "步骤日志")) == [last]


def test_another_base_is_not_asked(chosen, base):
    other = KnowledgeBase.objects.create(slug="other", name="其他")
    put(other, "备份", Block("paragraph", "数据库备份的步骤：别的团队。"))
    chosen.catch_up()
    assert set(best(base, "数据库备份")) <= set(base.chunks.values_list("pk", flat=True))


def test_without_it_postgresql_answers(chosen, base, monkeypatch):
    def down(*words):
        raise StoreError("down", permanent=False)

    monkeypatch.setattr(chosen, "propose_words", down)
    assert next(iter(best(base, "证书续期"))) == chunk_of("证书续期")
    found = retrieval.search("证书续期的步骤", [base])
    assert found.passages[0].chunk_id == chunk_of("证书续期")


def test_rebuilding_after_it_was_lost(chosen, base, index, capsys):
    chosen.catch_up()
    chosen.clear()
    with pytest.raises(StoreError):
        chosen.propose_words({1: 1.0}, [base.pk], 3)
    assert next(iter(best(base, "证书续期"))) == chunk_of("证书续期")
    call_command("rebuild_store")
    assert str(len(SUBJECTS)) in capsys.readouterr().out
    assert chosen.propose_near(index, side(0), [base.pk], 1) == [chunk_of("数据库备份")]
