"""Many who do the same at the same moment, on the real database."""

import threading
import time

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from chat import asking, turns
from chat.models import Conversation, Message, Turn
from chat.state import TurnState
from handoff import acting, desk, routing
from handoff.models import Agent, Handoff, OwnershipChange
from opsdesk.errors import Conflict
from opsdesk.sockets import Refused
from tests.handoff.conftest import check_invariants, check_loads

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 100


def agents(number, capacity):
    users = User.objects.bulk_create(
        User(username=f"agent{n}", is_staff=True) for n in range(number)
    )
    Agent.objects.bulk_create(
        Agent(user=user, on_duty=True, seen_at=timezone.now(), capacity=capacity) for user in users
    )
    return users


def waiting(number):
    conversations = [Conversation.objects.create(visitor="v" * 32) for _ in range(number)]
    for conversation in conversations:
        asking.call_human(conversation, "asked")
    return conversations


def at_once(*actions):
    """Run them in threads that start together; what each returned, or the Conflict it met."""
    barrier = threading.Barrier(len(actions))
    results = [None] * len(actions)

    def run(n, action):
        try:
            for each in range(len(action)):
                barrier.wait(60)
                try:
                    results[n] = [*(results[n] or []), action[each]()]
                except Conflict as conflict:
                    results[n] = [*(results[n] or []), conflict]
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_twenty_who_claim_at_once_one_wins_a_hundred_times():
    users, conversations = agents(20, capacity=ROUNDS), waiting(ROUNDS)
    results = at_once(
        *([lambda c=c, user=user: desk.claim(c, user) for c in conversations] for user in users)
    )
    for n, conversation in enumerate(conversations):
        won = [u for u, met in zip(users, results, strict=True) if isinstance(met[n], Handoff)]
        conversation.refresh_from_db()
        assert [conversation.owner] == won
    assert OwnershipChange.objects.filter(action="claim").count() == ROUNDS
    check_invariants(conversations[0])
    check_loads()


def test_nobody_gets_more_than_they_can_take():
    [user], conversations = agents(1, capacity=3), waiting(12)
    results = at_once(*([lambda c=c: desk.claim(c, user)] for c in conversations))
    assert sum(isinstance(met, Handoff) for [met] in results) == 3
    assert Conversation.objects.filter(owner=user).count() == 3
    check_loads()


def test_several_routers_offer_each_conversation_once():
    agents(4, capacity=2)
    waiting(12)
    at_once(*([routing.route] for _ in range(4)))
    assert Handoff.objects.filter(status="offered").count() == 8
    assert OwnershipChange.objects.filter(action="offer").count() == 8
    check_loads()


def test_an_answer_in_flight_when_a_person_steps_in_is_never_sent():
    [user] = agents(1, capacity=20)
    flying = []
    for _ in range(20):
        conversation = Conversation.objects.create(visitor="v" * 32)
        asking.ask(conversation, "磁盘满了怎么办")
        flying.append((turns.claim(), conversation))

    def answer(turn):
        state = TurnState(question="", bases=[]).end(Turn.Outcome.ANSWERED, "请清理日志")
        return lambda: turns.finish(turn, state)

    outcomes, _taken = at_once(
        [answer(turn) for turn, _ in flying],
        [lambda c=c: desk.take_over(c, user) for _, c in flying],
    )
    for outcome, (turn, conversation) in zip(outcomes, flying, strict=True):
        check_invariants(conversation)
        taken = OwnershipChange.objects.get(conversation=conversation, action="take_over").message
        answers = Message.objects.filter(conversation=conversation, role="assistant")
        assert not answers.filter(seq__gt=taken.seq).exists()
        turn.refresh_from_db()
        assert outcome == ("answered" if answers.exists() else "discarded")
        assert (turn.trace.get("draft") == "请清理日志") == (outcome == "discarded")
    late = Conversation.objects.create(visitor="v" * 32)
    asking.ask(late, "磁盘满了怎么办")
    turn = turns.claim()
    Agent.objects.update(capacity=21)
    desk.take_over(late, user)
    assert answer(turn)() == "discarded"


def waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


def behind(first, second):
    """`second` begins, in another thread, while the transaction of `first` is still open."""

    def late():
        try:
            second()
        finally:
            connection.close()

    thread = threading.Thread(target=late)
    with transaction.atomic():
        first()
        thread.start()
        until = time.monotonic() + 60
        while not waits_for_a_lock():
            assert time.monotonic() < until
            time.sleep(0.01)
    thread.join(60)


def test_who_waited_for_the_lock_reads_who_was_first():
    first, second = agents(2, 5)
    [conversation] = waiting(1)
    conversation.refresh_from_db()
    wanted = {"conversation": str(conversation.pk), "epoch": conversation.epoch, "id": "a1"}
    said = []

    def late():
        try:
            acting.act(second, "claim", wanted)
        except Refused as refused:
            said.append(str(refused))

    behind(lambda: desk.claim(conversation, first), late)
    assert len(said) == 1
    assert str(first) in said[0]


def test_who_takes_what_is_just_being_offered_gets_it():
    first, second = agents(2, 5)
    [conversation] = waiting(1)
    behind(lambda: desk.offer(conversation, first, 45), lambda: desk.claim(conversation, second))
    conversation.refresh_from_db()
    assert conversation.owner == second
    check_loads()
