"""The passages that might answer an item: found, looked up, kept."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from chat.models import Conversation
from evaluation import claiming, labelling, pooling
from evaluation.labelling import Form
from evaluation.models import Label, PooledPassage
from knowledge.models import Chunk, KnowledgeBase
from tests.evaluation import drawn
from tests.evaluation.drawn import answered, begin, narrow, of, settled
from tests.knowledge import documents

pytestmark = pytest.mark.django_db


def test_the_pool_holds_what_was_shown_and_what_any_way_finds(sample, base):
    item = answered(sample)
    pooling.pool(item)
    rows = list(item.pool.all())
    assert [row.rank for row in rows] == [1, 2, 3]
    assert {"shown", "cited"} <= set(rows[0].methods)
    assert any("words" in row.methods for row in rows)
    assert len({row.key for row in rows}) == 3
    made = settled(sample)[item.pk]
    assert made.shown == tuple(row.key for row in rows)
    before = [row.pk for row in rows]
    pooling.pool_all(sample.pk)  # delivered again
    assert list(item.pool.values_list("pk", flat=True)) == before
    assert not sample.items.filter(pooled_at=None).exists()


def test_a_passage_keeps_its_name_when_its_document_is_read_anew(base, sampler):
    turn = drawn.turn(base)
    first = turn.trace["passages"][0]["chunk_id"]
    sample = drawn.draw(sampler, 1)
    chunk = Chunk.objects.get(pk=first)
    before = pooling.key(chunk.document_id, chunk.text)
    Chunk.objects.filter(pk=first).delete()
    pooling.pool(sample.items.get())
    gone = PooledPassage.objects.get(rank=1)
    assert gone.chunk is None
    assert (gone.key, gone.text) == (before, chunk.text)


def test_a_passage_is_looked_up_and_joins_the_pool(client, base, sampler, ann):
    drawn.turn(base, text="zzz", passages=[])
    sample = drawn.draw(sampler, 1)
    begin(client, sample, ann)
    label = Label.objects.get()
    found = client.get(reverse("admin:evaluation_sample_search", args=[label.pk]) + "?q=值班表")
    chunk = Chunk.objects.get(text__contains="值班表")
    assert f'data-chunk="{chunk.pk}"' in found.content.decode()
    add = reverse("admin:evaluation_sample_pool", args=[label.pk])
    for _n in range(2):
        assert "值班表" in client.post(add, {"chunk": chunk.pk}).content.decode()
    row = PooledPassage.objects.get(chunk=chunk)
    assert row.methods == ["search"]
    assert client.post(add, {"chunk": "9" * 30}).status_code == 404


def test_a_passage_that_is_added_is_for_those_who_may_read_it(client, base, sampler, ann, bob):
    open_, hidden = (documents.base(name) for name in ("open", "hidden"))
    KnowledgeBase.objects.filter(pk=open_.pk).update(audience=KnowledgeBase.Audience.VISITORS)
    turn = drawn.turn(base, text="zzz", passages=[])
    Conversation.objects.filter(pk=turn.conversation_id).update(knowledge_base=None)
    sample = drawn.draw(sampler, 1)
    begin(client, sample, ann)
    label = Label.objects.get()
    add = reverse("admin:evaluation_sample_pool", args=[label.pk])
    documents.put(hidden, "仓库的门禁密码在保险柜里。")
    secret = hidden.chunks.get()
    assert client.post(add, {"chunk": secret.pk}).status_code == 404  # the asker may not read it
    label.item.refresh_from_db()
    assert hidden.pk not in label.item.bases
    documents.put(open_, "值班经理的电话在墙上。")
    assert client.post(add, {"chunk": open_.chunks.get().pk}).status_code == 200
    label.item.refresh_from_db()
    assert set(label.item.bases) == {base.pk, open_.pk}
    narrow(bob, base)
    assert claiming.claim(sample, User.objects.get(pk=bob.pk)) is None


def test_nobody_judges_a_passage_that_was_added_behind_their_page(sample, ann, bob):
    item = answered(sample)
    pooling.pool(item)
    seen = dict.fromkeys(item.pool.values_list("key", flat=True), False)
    other = documents.base("other", audience=KnowledgeBase.Audience.VISITORS)
    documents.put(other, "值班经理的电话在墙上。")
    added = pooling.add(item, other.chunks.get())
    labelling.finish(of(item, ann), Form("wrong", relevant={**seen, added.key: True}))
    labelling.finish(of(item, bob), Form("wrong", relevant=seen))
    assert added.judged.get().rater == ann
    assert settled(sample)[item.pk].relevant == {added.key}
