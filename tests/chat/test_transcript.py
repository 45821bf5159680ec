import threading

import pytest
from django.db import connection

from chat import asking, transcript
from chat.models import Conversation, Message, Turn
from opsdesk.errors import Conflict


@pytest.fixture
def conversation(db):
    return Conversation.objects.create(visitor="v" * 32)


def test_messages_are_numbered_without_a_gap(conversation):
    seqs = [transcript.append(conversation.pk, "customer", str(n)).seq for n in range(3)]
    assert seqs == [1, 2, 3]
    conversation.refresh_from_db()
    assert conversation.last_seq == 3


def test_the_same_client_id_is_written_once(conversation):
    first = transcript.append(conversation.pk, "customer", "a", client_msg_id="x")
    again = transcript.append(conversation.pk, "customer", "b", client_msg_id="x")
    assert again == first
    assert conversation.messages.count() == 1


def test_a_message_of_an_older_epoch_is_refused(conversation):
    Conversation.objects.filter(pk=conversation.pk).update(epoch=2)
    with pytest.raises(Conflict):
        transcript.append(conversation.pk, "assistant", "late", epoch=1)
    assert not conversation.messages.exists()
    transcript.append(conversation.pk, "assistant", "in time", epoch=2)
    assert conversation.messages.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_writers_each_sending_twice_leave_no_gap_and_no_duplicate():
    conversation = Conversation.objects.create(visitor="v" * 32)
    barrier = threading.Barrier(10)

    def write(writer):
        barrier.wait()
        for n in range(5):
            for _again in range(2):
                transcript.append(conversation.pk, "customer", "x", client_msg_id=f"{writer}-{n}")
        connection.close()

    threads = [threading.Thread(target=write, args=[n]) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seqs = list(Message.objects.order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, 51))


def test_asking_writes_the_message_and_its_turn(conversation):
    message, turn = asking.ask(conversation, "磁盘满了怎么清理？", "1")
    assert (message.role, message.seq) == ("customer", 1)
    assert (turn.message, turn.epoch, turn.status) == (message, 0, Turn.Status.QUEUED)
    conversation.refresh_from_db()
    assert conversation.title == "磁盘满了怎么清理？"


def test_asking_twice_with_one_id_makes_one_turn(conversation):
    first = asking.ask(conversation, "磁盘满了", "1")
    assert asking.ask(conversation, "磁盘满了", "1") == first
    assert Turn.objects.count() == 1


@pytest.mark.parametrize("state", ["queued", "human"])
def test_no_turn_is_made_while_a_person_is_there_or_awaited(conversation, state, django_user_model):
    owner = django_user_model.objects.create(username="a") if state == "human" else None
    Conversation.objects.filter(pk=conversation.pk).update(state=state, owner=owner)
    message, turn = asking.ask(conversation, "还在吗")
    assert message.seq == 1
    assert turn is None
    assert not Turn.objects.exists()
