from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from handoff import hours
from handoff.models import Calendar, Hours, SpecialDay

pytestmark = pytest.mark.django_db


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.get_default_timezone())


@pytest.fixture
def calendar():
    calendar = Calendar.objects.create(name="工作日")
    for weekday in range(5):
        for opens, closes in ((9, 12), (13, 18)):
            Hours.objects.create(
                calendar=calendar, weekday=weekday, opens=time(opens), closes=time(closes)
            )
    return calendar


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-20 10:00", "2026-11-20 10:00"),  # a Friday
        ("2026-11-20 12:30", "2026-11-20 13:00"),
        ("2026-11-20 18:00", "2026-11-23 09:00"),
        ("2026-10-01 10:00", "2026-10-08 09:00"),  # National Day
        ("2026-10-10 10:00", "2026-10-10 10:00"),  # a Saturday that is worked for it
        ("2026-10-11 10:00", "2026-10-12 09:00"),
    ],
)
def test_when_people_are_there(calendar, now, opens):
    hours.bring_in(calendar, 2026)
    assert hours.opening(calendar, at(now)) == at(opens)
    assert hours.is_open(calendar, at(now)) == (now == opens)


@pytest.mark.parametrize(
    ("now", "minutes", "due"),
    [
        ("2026-11-20 11:50", 5, "2026-11-20 11:55"),
        ("2026-11-20 11:50", 30, "2026-11-20 13:20"),
        ("2026-11-20 17:50", 30, "2026-11-23 09:20"),
        ("2026-11-21 11:00", 8 * 60, "2026-11-23 18:00"),
        ("2026-11-20 11:50", 10**6, None),
    ],
)
def test_a_promise_pauses_out_of_hours(calendar, now, minutes, due):
    assert hours.due(calendar, at(now), minutes) == (at(due) if due else None)


def test_without_hours_it_is_always_open(calendar):
    calendar.hours.all().delete()
    now = timezone.now()
    assert hours.is_open(calendar, now)
    assert hours.is_open(None, now)
    assert hours.due(None, now, None) is None


def test_what_staff_wrote_is_kept(calendar):
    own = SpecialDay.objects.create(
        calendar=calendar, date=date(2026, 10, 1), kind="worked", name="值班"
    )
    assert hours.bring_in(calendar, 2026) > 20
    again = hours.bring_in(calendar, 2026)
    assert calendar.special_days.filter(imported=True).count() == again
    own.refresh_from_db()
    assert own.kind == "worked"
    assert calendar.special_days.get(date=date(2026, 2, 14)).kind == "worked"  # 调休
    calendar.country = "??"
    with pytest.raises(NotImplementedError):
        hours.bring_in(calendar, 2026)


def test_the_hour_that_comes_twice_is_open_and_counted(calendar, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    Hours.objects.create(calendar=calendar, weekday=6, opens=time(0), closes=time(23, 59))
    for hour, minute in ((0, 30), (1, 30)):  # 02:30, twice
        now = datetime(2026, 10, 25, hour, minute, tzinfo=UTC)
        assert hours.is_open(calendar, now)
        assert hours.is_open(calendar, timezone.localtime(now))
    local = timezone.localtime(datetime(2026, 10, 24, 22, 30, tzinfo=UTC))
    due = datetime(2026, 10, 25, 4, 30, tzinfo=UTC)
    assert hours.due(calendar, local, 360) == due
    assert hours.timetable(calendar, local).left(local, due) == timedelta(hours=6)


def test_hours_end_after_they_begin(calendar):
    with pytest.raises(IntegrityError), transaction.atomic():
        Hours.objects.create(calendar=calendar, weekday=6, opens=time(18), closes=time(9))
