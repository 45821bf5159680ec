import threading
from collections import Counter

import numpy as np
import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from knowledge import dense, embedding, retrieval, vectors
from knowledge.embedders import Embedder
from knowledge.models import (
    Chunk,
    Document,
    Embedding,
    EmbeddingIndex,
    KnowledgeBase,
    Lexicon,
    Revision,
)
from knowledge.scope import EVERYTHING
from opsdesk.errors import Conflict, ModelError
from tests.browser import wait_for
from tests.knowledge import documents
from tests.knowledge.embedding_server import vector

State = EmbeddingIndex.State


class Hashing(Embedder):
    """Vectors made from the text alone. `trouble` is raised when texts with the word come."""

    batch_size = 4
    trouble: dict[str, ModelError] = {}
    seen: list[str] = []
    before_batch = staticmethod(lambda: None)

    def embed_batch(self, texts):
        self.before_batch()
        for word, error in self.trouble.items():
            if any(word in text for text in texts):
                raise error
        self.seen += texts
        return [vector(text, self.dimensions) for text in texts]


class Learned(Hashing):
    """Each letter is a token and worth the more the rarer it is in Unicode's order."""

    sparse = True

    def encode_batch(self, texts):
        weights = [{ord(letter): ord(letter) / 65536 for letter in text} for text in texts]
        return self.embed_batch(texts), weights


def options(model, dimensions=16, kind="Hashing"):
    return {
        "BACKEND": f"tests.knowledge.test_embedding.{kind}",
        "OPTIONS": {"model": model, "dimensions": dimensions},
    }


@pytest.fixture(autouse=True)
def configured(settings, monkeypatch):
    monkeypatch.setattr(Hashing, "trouble", {})
    monkeypatch.setattr(Hashing, "seen", [])
    choose(settings, "first")


def choose(settings, name):
    settings.EMBEDDERS = {
        "first": options("one"),
        "second": options("two", 8),
        "learned": options("three", 8, "Learned"),
    }
    settings.EMBEDDER = name
    settings.BACKENDS = {"embedder": settings.EMBEDDERS.get(name)}


@pytest.fixture
def base(db):
    return KnowledgeBase.objects.create(slug="ops", name="运维")


def add(base, *texts, approved=True):
    document = Document.objects.create(
        knowledge_base=base, title="手册", approved_at=timezone.now() if approved else None
    )
    revision = Revision.objects.create(document=document, name="手册.md", size=1)
    return [
        Chunk.objects.create(
            knowledge_base=base, document=document, revision=revision, position=position, text=text
        )
        for position, text in enumerate(texts)
    ]


def run_queue():
    """What the worker does, until nothing is queued."""
    while task := OrmQ.objects.order_by("id").first():
        task.delete()
        assert task.task["func"] == "knowledge.embedding.build"
        embedding.build(*task.task["args"])


def built(settings, name="first"):
    choose(settings, name)
    index = embedding.create()
    run_queue()
    index.refresh_from_db()
    return index


def nearest(index, query, base, limit):
    meaning = embedding.embedder_of(index).query(query)
    return vectors.nearest(index, meaning.vector, [base.pk], limit, EVERYTHING)


def held(index):
    return set(index.embeddings.values_list("chunk", flat=True))


class TestBuilding:
    def test_the_first_index_takes_over_when_it_is_complete(self, base, settings):
        chunks = add(base, *"甲乙丙丁戊己庚")
        index = embedding.create()
        assert (index.state, index.total, index.done) == (State.BUILDING, 7, 0)
        assert embedding.active() is None
        run_queue()
        index.refresh_from_db()
        assert (index.state, index.total, index.done) == (State.ACTIVE, 7, 7)
        assert held(index) == {chunk.pk for chunk in chunks}

    def test_titles_and_headings_are_embedded_too(self, base, settings):
        chunk = add(base, "正文")[0]
        chunk.heading_path = ["安装"]
        chunk.save()
        built(settings)
        assert "手册" in Hashing.seen[0]
        assert "安装" in Hashing.seen[0]

    def test_goes_on_where_it_was_stopped(self, base, monkeypatch):
        add(base, *"甲乙丙丁戊己庚")
        index = embedding.create()
        assert not embedding.advance(index.pk, seconds=0)  # one batch, then time is up
        index.refresh_from_db()
        assert (index.state, index.done) == (State.BUILDING, 4)
        run_queue()
        index.refresh_from_db()
        assert (index.state, index.done) == (State.ACTIVE, 7)
        assert len(Hashing.seen) == 7  # nothing twice

    def test_takes_in_chunks_that_come_meanwhile(self, base, monkeypatch):
        add(base, *"甲乙丙丁戊")
        late = []

        def arrive():
            if not late:
                late.extend(add(base, "新来的"))

        monkeypatch.setattr(Hashing, "before_batch", staticmethod(arrive))
        index = embedding.create()
        run_queue()
        index.refresh_from_db()
        assert late[0].pk in held(index)
        assert (index.state, index.done, index.total) == (State.ACTIVE, 6, 6)

    def test_a_chunk_that_goes_meanwhile_is_no_trouble(self, base, monkeypatch):
        going = add(base, *"甲乙丙")[1]
        monkeypatch.setattr(
            Hashing,
            "before_batch",
            staticmethod(lambda: Chunk.objects.filter(pk=going.pk).delete()),
        )
        index = embedding.create()
        run_queue()
        index.refresh_from_db()
        assert (index.state, index.done) == (State.ACTIVE, 2)

    def test_a_chunk_that_is_edited_meanwhile_gets_the_vector_of_what_it_says_now(
        self, base, monkeypatch
    ):
        (chunk,) = add(base, "旧的")

        def edit():
            Chunk.objects.filter(pk=chunk.pk).update(text="新的")

        monkeypatch.setattr(Hashing, "before_batch", staticmethod(edit))
        index = embedding.create()
        run_queue()
        (stored,) = Embedding.objects.all()
        (now,) = embedding.embedder_of(index).passages([Hashing.seen[-1]])
        assert "新的" in Hashing.seen[-1]
        assert stored.vector == pytest.approx(now.vector, abs=1e-3)

    def test_an_index_that_is_dropped_meanwhile_is_no_trouble(self, base, monkeypatch):
        add(base, "甲")
        index = embedding.create()
        monkeypatch.setattr(
            Hashing,
            "before_batch",
            staticmethod(lambda: EmbeddingIndex.objects.filter(pk=index.pk).delete()),
        )
        run_queue()
        assert not Embedding.objects.exists()

    def test_asking_twice_makes_one(self, base, settings):
        add(base, "甲")
        assert built(settings) == built(settings)
        assert EmbeddingIndex.objects.count() == 1

    def test_needs_an_embedder(self, base, settings):
        choose(settings, "")
        with pytest.raises(Conflict):
            embedding.create()

    def test_a_final_error_is_said_on_the_index_and_can_be_tried_again(self, base, settings):
        add(base, "甲")
        Hashing.trouble = {"甲": ModelError("没有权重", permanent=True)}
        index = built(settings)
        assert (index.state, index.error) == (State.FAILED, "没有权重")
        Hashing.trouble = {}
        again = built(settings)
        assert (again.pk, again.state, again.error) == (index.pk, State.ACTIVE, "")

    def test_a_passing_error_is_left_to_the_queue(self, base):
        add(base, "甲")
        Hashing.trouble = {"甲": ModelError("忙", permanent=False)}
        index = embedding.create()
        with pytest.raises(ModelError):
            run_queue()
        index.refresh_from_db()
        assert (index.state, index.error) == (State.BUILDING, "忙")


class TestTakingOver:
    def test_the_second_waits_to_be_activated(self, base, settings):
        add(base, *"甲乙")
        first, second = built(settings), built(settings, "second")
        assert (embedding.active(), second.state) == (first, State.READY)
        version = KnowledgeBase.objects.get().version
        embedding.activate(second)
        first.refresh_from_db()
        assert (embedding.active(), first.state) == (second, State.READY)
        assert KnowledgeBase.objects.get().version > version

    def test_the_old_one_answers_while_the_new_one_is_built(self, base, settings):
        chunks = add(base, *"甲乙")
        built(settings)
        choose(settings, "second")
        embedding.create()
        found = nearest(embedding.active(), "甲", base, 5)
        assert found.keys() == {chunk.pk for chunk in chunks}

    def test_going_back(self, base, settings):
        add(base, *"甲乙")
        first, second = built(settings), built(settings, "second")
        embedding.activate(second)
        assert embedding.go_back() == first
        assert embedding.active() == first
        assert embedding.go_back() == second

    def test_going_back_from_the_only_one_leaves_words(self, base, settings):
        add(base, "甲")
        built(settings)
        assert embedding.go_back() is None
        assert embedding.active() is None

    def test_an_incomplete_one_cannot_take_over(self, base):
        add(base, "甲")
        index = embedding.create()
        with pytest.raises(Conflict):
            embedding.activate(index)

    def test_one_left_behind_answers_and_catches_up(self, base, settings):
        add(base, "甲")
        first, second = built(settings), built(settings, "second")
        embedding.activate(second)
        late = add(base, "新")[0]
        embedding.go_back()
        assert embedding.active() == first
        run_queue()
        assert late.pk in held(first)

    def test_dropping(self, base, settings):
        add(base, "甲")
        first, second = built(settings), built(settings, "second")
        with pytest.raises(Conflict):
            embedding.drop(first)
        embedding.drop(second)
        assert list(EmbeddingIndex.objects.all()) == [first]
        assert Embedding.objects.count() == 1


class TestAlongWithDocuments:
    def test_new_chunks_get_vectors_in_all_live_indexes(self, base, settings):
        add(base, "甲")
        first = built(settings)
        choose(settings, "second")
        second = embedding.create()
        chunks = add(base, "乙", "丙")
        embedding.save(embedding.meanings_for(["乙", "丙"], base.pk), chunks)
        assert {chunk.pk for chunk in chunks} <= held(first) & held(second)

    def test_without_an_index_there_is_nothing_to_do(self, base):
        assert embedding.meanings_for(["甲"], base.pk) == {}

    def test_a_failing_embedder_loses_no_document(self, base, settings):
        add(base, "甲")
        index = built(settings)
        Hashing.trouble = {"乙": ModelError("忙", permanent=False)}
        made = embedding.meanings_for(["乙"], base.pk)
        chunk = add(base, "乙")[0]
        embedding.save(made, [chunk])
        assert chunk.pk not in held(index)
        Hashing.trouble = {}
        embedding.catch_up()
        run_queue()
        assert chunk.pk in held(index)

    def test_it_is_queued_once(self, base):
        add(base, "甲")
        embedding.create()
        embedding.catch_up()
        embedding.catch_up()
        assert OrmQ.objects.count() == 1

    def test_an_index_that_was_dropped_is_skipped(self, base, settings):
        add(base, "甲")
        index = built(settings)
        made = embedding.meanings_for(["乙"], base.pk)
        EmbeddingIndex.objects.filter(pk=index.pk).delete()
        embedding.save(made, add(base, "乙"))
        assert not Embedding.objects.exists()


class TestNearest:
    def test_is_the_exact_order(self, base, settings):
        chunks = add(base, *(f"第{i}段" for i in range(30)))
        index = built(settings)
        asked = np.array(embedding.embedder_of(index).query("重启").vector)
        texts = dict(zip([chunk.pk for chunk in chunks], Hashing.seen, strict=False))
        cosines = {
            pk: float(np.array(next(Hashing("one", 16).passages([text])).vector) @ asked)
            for pk, text in texts.items()
        }
        found = nearest(index, "重启", base, 5)
        assert list(found) == sorted(cosines, key=cosines.get, reverse=True)[:5]
        assert list(found.values()) == pytest.approx(
            sorted(cosines.values(), reverse=True)[:5], abs=2e-3
        )

    def test_leaves_out_what_must_not_answer(self, base, settings):
        other = KnowledgeBase.objects.create(slug="other", name="别的")
        seen, disabled = add(base, "甲", "乙")
        Chunk.objects.filter(pk=disabled.pk).update(enabled=False)
        add(base, "丙", approved=False)
        add(other, "丁")
        index = built(settings)
        assert list(nearest(index, "甲", base, 10)) == [seen.pk]

    def test_an_embedder_that_is_gone_is_named(self, base, settings):
        add(base, "甲")
        index = built(settings)
        settings.EMBEDDERS = {}
        choose_none = {"embedder": None}
        settings.BACKENDS = choose_none
        with pytest.raises(ModelError, match="first") as caught:
            nearest(index, "甲", base, 1)
        assert caught.value.permanent


class TestLearnedWeights:
    def test_stand_beside_the_vectors_and_find(self, base, settings):
        chunks = add(base, "磁盘 full", "网络 slow", "磁盘告警")
        index = built(settings, "learned")
        assert index.sparse
        near = dense.nearest_in("告警", [base.pk], 10)
        assert near.stages["dense"].keys() == {chunk.pk for chunk in chunks}
        worth = sum((ord(letter) / 65536) ** 2 for letter in "告警")
        assert near.stages["sparse"][chunks[2].pk] == pytest.approx(worth, rel=1e-5)
        assert near.stages["sparse"][chunks[0].pk] == 0
        (asked,) = embedding.answering([base.pk])
        weights = embedding.embedder_of(asked).query("告警").weights
        found = vectors.heaviest(asked, weights, [base.pk], 10, EVERYTHING)
        assert list(found) == [chunks[2].pk]

    def test_come_with_new_documents_too(self, base, settings):
        add(base, "甲")
        index = built(settings, "learned")
        (new,) = add(base, "乙")
        embedding.save(embedding.meanings_for(["乙"], base.pk), [new])
        assert not index.embeddings.filter(weights=None).exists()

    def test_find_nothing_by_themselves_in_many_chunks(self, base, settings, monkeypatch):
        """They still order what the vectors found."""
        chunks = add(base, *"甲乙丙")
        built(settings, "learned")
        Lexicon.objects.create(knowledge_base=base, chunks=3, lengths=[3] * 3, means=[1] * 3)
        monkeypatch.setattr(vectors, "SPARSE_UP_TO", 2)
        (index,) = embedding.answering([base.pk])
        assert vectors.heaviest(index, {ord("甲"): 1.0}, [base.pk], 5, EVERYTHING) == {}
        near = dense.nearest_in("甲", [base.pk], 1)
        near.add([chunk.pk for chunk in chunks])
        assert len(near.chunks) == 3
        assert near.stages["sparse"].keys() == set(near.chunks)

    def test_a_question_without_any_is_compared_by_its_vector_alone(self, base, settings):
        chunks = add(base, *"甲乙丙")
        built(settings, "learned")
        found = dense.nearest_in("", [base.pk], 1)
        found.add([chunk.pk for chunk in chunks])
        assert len(found.stages["dense"]) == 3
        assert "sparse" not in found.stages

    def test_an_index_without_them_is_built_anew_when_the_model_gives_some(self, base, settings):
        add(base, "甲")
        old = built(settings, "learned")
        EmbeddingIndex.objects.filter(pk=old.pk).update(sparse=False)
        new = built(settings, "learned")
        assert new.pk != old.pk
        assert (new.sparse, new.state) == (True, State.READY)


class TestBasesOfTheirOwn:
    """Bases that are answered for by different models."""

    @pytest.fixture
    def other(self, base):
        return KnowledgeBase.objects.create(slug="other", name="别的")

    def own(self, base, name="second"):
        index = embedding.create(name, base)
        run_queue()
        index.refresh_from_db()
        return index

    def test_an_index_of_one_base_holds_that_base_and_waits(self, base, other, settings):
        mine, _ = add(base, "甲"), add(other, "乙")
        default = built(settings)
        index = self.own(base)
        assert (index.state, index.done, index.total) == (State.READY, 1, 1)
        assert held(index) == {chunk.pk for chunk in mine}
        assert embedding.answering([base.pk, other.pk]) == {default: [base.pk, other.pk]}

    def test_both_are_asked_together_each_through_its_own(self, base, other, settings):
        mine, theirs = add(base, *"甲乙"), add(other, *"丙丁")
        default = built(settings)
        index = self.own(base)
        embedding.use(base, index)
        Hashing.seen.clear()
        near = dense.nearest_in("甲", [base.pk, other.pk], 5)
        assert sorted(Hashing.seen) == ["甲", "甲"]  # once for each model
        assert sorted(map(sorted, near.groups)) == [
            sorted(chunk.pk for chunk in chunks) for chunks in (mine, theirs)
        ]
        for asked, of, chunks in ((index, base, mine), (default, other, theirs)):
            expected = nearest(asked, "甲", of, 5)
            assert {chunk.pk: near.stages["dense"][chunk.pk] for chunk in chunks} == (
                pytest.approx({chunk: max(cosine, 0) for chunk, cosine in expected.items()})
            )

    def test_indexes_of_one_model_compare(self, base, other, settings):
        add(base, "甲"), add(other, "乙")
        built(settings)
        embedding.use(base, self.own(base, "first"))
        Hashing.seen.clear()
        near = dense.nearest_in("甲", [base.pk, other.pk], 5)
        assert len(near.groups) == len(Hashing.seen) == 1

    def test_a_base_without_vectors_is_asked_beside(self, base, other, settings):
        documents.put(base, "磁盘满了清理日志")
        documents.put(other, "磁盘告警先看分区")
        embedding.use(base, self.own(base))
        found = retrieval.search("磁盘", [base, other], 5)
        assert found.mode == retrieval.HYBRID
        stages = {one.knowledge_base_id: one.scores.keys() for one in found.passages}
        assert stages.keys() == {base.pk, other.pk}
        assert "dense" in stages[base.pk]
        assert "dense" not in stages[other.pk]
        assert all(0 <= one.score <= 1 for one in found.passages)

    def test_one_that_fails_leaves_only_its_bases_to_words(self, base, other, settings):
        add(base, "甲")
        (there,) = add(other, "乙")
        built(settings)
        embedding.use(base, self.own(base))
        settings.EMBEDDERS = {"first": options("one")}  # the model of `base` is gone
        near = dense.nearest_in("问", [base.pk, other.pk], 5)
        assert near.failed == [base.pk]
        assert near.stages["dense"].keys() == {there.pk}
        found = retrieval.search("问", [base, other])
        assert found.mode == retrieval.PARTLY_WORDS
        assert found.failed == [retrieval.PARTLY_WORDS]

    def test_new_chunks_go_where_their_base_is_asked(self, base, other, settings):
        """What a base says is not sent to a model that does not answer for it."""
        add(base, "甲"), add(other, "乙")
        default = built(settings)
        index = self.own(base)
        embedding.use(base, index)
        assert embedding.meanings_for(["丙"], base.pk).keys() == {index.pk}
        assert embedding.meanings_for(["丙"], other.pk).keys() == {default.pk}
        add(base, "丙"), add(other, "丁")
        embedding.catch_up()
        run_queue()
        assert held(index) == set(base.chunks.values_list("pk", flat=True))
        assert not embedding.missing(default).exists()
        assert default.embeddings.filter(knowledge_base=base).count() == 1  # from before

    def test_what_an_index_held_before_is_not_asked_of_it(self, base, other, settings):
        (mine,), (there,) = add(base, "甲"), add(other, "乙")
        built(settings)
        embedding.use(base, self.own(base))
        Embedding.objects.filter(index__knowledge_base=base).delete()
        near = dense.nearest_in("甲", [base.pk, other.pk], 5)
        near.add([mine.pk, there.pk])
        assert near.stages["dense"].keys() == {there.pk}

    def test_going_back_and_forth(self, base, settings):
        add(base, "甲")
        default, index = built(settings), self.own(base)
        version = KnowledgeBase.objects.get().version
        embedding.use(base, index)
        assert list(embedding.answering([base.pk])) == [index]
        assert KnowledgeBase.objects.get().version > version
        assert embedding.go_back(base) is None
        assert list(embedding.answering([base.pk])) == [default]
        assert embedding.go_back(base) == index

    def test_nothing_to_go_back_to(self, base, settings):
        with pytest.raises(Conflict):
            embedding.go_back(base)

    def test_what_cannot_answer_is_refused(self, base, other, settings):
        add(base, "甲")
        built(settings)
        index = embedding.create("second", base)
        with pytest.raises(Conflict):
            embedding.use(base, index)  # not complete
        run_queue()
        with pytest.raises(Conflict, match="运维"):
            embedding.use(other, index)
        with pytest.raises(Conflict, match="运维"):
            embedding.activate(index)
        embedding.use(base, index)
        with pytest.raises(Conflict):
            embedding.drop(index)

    def test_a_base_goes_with_its_indexes(self, base, settings):
        add(base, "甲")
        default, index = built(settings), self.own(base)
        embedding.use(base, index)
        embedding.drop_of(base)
        base.delete()
        assert list(EmbeddingIndex.objects.all()) == [default]


@pytest.mark.django_db(transaction=True)
def test_questions_during_a_switch_find_by_one_index_or_the_other(settings):
    """Asked throughout switches and going back, of all bases and of one, no question fails, and
    none sees vectors of two indexes for one base."""
    base = KnowledgeBase.objects.create(slug="ops", name="运维")
    add(base, *(f"第{i}段" for i in range(20)))
    first, second = built(settings), built(settings, "second")
    own = embedding.create("learned", base)
    run_queue()
    right = [nearest(index, "重启", base, 50) for index in (first, second, own)]
    stop, seen, wrong = threading.Event(), Counter(), []

    def ask():
        try:
            while not stop.is_set():
                now = dense.nearest_in("重启", [base.pk], 50).stages.get("dense", {})
                matching = [n for n, known in enumerate(right) if same(known, now)]
                seen.update(matching)
                wrong.extend([] if matching else [now])
        except Exception as error:
            wrong.append(error)
            raise
        finally:
            connection.close()

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(6):
            before = seen.total()
            embedding.activate(second)
            embedding.use(base, own)
            assert embedding.go_back(base) is None
            assert embedding.go_back() == first
            wait_for(lambda before=before: wrong or seen.total() > before, "a question")
    finally:
        stop.set()
        for asker in askers:
            asker.join()
    assert not wrong


def same(known, dense):
    return {chunk: max(cosine, 0.0) for chunk, cosine in known.items()} == pytest.approx(dense)


@pytest.mark.django_db(transaction=True)
class TestGraph:
    """CREATE INDEX CONCURRENTLY wants no transaction around it."""

    def test_a_large_index_gets_one_and_it_is_used(self, settings, monkeypatch):
        monkeypatch.setattr(vectors, "GRAPH_FROM", 10)
        base = KnowledgeBase.objects.create(slug="ops", name="运维")
        add(base, *(f"第{i}段" for i in range(40)))
        index = built(settings)
        exact = nearest(index, "重启", base, 40)
        with connection.cursor() as cursor:
            cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [name(index)])
            assert "hnsw" in cursor.fetchone()[0]
            cursor.execute("SET enable_seqscan = off; SET enable_sort = off")
            try:
                assert nearest(index, "重启", base, 40) == pytest.approx(exact)
            finally:
                cursor.execute("RESET enable_seqscan; RESET enable_sort")
        second = built(settings, "second")
        embedding.activate(second)
        embedding.drop(index)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_indexes WHERE indexname = %s", [name(index)])
            assert cursor.fetchone() == (0,)

    def test_a_small_one_does_not(self, settings):
        base = KnowledgeBase.objects.create(slug="ops", name="运维")
        add(base, "甲")
        index = built(settings)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_indexes WHERE indexname = %s", [name(index)])
            assert cursor.fetchone() == (0,)

    def test_only_one_process_builds(self, settings):
        base = KnowledgeBase.objects.create(slug="ops", name="运维")
        add(base, "甲")
        index = embedding.create()
        with embedding._alone(index.pk) as alone:
            assert alone
            other = threading.Thread(target=self.elsewhere, args=(index.pk,))
            other.start()
            other.join()
        index.refresh_from_db()
        assert (index.done, index.state) == (0, State.BUILDING)
        assert embedding.advance(index.pk, 10)
        assert held(index)

    def elsewhere(self, index_id):
        try:
            embedding.advance(index_id, 10)
        finally:
            connection.close()


def name(index):
    return f"embedding_hnsw_{index.pk}"


class TestPages:
    """The curators' page and the command."""

    CHANGELIST = "/admin/knowledge/embeddingindex/"

    @pytest.fixture
    def curator(self, base, django_user_model, client):
        user = django_user_model.objects.create_user("curator", is_staff=True)
        client.force_login(user)
        return user

    def allow(self, user, *actions):
        names = [f"{action}_embeddingindex" for action in actions]
        user.user_permissions.add(*Permission.objects.filter(codename__in=names))

    def test_offers_to_build_and_shows_the_progress(self, base, admin_client):
        add(base, *"甲乙")
        page = admin_client.get(self.CHANGELIST)
        assert page.context["buildable"]
        assert "/admin/knowledge/embeddingindex/build/" in page.content.decode()
        admin_client.post(self.CHANGELIST + "build/")
        state = admin_client.get(self.CHANGELIST + "states/").json()
        assert state["pending"]
        assert "0 / 2" in next(iter(state["states"].values()))
        run_queue()
        state = admin_client.get(self.CHANGELIST + "states/").json()
        assert not state["pending"]
        assert "state-active" in next(iter(state["states"].values()))
        assert not admin_client.get(self.CHANGELIST).context["buildable"]

    def test_activating_going_back_and_deleting(self, base, settings, admin_client):
        add(base, "甲")
        first, second = built(settings), built(settings, "second")
        chosen = {"action": "let_answer", "_selected_action": [second.pk]}
        admin_client.post(self.CHANGELIST, chosen)
        assert embedding.active() == second
        admin_client.post(self.CHANGELIST + "go-back/")
        assert embedding.active() == first
        page = admin_client.post(f"{self.CHANGELIST}{first.pk}/delete/", {"post": "yes"})
        assert page.status_code == 403
        admin_client.post(f"{self.CHANGELIST}{second.pk}/delete/", {"post": "yes"})
        assert list(EmbeddingIndex.objects.all()) == [first]

    def test_an_incomplete_index_is_refused_with_a_reason(self, base, admin_client):
        add(base, "甲")
        index = embedding.create()
        chosen = {"action": "let_answer", "_selected_action": [index.pk]}
        page = admin_client.post(self.CHANGELIST, chosen, follow=True)
        assert [message.level_tag for message in page.context["messages"]] == ["error"]
        assert embedding.active() is None

    def test_permissions_are_checked(self, base, curator, client):
        assert client.get(self.CHANGELIST).status_code == 403
        self.allow(curator, "view")
        assert client.get(self.CHANGELIST).status_code == 200
        assert client.post(self.CHANGELIST + "build/").status_code == 403
        assert client.post(self.CHANGELIST + "go-back/").status_code == 403
        self.allow(curator, "add", "change")
        assert client.post(self.CHANGELIST + "build/").status_code == 302
        assert client.get(self.CHANGELIST + "build/").status_code == 405

    def test_the_command_builds_and_activates(self, base, settings, capsys):
        add(base, *"甲乙丙")
        call_command("build_index")
        assert "3 / 3" in capsys.readouterr().out
        choose(settings, "second")
        call_command("build_index", activate=True)
        assert embedding.active().model == "two"

    def test_the_command_says_what_is_wrong(self, base, settings):
        choose(settings, "")
        with pytest.raises(CommandError, match="OPSDESK_EMBEDDER"):
            call_command("build_index")
        choose(settings, "first")
        add(base, "甲")
        Hashing.trouble = {"甲": ModelError("没有权重", permanent=True)}
        with pytest.raises(CommandError, match="没有权重"):
            call_command("build_index")

    def test_the_command_builds_for_one_base_and_another_switches(self, base, settings, capsys):
        other = KnowledgeBase.objects.create(slug="other", name="别的")
        add(base, "甲"), add(other, "乙")
        default = built(settings)
        call_command("build_index", base="ops", embedder="second", activate=True)
        index = base.own_indexes.get()
        assert embedding.answering([base.pk, other.pk]) == {index: [base.pk], default: [other.pk]}
        call_command("switch_index", base="ops", back=True)
        assert "two by second, 8 dimensions, 1 / 1" in capsys.readouterr().out
        assert embedding.answering([base.pk, other.pk]) == {default: [base.pk, other.pk]}
        call_command("switch_index", index.pk, base="ops")
        with pytest.raises(CommandError):
            call_command("switch_index", index.pk, drop=True)
        call_command("switch_index", base="ops", as_all=True)
        call_command("switch_index", index.pk, drop=True)
        assert list(EmbeddingIndex.objects.all()) == [default]
        with pytest.raises(CommandError, match="nowhere"):
            call_command("switch_index", base="nowhere", back=True)


class TestPagesOfABase:
    @pytest.fixture
    def page(self, base):
        return f"/admin/knowledge/embeddingindex/of/{base.pk}/"

    def test_building_switching_and_going_back(self, base, settings, admin_client, page):
        add(base, *"甲乙")
        default = built(settings)
        assert "2" in admin_client.get(page).content.decode()
        admin_client.post(page + "build/", {"embedder": "second"}, follow=True)
        index = base.own_indexes.get()
        refused = admin_client.post(page + "use/", {"index": index.pk}, follow=True)
        assert [message.level_tag for message in refused.context["messages"]] == ["error"]
        run_queue()
        admin_client.post(page + "use/", {"index": index.pk})
        assert embedding.answering([base.pk]) == {index: [base.pk]}
        assert "go-back" in admin_client.get(page).content.decode()
        listed = admin_client.get("/admin/knowledge/embeddingindex/").content.decode()
        assert f'<a href="{page}">运维</a>' in listed
        admin_client.post(page + "go-back/")
        assert embedding.answering([base.pk]) == {default: [base.pk]}
        admin_client.post(page + "use/", {"index": index.pk})
        admin_client.post(page + "use/", {"index": ""})
        assert embedding.answering([base.pk]) == {default: [base.pk]}

    @pytest.mark.parametrize(
        ("way", "sent"),
        [
            ("build/", {"embedder": "none"}),
            ("build/", {}),
            ("use/", {"index": "4711"}),
            ("use/", {"index": "x"}),
            ("go-back/", {}),
        ],
    )
    def test_what_cannot_be_is_said(self, base, admin_client, page, way, sent):
        answer = admin_client.post(page + way, sent, follow=True)
        assert answer.status_code == 200
        assert [message.level_tag for message in answer.context["messages"]] == ["error"]

    def test_each_base_and_action_has_its_permission(
        self, base, client, django_user_model, page, settings
    ):
        user = django_user_model.objects.create_user("curator", is_staff=True)
        client.force_login(user)

        def allow(*names):
            user.user_permissions.add(*Permission.objects.filter(codename__in=names))

        allow("view_embeddingindex", "change_embeddingindex", "add_embeddingindex")
        assert client.get(page).status_code == 403  # not of this base
        allow("view_document")
        assert client.get(page).status_code == 200
        for way in ("build/", "use/", "go-back/"):
            assert client.post(page + way).status_code == 403
            assert client.get(page + way).status_code == 405
        allow("change_document")
        assert client.post(page + "go-back/").status_code == 302
        user.user_permissions.remove(Permission.objects.get(codename="change_embeddingindex"))
        assert client.post(page + "use/").status_code == 403
        assert client.post(page + "build/", {"embedder": "second"}).status_code == 302
