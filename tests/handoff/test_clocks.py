"""Promises count business hours while it is the team's turn; who waits is not left in silence."""

from datetime import datetime, time, timedelta

import pytest
from django.utils import timezone

from chat import asking
from chat.models import Conversation
from handoff import clocks, desk, queues, routing, waiting
from handoff.clocks import Clocks
from handoff.models import Agent, Calendar, Handoff, Hours, Membership, OwnershipChange, Team

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def at(text):
    """On Friday the 20th, or the day that `text` names."""
    text = text if "-" in text else f"2026-11-20 {text}"
    return datetime.fromisoformat(text).replace(tzinfo=timezone.get_default_timezone())


@pytest.fixture
def team():
    calendar = Calendar.objects.create(name="工作日")
    for weekday in range(5):
        Hours.objects.create(calendar=calendar, weekday=weekday, opens=time(9), closes=time(18))
    return Team.objects.create(name="运维", calendar=calendar)


@pytest.mark.parametrize(
    ("now", "left", "stands", "until"),
    [
        ("16:00", HOUR, "", "18:00"),
        ("17:30", -HOUR / 2, "", "18:00"),
        ("20:00", -HOUR, "closed", "2026-11-23 09:00"),
        ("2026-11-22 12:00", -HOUR, "closed", "2026-11-23 09:00"),
    ],
)
def test_a_clock_runs_in_business_hours(team, now, left, stands, until):
    handoff = Handoff(team=team, first_due=at("17:00"))
    (timer,) = Clocks(at(now)).of(handoff)
    assert (timer.promise, timer.left, timer.stands) == ("first", left, stands)
    assert timer.until == at(until)


def test_a_clock_stands_while_it_is_put_aside_and_loses_nothing(team):
    handoff = Handoff(team=team, first_due=at("12:00"), resolve_due=at("17:00"))
    clocks.pause(handoff, at("11:00"))
    handoff.snoozed_until = at("2026-11-23 10:00")
    asleep = Clocks(at("15:00")).of(handoff)
    assert [(one.left, one.stands) for one in asleep] == [(HOUR, "snoozed"), (6 * HOUR, "snoozed")]
    clocks.resume(handoff, at("2026-11-23 10:00"))  # 8 of its hours later
    awake = Clocks(at("2026-11-23 10:00")).of(handoff)
    assert [(one.left, one.stands) for one in awake] == [(HOUR, ""), (6 * HOUR, "")]
    assert handoff.first_due == at("2026-11-23 11:00")


def test_what_is_overdue_stays_overdue_by_as_much(team):
    handoff = Handoff(team=team, resolve_due=at("11:00"))
    clocks.pause(handoff, at("12:00"))
    clocks.resume(handoff, at("16:00"))
    assert [one.left for one in Clocks(at("16:00")).of(handoff)] == [-HOUR]


def test_an_answer_that_came_late_stays_late(team):
    handoff = Handoff(team=team, first_due=at("11:00"), replied_at=at("11:30"))
    clocks.pause(handoff, at("11:30"))
    clocks.resume(handoff, at("16:00"))
    assert handoff.first_due == at("11:00")


@pytest.fixture
def conversation(hire):
    made = Conversation.objects.create(visitor="v" * 32)
    ana, team = hire("ana"), Team.objects.create(
        name="运维", first_minutes=10, next_minutes=15, resolve_minutes=240
    )  # fmt: skip
    Membership.objects.create(team=team, agent=ana.agent)
    asking.ask(made, "磁盘满了", "m1")
    asking.call_human(made, "asked")
    return made


def timers(conversation):
    """{promise: (minutes left, why it stands)}."""
    told = queues.now_of(Conversation.objects.get(pk=conversation.pk))["timers"]
    return {one["promise"]: (round(one["left"] / 60), one["stands"]) for one in told}


def passed(minutes):
    """Let what stands have stood for so long."""
    earlier = timedelta(minutes=minutes)
    handoff = Handoff.objects.get()
    handoff.paused_at -= earlier
    handoff.resolve_due -= earlier
    handoff.save()


def test_the_customers_turn_costs_the_team_nothing(conversation, django_user_model):
    ana = django_user_model.objects.get()
    desk.claim(conversation, ana)
    assert timers(conversation) == {"first": (10, ""), "resolve": (240, "")}
    desk.reply(conversation, ana, "哪台机器？")
    passed(60)
    assert timers(conversation) == {"resolve": (240, "customer")}
    asking.ask(conversation, "node-17", "m2")
    assert timers(conversation) == {"next": (15, ""), "resolve": (240, "")}
    desk.reply(conversation, ana, "看一下")
    desk.snooze(conversation, ana, timezone.now() + HOUR)
    assert timers(conversation)["resolve"][1] == "customer"
    desk.snooze(conversation, ana, None)
    assert timers(conversation)["resolve"][1] == "customer"
    desk.snooze(conversation, ana, timezone.now() + HOUR)
    desk.transfer(conversation, ana)  # still the customer's turn, but put aside no longer
    assert timers(conversation)["resolve"] == (240, "customer")
    assert Handoff.objects.get().snoozed_until is None
    asking.ask(conversation, "满了的是 /var", "m3")
    assert timers(conversation) == {"next": (15, ""), "resolve": (240, "")}


def test_what_was_put_aside_wakes_by_itself(conversation, django_user_model, hints):
    ana = django_user_model.objects.get()
    desk.claim(conversation, ana)
    desk.snooze(conversation, ana, timezone.now() + HOUR)
    assert timers(conversation)["first"][1] == "snoozed"
    assert waiting.sweep() == 0
    Handoff.objects.update(snoozed_until=timezone.now())
    hints.clear()
    assert (waiting.sweep(), waiting.sweep()) == (1, 0)
    assert timers(conversation)["first"][1] == ""
    assert hints[-1][1] == {"type": "queue.changed"}


def events(conversation):
    found = conversation.messages.filter(role="system", public=True).order_by("seq")
    return [data["event"] for data in found.values_list("data", flat=True)]


def test_who_waits_is_told_when_nobody_is_there_any_more(conversation):
    assert (waiting.sweep(), events(conversation)) == (0, ["handoff_requested"])
    Agent.objects.update(on_duty=False)
    assert (waiting.sweep(), waiting.sweep()) == (1, 0)
    assert events(conversation) == ["handoff_requested", "nobody_on_duty"]


def test_who_was_told_at_once_is_not_told_again(hire):
    made = Conversation.objects.create(visitor="v" * 32)
    asking.call_human(made, "asked")
    assert waiting.sweep() == 0
    assert events(made) == ["nobody_on_duty"]


def test_who_waits_for_long_is_told_once_and_again_after_a_transfer(
    conversation, django_user_model, settings
):
    settings.HANDOFF_WAIT_MINUTES = 5
    ana, long_ago = django_user_model.objects.get(), timezone.now() - HOUR
    Handoff.objects.update(requested_at=long_ago)
    assert waiting.sweep() == 0  # queued just now
    OwnershipChange.objects.update(at=long_ago)
    assert (waiting.sweep(), waiting.sweep()) == (1, 0)
    desk.claim(conversation, ana)
    desk.transfer(conversation, ana)
    OwnershipChange.objects.update(at=long_ago)
    assert waiting.sweep() == 1
    assert events(conversation).count("still_waiting") == 2


def test_an_offer_that_passes_begins_no_new_wait(conversation, django_user_model, settings):
    settings.HANDOFF_WAIT_MINUTES = 5
    ana, long_ago = django_user_model.objects.get(), timezone.now() - HOUR
    Handoff.objects.update(requested_at=long_ago)
    OwnershipChange.objects.update(at=long_ago)
    desk.offer(conversation, ana, 30)
    desk.decline(conversation, ana)
    assert waiting.sweep() == 1  # the offer was made and passed just now
    desk.offer(conversation, ana, 30)
    desk.decline(conversation, ana)
    assert waiting.sweep() == 0
    assert events(conversation).count("still_waiting") == 1


def test_a_conversation_that_is_deleted_meanwhile_is_skipped(
    conversation, django_user_model, monkeypatch
):
    def deleted(*args):
        raise Conversation.DoesNotExist

    monkeypatch.setattr(waiting, "_tell_one", deleted)
    monkeypatch.setattr(desk, "wake", deleted)
    Agent.objects.update(on_duty=False)
    Handoff.objects.update(snoozed_until=timezone.now())
    assert waiting.sweep() == 0
    monkeypatch.setattr(desk, "left", deleted)
    monkeypatch.setattr(desk, "expire", deleted)
    desk.claim(conversation, django_user_model.objects.get())
    Agent.objects.update(seen_at=timezone.now() - HOUR)
    Conversation.objects.update(updated_at=timezone.now() - HOUR)
    assert routing.sweep() == 0


def test_a_sweep_has_an_end(hire, monkeypatch):
    monkeypatch.setattr(waiting, "AT_ONCE", 2)
    hire("ana")
    for _ in range(3):
        asking.call_human(Conversation.objects.create(visitor="v" * 32), "asked")
    Agent.objects.update(on_duty=False)
    assert [waiting.sweep() for _ in range(3)] == [2, 1, 0]
