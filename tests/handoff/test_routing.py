from datetime import timedelta

import pytest
from django.utils import timezone

from chat import asking
from chat.models import Conversation
from handoff import desk, routing, waiting
from handoff.models import Agent, Calendar, Handoff, Hours, Membership, Team
from knowledge.models import KnowledgeBase
from opsdesk.errors import Conflict
from tests.handoff.conftest import check_invariants, check_loads

pytestmark = pytest.mark.django_db


def called(**fields):
    conversation = Conversation.objects.create(visitor="v" * 32, **fields)
    asking.call_human(conversation, "asked")
    return conversation


def offered():
    """Who has what on offer, in the order of the conversations."""
    found = Handoff.objects.filter(status="offered").order_by("conversation__created_at")
    return list(found.values_list("offered_to__username", flat=True))


def join(team, user, **fields):
    Membership.objects.create(team=team, agent=user.agent, **fields)


def test_the_least_loaded_gets_who_waited_longest(hire):
    ana, _ben = hire("ana", capacity=2), hire("ben", capacity=2)
    busy = called()
    desk.claim(busy, ana)
    waiting = [called() for _ in range(4)]
    assert routing.route() == 3
    assert offered()[0] == "ben"
    assert sorted(offered()) == ["ana", "ben", "ben"]
    states = [Conversation.objects.get(pk=c.pk).state for c in waiting]
    assert states == ["offered", "offered", "offered", "queued"]
    desk.resolve(busy, ana)
    assert routing.route() == 1
    check_loads()


def test_urgent_goes_first(hire):
    hire("ana", capacity=1)
    first, second = called(), called()
    desk.prioritise(second, Handoff.Priority.URGENT)
    routing.route()
    second.refresh_from_db()
    assert second.state == "offered"
    assert desk.standing(first)["waiting"] == 1


def test_a_base_leads_to_its_team_and_a_language_to_who_speaks_it(hire):
    base = KnowledgeBase.objects.create(slug="db", name="数据库")
    databases, others = Team.objects.create(name="数据库组"), Team.objects.create(name="其他")
    databases.bases.add(base)
    ana, ben, eve = hire("ana"), hire("ben", skills=["en"]), hire("eve")
    for team, user in ((databases, ana), (databases, ben), (others, eve)):
        join(team, user)
    called(knowledge_base=base, language="en")
    called()
    routing.route()
    assert offered() == ["ben", "eve"]
    called(knowledge_base=base, language="fr")  # nobody has it: anybody of the team
    routing.route()
    assert offered()[-1] == "ana"


def test_an_offer_that_nobody_answers_goes_on_to_the_next(hire):
    ana, ben = hire("ana"), hire("ben")
    conversation = called()
    routing.route()
    assert offered() == ["ana"]
    with pytest.raises(Conflict):
        desk.expire(conversation)  # it is not over yet
    with pytest.raises(Conflict):
        desk.accept(conversation, ben)
    Handoff.objects.update(offered_until=timezone.now())
    with pytest.raises(Conflict):
        desk.accept(conversation, ana)  # too late
    routing.sweep()
    assert offered() == ["ben"]
    desk.decline(conversation, ben)
    routing.sweep()
    conversation.refresh_from_db()
    assert conversation.state == "queued"  # to nobody a second time
    routing.duty(ben, on=True)
    routing.route()
    assert offered() == ["ben"]  # unless they come on duty again
    desk.claim(conversation, ana)
    assert conversation.messages.filter(public=True).count() == 2  # called, taken
    check_invariants(conversation)
    check_loads()


def test_a_colleague_gets_it_on_offer_and_the_note_stays_inside(hire):
    ana, ben = hire("ana"), hire("ben")
    conversation = called()
    desk.claim(conversation, ana)
    desk.transfer(conversation, ana, to=ben, text="客户要发票")
    assert offered() == ["ben"]
    desk.accept(conversation, ben)
    assert conversation.messages.get(text="客户要发票").public is False
    check_invariants(conversation)
    check_loads()


def test_only_supervisors_assign(hire):
    team = Team.objects.create(name="一线")
    ana, ben, eve = hire("ana"), hire("ben"), hire("eve", capacity=0)
    join(team, ana, leads=True)
    join(team, ben)
    conversation = called()
    with pytest.raises(Conflict):
        desk.assign(conversation, ben, by=ben)
    with pytest.raises(Conflict):
        desk.assign(conversation, eve, by=ana)  # has no room
    desk.assign(conversation, ben, by=ana)
    conversation.refresh_from_db()
    assert conversation.owner == ben
    desk.assign(conversation, ana, by=ana)
    check_invariants(conversation)
    check_loads()


def test_who_is_gone_leaves_nobody_waiting(hire, settings):
    ana, ben = hire("ana"), hire("ben")
    conversation = called()
    desk.claim(conversation, ana)
    long_ago = timezone.now() - timedelta(minutes=settings.HANDOFF_GONE_MINUTES + 1)
    Agent.objects.filter(user=ana).update(seen_at=long_ago)
    Conversation.objects.update(updated_at=long_ago)
    stale = Conversation.objects.get(pk=conversation.pk)
    routing.sweep()
    assert offered() == ["ben"]
    desk.accept(conversation, ben)
    with pytest.raises(Conflict):
        desk.left(stale)  # it changed hands since
    check_invariants(conversation)


def gone(user):
    """Nobody has seen them, or heard of their conversations, for an hour."""
    past = timezone.now() - timedelta(hours=1)
    Agent.objects.filter(user=user).update(seen_at=past)
    Conversation.objects.update(updated_at=past)


def test_a_sweep_ends_and_frees_some_at_once(hire, monkeypatch):
    monkeypatch.setattr(routing, "AT_ONCE", 1)
    ana = hire("ana")
    for _ in range(2):
        desk.claim(called(), ana)
    gone(ana)
    for left in (1, 0):
        routing.sweep()
        assert Conversation.objects.filter(state="human").count() == left


def test_who_is_gone_keeps_what_is_put_aside_until_it_wakes(hire):
    ana = hire("ana")
    conversation = called()
    desk.claim(conversation, ana)
    desk.snooze(conversation, ana, timezone.now() + timedelta(hours=14))
    gone(ana)
    assert routing.sweep() == 0
    Handoff.objects.update(snoozed_until=timezone.now())
    waiting.sweep()
    assert routing.sweep() == 1
    conversation.refresh_from_db()
    assert conversation.state == "queued"


def test_who_is_gone_keeps_what_the_customer_is_to_answer(hire):
    ana = hire("ana")
    conversation = called()
    desk.claim(conversation, ana)
    desk.reply(conversation, ana, "哪台机器？")
    gone(ana)
    assert routing.sweep() == 0
    asking.ask(conversation, "node-17")
    gone(ana)
    assert routing.sweep() == 1
    check_invariants(conversation)


def test_another_team_brings_its_skills_and_promises(hire):
    first = Team.objects.create(name="一线", first_minutes=5, resolve_minutes=60)
    second = Team.objects.create(name="二线", next_minutes=20, resolve_minutes=600)
    ana, ben = hire("ana", skills=["en"]), hire("ben")
    join(first, ana)
    join(second, ben)
    conversation = called(language="en")
    desk.claim(conversation, ana)
    desk.reply(conversation, ana, "Please wait")
    before = Handoff.objects.get()
    assert before.skills == ["en"]
    desk.transfer(conversation, ana, team=second)
    after = Handoff.objects.get()
    assert (after.skills, after.first_due, after.next_due) == ([], before.first_due, None)
    assert after.resolve_due - timezone.now() > timedelta(minutes=599)
    assert routing.route() == 1
    assert offered() == ["ben"]
    asking.ask(conversation, "Still down")
    assert Handoff.objects.get().next_due - timezone.now() > timedelta(minutes=19)


def test_snoozed_until_the_customer_writes(hire):
    ana = hire("ana")
    conversation = called()
    desk.claim(conversation, ana)
    with pytest.raises(Conflict):
        desk.snooze(conversation, ana, timezone.now())
    desk.snooze(conversation, ana, timezone.now() + timedelta(hours=1))
    assert Handoff.objects.snoozed().count() == 1
    asking.ask(conversation, "还在吗")
    assert Handoff.objects.snoozed().count() == 0


def test_what_was_promised_is_due_in_business_hours(hire):
    calendar = Calendar.objects.create(name="工作日")
    team = Team.objects.create(name="一线", calendar=calendar, first_minutes=30, next_minutes=10)
    ana = hire("ana")
    join(team, ana)
    conversation = called()
    handoff = Handoff.objects.get()
    assert handoff.first_due - handoff.requested_at < timedelta(minutes=31)
    assert handoff.resolve_due is None
    desk.claim(conversation, ana)
    desk.reply(conversation, ana, "请稍等")
    assert Handoff.objects.get().next_due is None
    asking.ask(conversation, "好的")
    assert Handoff.objects.get().next_due > timezone.now()
    tomorrow = timezone.localdate() + timedelta(days=1)
    Hours.objects.create(
        calendar=calendar, weekday=tomorrow.weekday(), opens="09:00", closes="10:00"
    )
    closed = called()
    assert "09:00" in closed.messages.get().text
    assert not desk.standing(closed)["staffed"]
    assert routing.route() == 0  # nobody is woken
    due = timezone.localtime(closed.handoffs.get().first_due)
    assert (due.date(), f"{due:%H:%M}") == (tomorrow, "09:30")
