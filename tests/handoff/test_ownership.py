"""Whatever people, customers, the model and the clock do in whatever order, a conversation has
one owner, and what is said in it is said by them."""

import os
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django_q.models import OrmQ
from hypothesis import settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from chat import asking, turns
from chat.models import Conversation, Message, Turn
from chat.state import TurnState
from handoff import desk, routing
from handoff.models import Agent, Handoff, Team
from opsdesk.errors import Conflict
from tests.handoff.conftest import check_invariants, check_loads

pytestmark = pytest.mark.django_db

SAID = ["请清理日志", "已为您转接人工客服，请稍候。", "TRANSFER_TO_HUMAN", '{"action": "handoff"}']
which = strategies.integers(0, 1)
who = strategies.integers(0, 2)
ACTIONS = {
    "claim": desk.claim,
    "accept": desk.accept,
    "decline": desk.decline,
    "take_over": desk.take_over,
    "return_to_bot": desk.return_to_bot,
    "resolve": desk.resolve,
    "transfer": lambda c, agent: desk.transfer(c, agent, text="请接手"),
    "snooze": lambda c, agent: desk.snooze(c, agent, timezone.now() + timedelta(hours=1)),
    "reply": lambda c, agent: desk.reply(c, agent, "看过了"),
    "note": lambda c, agent: desk.note(c, agent, "同事请看"),
}


class Desk(RuleBasedStateMachine):
    @initialize()
    def open(self):
        self.undo = transaction.atomic()
        self.undo.__enter__()
        self.agents = [User.objects.create(username=f"m{n}", is_staff=True) for n in range(3)]
        for agent, capacity in zip(self.agents, (1, 1, 2), strict=True):
            Agent.objects.create(
                user=agent, on_duty=True, seen_at=timezone.now(), capacity=capacity
            )
        self.root = User.objects.create_superuser("machine")
        self.team = Team.objects.create(name="machine", first_minutes=5, next_minutes=5)
        self.conversations = [Conversation.objects.create(visitor="v" * 32) for _ in range(2)]
        self.flying = []  # turns that a runner is making
        self.seen = {c.pk: [] for c in self.conversations}  # what a page has of each
        self.acknowledged = []

    def teardown(self):
        if hasattr(self, "undo"):
            transaction.set_rollback(True)
            self.undo.__exit__(None, None, None)

    def attempt(self, action, *args, **kwargs):
        before = Conversation.objects.values_list("epoch", flat=True).order_by("pk")
        epochs, tasks = list(before), OrmQ.objects.count()
        queued = Conversation.objects.filter(state="queued").values_list("pk", flat=True)
        waiting = set(queued)
        try:
            with transaction.atomic():
                action(*args, **kwargs)
        except Conflict as refused:
            assert str(refused)
            assert list(before.all()) == epochs  # who is refused changed nothing
            assert OrmQ.objects.count() == tasks  # and nothing will be done elsewhere
        else:
            # What a worker is to do is a row of the same transaction.
            assert OrmQ.objects.count() > tasks or not set(queued.all()) - waiting

    @rule(n=which, again=strategies.booleans())
    def customer_writes(self, n, again):
        name = f"c{len(self.acknowledged) - again}"
        message, _turn = asking.ask(self.conversations[n], "磁盘满了怎么办", name)
        if message.conversation_id == self.conversations[n].pk:
            self.acknowledged.append(message.pk)

    @rule(n=which)
    def customer_calls_a_person(self, n):
        with transaction.atomic():
            asking.call_human(self.conversations[n], "asked")

    @rule(n=which)
    def customer_waits_no_longer(self, n):
        self.attempt(asking.withdraw, self.conversations[n])

    @rule()
    def model_begins(self):
        if turn := turns.claim():
            self.flying.append(turn)

    @rule(person=strategies.booleans(), text=strategies.sampled_from(SAID))
    def model_answers(self, person, text):
        """Whether a person is called is a field of the answer, whatever its words say."""
        if self.flying:
            turn = self.flying.pop(0)
            epoch = Conversation.objects.get(pk=turn.conversation_id).epoch
            state = TurnState(question=turn.message.text, bases=[])
            if person:
                state.call_person("asked").end(Turn.Outcome.HANDOFF, "")
            else:
                state.end(Turn.Outcome.ANSWERED, text)
            called = Handoff.objects.count()
            # Who waits no longer has what was still to be answered made anew.
            held = Turn.objects.filter(pk=turn.pk, status="running", attempt=turn.attempt).first()
            outcome = turns.finish(turn, state)
            assert (outcome == "") == (held is None)
            assert (outcome == Turn.Outcome.DISCARDED) == bool(held and epoch != held.epoch)
            kept = bool(held and epoch == held.epoch)
            assert Handoff.objects.count() - called == (person and kept)

    @rule(n=which, m=who, action=strategies.sampled_from(sorted(ACTIONS)))
    def an_agent_does(self, n, m, action):
        self.attempt(ACTIONS[action], self.conversations[n], self.agents[m])

    @rule(n=which, m=who, to=who)
    def an_agent_hands_on(self, n, m, to):
        self.attempt(desk.transfer, self.conversations[n], self.agents[m], to=self.agents[to])

    @rule(n=which, m=who)
    def an_agent_hands_to_a_team(self, n, m):
        self.attempt(desk.transfer, self.conversations[n], self.agents[m], team=self.team)

    @rule(n=which, m=who, root=strategies.booleans())
    def a_supervisor_assigns(self, n, m, root):
        self.conversations[n].refresh_from_db()
        by = self.root if root else self.agents[0]
        self.attempt(desk.assign, self.conversations[n], self.agents[m], by=by)

    @rule()
    def routing_runs(self):
        routing.route()

    @rule()
    def offers_run_out(self):
        past = timezone.now() - timedelta(seconds=1)
        Handoff.objects.filter(status="offered").update(offered_until=past)
        routing.sweep()

    @rule(m=who)
    def an_agent_is_gone(self, m):
        past = timezone.now() - timedelta(hours=1)
        Conversation.objects.update(updated_at=past)
        Agent.objects.filter(user=self.agents[m]).update(seen_at=past)
        routing.sweep()
        kept = Handoff.objects.filter(conversation__owner=self.agents[m])
        assert not kept.filter(snoozed_until=None, with_customer=False).exists()

    @rule(m=who)
    def an_agent_is_back(self, m):
        Agent.objects.filter(user=self.agents[m]).update(seen_at=timezone.now())

    @rule(n=which)
    def the_page_catches_up(self, n):
        """Only now and then is a hint heard; everything after the last number is asked for."""
        pk = self.conversations[n].pk
        seen = self.seen[pk]
        after = seen[-1][0] if seen else 0
        shown = Message.objects.filter(conversation=pk, public=True)
        seen += shown.filter(seq__gt=after).order_by("seq").values_list("seq", "text")
        assert seen == list(shown.order_by("seq").values_list("seq", "text"))

    @invariant()
    def holds(self):
        if not hasattr(self, "conversations"):
            return
        for conversation in self.conversations:
            check_invariants(conversation)
        check_loads()
        assert Message.objects.filter(pk__in=self.acknowledged).count() == len(
            set(self.acknowledged)
        )
        queued = [c for c in self.conversations if c.state == "queued"]
        assert not queued or OrmQ.objects.exists()  # routing is queued in the same transaction


def test_every_order_of_events():
    """With HYPOTHESIS_EXAMPLES more of them than fit into the suite."""
    examples = int(os.environ.get("HYPOTHESIS_EXAMPLES", "5"))
    run_state_machine_as_test(
        Desk, settings=settings(max_examples=examples, stateful_step_count=20)
    )
