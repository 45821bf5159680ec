"""Promises count business hours while it is the team's turn; who waits is not left in silence."""

from datetime import datetime, time, timedelta

import pytest
from django.utils import timezone

from chat import asking
from chat.models import Conversation
from handoff import clocks, desk, queues, waiting
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
    desk.transfer(conversation, ana)  # whoever comes is to answer
    assert timers(conversation)["resolve"] == (240, "")


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
