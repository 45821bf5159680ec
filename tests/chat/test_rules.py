"""What staff set counts from the next turn on, however and wherever it was changed; and how often
a turn asks the database."""

import threading

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from chat import asking, rules, runner, turns
from chat.models import Conversation, EscalationPolicy, HttpTool, Topic

QUESTION = "数据库备份保存在哪个目录，保留多久？"


def elsewhere(change):
    """Make a change in another connection, as another process does."""

    def run():
        try:
            change()
        finally:
            connections["default"].close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_a_change_in_another_connection_counts_at_once(base):
    Topic.objects.create(name="故障", triggers=["宕机"])
    tool = HttpTool.objects.create(name="order", title="订单", description="?", url="http://x/")
    before = rules.now()
    assert rules.now() is before  # nothing is read again
    assert [one.name for one in before.topics_of([base])] == ["故障"]
    changes = [
        lambda: Topic.objects.update(triggers=["挂了"]),  # no save(), no signal
        lambda: Topic.objects.get().knowledge_bases.add(base),
        lambda: EscalationPolicy.objects.create(knowledge_base=base, abuse="go on"),
        lambda: EscalationPolicy.objects.filter(knowledge_base=base).update(abuse="offer"),
        lambda: HttpTool.objects.get().bases.add(base),
        lambda: HttpTool.objects.filter(pk=tool.pk).update(enabled=False),
        lambda: Topic.objects.all().delete(),
    ]
    for number, change in enumerate(changes):
        elsewhere(change)
        after = rules.now()
        assert after is not before, number
        before = after
    assert before.policy_of(base.pk).abuse == "offer"
    assert before.policy_of(None).abuse == "call"
    assert not before.tools and not before.topics


@pytest.mark.django_db(transaction=True)
def test_what_is_taken_back_never_counted(base):
    before = rules.now()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Topic.objects.create(name="故障", triggers=["宕机"])
        assert [one.name for one in rules.now().topics_of([base])] == ["故障"]
        raise ZeroDivisionError
    assert rules.now().digest == before.digest
    assert not rules.now().topics


@pytest.mark.django_db
def test_a_first_question_takes_so_many_statements(base):
    def answered(question):
        talk = Conversation.objects.create(visitor="w" * 32)
        with CaptureQueriesContext(connection) as said:
            asking.ask(talk, question)
        with CaptureQueriesContext(connection) as made:
            (turn,) = turns.claim_some(4)
            runner.make(turn, threading.Event())
        turn.refresh_from_db()
        return turn, len(said), len(made)

    answered("磁盘满了怎么办")  # what is read once a process
    turn, said, made = answered(QUESTION)
    assert turn.outcome == "answered" and "kept" not in turn.trace
    assert said <= 9 and made <= 27
    turn, said, made = answered(QUESTION)
    assert "kept" in turn.trace and made <= 24


@pytest.mark.django_db
def test_so_many_turns_as_there_is_room_for_are_claimed_at_once(base):
    talks = [Conversation.objects.create(visitor="w" * 32) for _ in range(3)]
    for talk in talks:
        asking.ask(talk, "一")
        asking.ask(talk, "二")
    assert [turn.message.text for turn in turns.claim_some(2)] == ["一", "一"]
    claimed = turns.claim_some(5)  # the second questions wait for the first
    assert [turn.conversation_id for turn in claimed] == [talks[2].pk]
    assert turns.claim_some(5) == []
