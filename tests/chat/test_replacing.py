"""Documents are replaced, retired and edited while people ask about them."""

import threading

import pytest
from django.core.files.base import ContentFile
from django.db import connections
from django.utils import timezone

from chat import asking, graph, runner, turns
from chat.models import Citation, Conversation, Message, Turn
from knowledge import indexing, tasks, uploading
from knowledge.models import Chunk, Document, KnowledgeBase
from tests.browser import wait_for

QUESTION = "Redis 主从切换的超时参数是什么，默认多少毫秒？"
TEXT = "# Redis 哨兵\n\nRedis 主从切换由哨兵完成，超时参数是 failover-timeout，默认 {} 毫秒。\n"


def replace(base, n):
    """Version `n` through the door and the worker."""
    content = ContentFile(TEXT.format(n).encode())
    added = uploading.add(base, file=content, name="r.md", external_id="redis", approved=True)
    tasks.process(added.revision.pk)
    return added.revision.pk


@pytest.fixture
def redis(base):
    uploading.delete(Document.objects.filter(title="Redis 哨兵"))
    return replace(base, 1000)


@pytest.fixture(autouse=True)
def hasty(settings):
    """Reading waits for nobody's answer: the one in the making waits for it."""
    settings.BUSY = []


def meanwhile(monkeypatch, *changes):
    """Make the changes, one an answer, when it is made and before it is said."""
    left = list(changes)
    run = graph.run

    def late(state):
        made = run(state)
        if left:
            left.pop(0)()
        return made

    monkeypatch.setattr(graph, "run", late)


def answer(conversation):
    asking.ask(conversation, QUESTION)
    assert runner.run_waiting() == 1
    return Turn.objects.get()


def test_an_answer_made_of_what_is_replaced_meanwhile_is_made_again(
    base, redis, conversation, monkeypatch
):
    meanwhile(monkeypatch, lambda: replace(base, 2000), lambda: replace(base, 3000))
    turn = answer(conversation)
    assert turn.outcome == "answered" and "3000" in turn.reply.text
    assert "3000" in turn.reply.citations.get().quote
    assert conversation.messages.filter(role="assistant").count() == 1


@pytest.mark.parametrize("change", ["retire", "disable", "edit", "delete", "unapprove"])
def test_what_answers_no_more_is_not_cited(base, redis, conversation, monkeypatch, change):
    documents = Document.objects.filter(external_id="redis")
    chunks = Chunk.objects.filter(document__external_id="redis")
    changes = {
        "retire": lambda: uploading.retire(documents, "gone"),
        "disable": lambda: chunks.update(enabled=False),
        "edit": lambda: chunks.update(
            text="Redis 主从切换的超时参数是 failover-timeout，默认 9 毫秒。"
        ),
        "delete": lambda: uploading.delete(documents),
        "unapprove": lambda: documents.update(approved_at=None),
    }
    meanwhile(monkeypatch, changes[change])
    turn = answer(conversation)
    assert not turn.reply.citations.filter(quote__contains="1000").exists()
    assert ("9 毫秒" in turn.reply.text) == (change == "edit")


def test_what_is_made_again_gets_no_more_time(base, redis, conversation, monkeypatch):
    meanwhile(monkeypatch, lambda: replace(base, 2000), lambda: replace(base, 3000))
    deadlines = []
    load = turns.load

    def loaded(*args):
        state = load(*args)
        deadlines.append(state.deadline)
        return state

    monkeypatch.setattr(turns, "load", loaded)
    answer(conversation)
    assert len(deadlines) == 3
    assert len(set(deadlines)) == 1


def test_when_it_changes_every_time_a_person_is_called(base, redis, conversation, monkeypatch):
    numbers = iter(range(5000, 6000))
    change = lambda: replace(base, next(numbers))  # noqa: E731
    meanwhile(monkeypatch, *[change] * runner.TRIES)
    turn = answer(conversation)
    assert turn.outcome == "failed" and not turn.reply.citations.exists()
    conversation.refresh_from_db()
    assert conversation.state == Conversation.State.QUEUED


@pytest.mark.django_db(transaction=True)
def test_asked_throughout_nothing_fails_and_nothing_old_is_cited(base, redis, running):
    swapped = {redis: timezone.now()}  # when each revision had certainly replaced the one before
    stop = threading.Event()

    def replacing():
        for n in range(2000, 2400):
            if stop.is_set():
                break
            revision = replace(base, n)
            swapped[revision] = timezone.now()
        connections.close_all()

    thread = threading.Thread(target=replacing)
    thread.start()
    try:
        asked = 0
        while asked < 20 or (len(swapped) <= 10 and asked < 200):
            asked += 1
            talks = [Conversation.objects.create(visitor="v" * 32) for _ in range(2)]
            turns = [asking.ask(talk, QUESTION)[1].pk for talk in talks]
            left = Turn.objects.filter(pk__in=turns).unfinished()
            wait_for(lambda left=left: not left.exists(), "the answers")
    finally:
        stop.set()
        thread.join(60)
    assert len(swapped) > 10
    assert set(Turn.objects.values_list("outcome", "attempt")) == {("answered", 1)}
    assert Message.objects.filter(role="assistant").count() == 2 * asked
    after = dict(zip(list(swapped), list(swapped.values())[1:], strict=False))
    cited = Citation.objects.filter(external_id="redis").select_related("message")
    assert cited.count() == 2 * asked
    late = [
        c for c in cited if c.revision_id in after and c.message.created_at > after[c.revision_id]
    ]
    assert not late
    document = Document.objects.get(external_id="redis")
    assert indexing.drift() == 0 and document.chunks.count() == 1
    assert KnowledgeBase.objects.get().lexicon.chunks == Chunk.objects.count()
