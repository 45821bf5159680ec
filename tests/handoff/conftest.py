from itertools import pairwise

import pytest
from django.utils import timezone

from chat.models import Conversation
from handoff.models import Agent, Handoff
from opsdesk import realtime


@pytest.fixture
def hire(db, django_user_model):
    """An agent on duty: `hire("ana", capacity=2)` is the user."""

    def hire(name, **fields):
        user = django_user_model.objects.create_user(name, is_staff=True)
        Agent.objects.create(user=user, on_duty=True, seen_at=timezone.now(), **fields)
        return user

    return hire


@pytest.fixture
def hints(monkeypatch):
    """What is told to watchers: [(group, message)]."""
    told = []

    def publish(envelope):
        told.append((envelope["group"], envelope["message"]))

    monkeypatch.setattr(realtime, "_publish", publish)
    return told


def check_invariants(conversation):
    """What holds of a conversation between any two transactions."""
    conversation.refresh_from_db()
    changes = list(conversation.ownership_changes.select_related("message").order_by("epoch"))
    messages = list(conversation.messages.order_by("seq"))
    unfinished = Handoff.objects.unfinished().filter(conversation=conversation)
    # One owner; each change of hands raised the epoch by one, said so, and left a row.
    assert (conversation.owner is not None) == (conversation.state == "human")
    assert [change.epoch for change in changes] == list(range(1, conversation.epoch + 1))
    for change in changes:
        assert (change.message.role, change.message.epoch) == ("system", change.epoch)
        assert change.message.conversation_id == conversation.pk
        assert change.message.text
    for before, after in pairwise(changes):
        assert after.from_state == before.to_state
        assert after.message.seq > before.message.seq
    if changes:
        assert changes[-1].to_state == conversation.state
        held = changes[-1].holder_id
        assert held == conversation.owner_id or conversation.state == "offered"
    # What was said publicly was said by whose turn it was.
    states = {0: ("bot", None)} | {c.epoch: (c.to_state, c.holder_id) for c in changes}
    for message in messages:
        state, holder = states[message.epoch]
        if message.role == "assistant":
            assert state == "bot"
        if message.role == "agent" and message.public:
            assert (state, holder) == ("human", message.author_id)
    # Numbered without a gap, each said once.
    assert [m.seq for m in messages] == list(range(1, conversation.last_seq + 1))
    said = [m.client_msg_id for m in messages if m.client_msg_id]
    assert len(said) == len(set(said))
    # The handoff says the same as the conversation.
    statuses = {"queued": "waiting", "offered": "offered", "human": "taken"}
    expected = [statuses[conversation.state]] if conversation.state in statuses else []
    assert list(unfinished.values_list("status", flat=True)) == expected
    for handoff in unfinished:
        assert handoff.taken_by_id == conversation.owner_id


def check_loads():
    """Each agent has as many as are counted, and no more than they can take."""
    for agent in Agent.objects.all():
        owned = Conversation.objects.filter(owner=agent.user_id).count()
        offered = Handoff.objects.filter(status="offered", offered_to=agent.user_id).count()
        assert agent.load == owned + offered
        assert agent.load <= agent.capacity
