"""Business hours: whether somebody should be there, and when a promise made now is due."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import holidays
from django.utils import timezone

from handoff.models import Calendar, SpecialDay

AHEAD = 60  # days: who is closed for longer promises nothing
MONDAY = 0
Span = tuple[datetime, datetime]


class Timetable:
    """The hours of a calendar, read once. Dates are those of the installation's time zone; times
    that are given back are UTC, whose hours are all of one length."""

    def __init__(self, calendar: Calendar | None, start: date) -> None:
        self.hours: dict[int, list[tuple[time, time]]] = {}
        self.special: dict[date, str] = {}
        if calendar is not None:
            for row in calendar.hours.all():
                self.hours.setdefault(row.weekday, []).append((row.opens, row.closes))
            days = calendar.special_days.filter(date__range=(start, start + timedelta(3 * AHEAD)))
            self.special = dict(days.values_list("date", "kind"))

    @property
    def always(self) -> bool:
        return not self.hours

    def day(self, day: date) -> list[tuple[time, time]]:
        """From when to when people are there on `day`."""
        kind = self.special.get(day)
        if kind == SpecialDay.Kind.CLOSED:
            return []
        weekday = MONDAY if kind == SpecialDay.Kind.WORKED else day.weekday()
        return self.hours.get(weekday, [])

    def spans(self, start: datetime) -> Iterator[Span]:
        """The open times from `start` on, as far as AHEAD."""
        zone, start = timezone.get_default_timezone(), start.astimezone(UTC)
        today = start.astimezone(zone).date()
        for n in range(AHEAD):
            day = today + timedelta(n)
            for opens, closes in self.day(day):
                first, last = (
                    datetime.combine(day, at, zone).astimezone(UTC) for at in (opens, closes)
                )
                if last > start:
                    yield max(first, start), last

    def opening(self, at: datetime) -> datetime | None:
        """When people are there next: `at` itself while they are."""
        if self.always:
            return at.astimezone(UTC)
        return next((first for first, _last in self.spans(at)), None)

    def after(self, at: datetime, left: timedelta) -> datetime | None:
        """When that much business time is over; None when not within AHEAD days."""
        if self.always:
            return at.astimezone(UTC) + left
        for first, last in self.spans(at):
            if first + left <= last:
                return first + left
            left -= last - first
        return None

    def between(self, start: datetime, end: datetime) -> timedelta:
        """The business time from `start` to `end`, as far as AHEAD days."""
        if self.always:
            return max(end.astimezone(UTC) - start.astimezone(UTC), timedelta())
        passed, end = timedelta(), end.astimezone(UTC)
        for first, last in self.spans(start):
            if first >= end:
                break
            passed += min(last, end) - first
        return passed

    def left(self, at: datetime, due: datetime) -> timedelta:
        """The business time until `due`; negative: since then."""
        return self.between(at, due) if due > at else -self.between(due, at)

    def turn(self, at: datetime) -> tuple[str, datetime | None]:
        """("", when they close) while people are there, else ("closed", when they open)."""
        if self.always:
            return "", None
        first, last = next(self.spans(at), (None, None))
        return ("", last) if first == at.astimezone(UTC) else ("closed", first)


def timetable(calendar: Calendar | None, at: datetime) -> Timetable:
    """The hours around `at`: AHEAD days before, twice as many after."""
    day = timezone.localtime(at, timezone.get_default_timezone()).date()
    return Timetable(calendar, day - timedelta(AHEAD))


def opening(calendar: Calendar | None, at: datetime) -> datetime | None:
    """When people are there next: `at` itself while they are; None when not within AHEAD days."""
    return timetable(calendar, at).opening(at)


def is_open(calendar: Calendar | None, at: datetime) -> bool:
    return opening(calendar, at) == at.astimezone(UTC)


def due(calendar: Calendar | None, at: datetime, minutes: int | None) -> datetime | None:
    """`minutes` of business hours after `at`; None when nothing is promised."""
    if minutes is None:
        return None
    return timetable(calendar, at).after(at, timedelta(minutes=minutes))


def bring_in(calendar: Calendar, year: int) -> int:
    """Write down the holidays of `calendar`'s country in `year`, and the weekends that are worked
    for them (调休); how many days. What staff wrote themselves stays as it is.

    Raises NotImplementedError for a country that the list has not.
    """
    known = holidays.country_holidays(calendar.country, years=year, language=_language(calendar))
    days = {day: (SpecialDay.Kind.CLOSED, name) for day, name in known.items()}
    for day in getattr(known, "weekend_workdays", ()):
        if day.year == year:
            days[day] = (SpecialDay.Kind.WORKED, "")
    calendar.special_days.filter(date__year=year, imported=True).delete()
    own = set(calendar.special_days.filter(date__year=year).values_list("date", flat=True))
    made = SpecialDay.objects.bulk_create(
        SpecialDay(calendar=calendar, date=day, kind=kind, name=name[:100], imported=True)
        for day, (kind, name) in sorted(days.items())
        if day not in own
    )
    return len(made)


def bring_in_all() -> None:
    """This year's and the next's, for every calendar that names a country; the list of a year is
    published late in the year before, so that it is looked at again every night."""
    this = timezone.localdate().year
    for calendar in Calendar.objects.exclude(country=""):
        for year in (this, this + 1):
            try:
                bring_in(calendar, year)
            except NotImplementedError:
                break


def _language(calendar: Calendar) -> str | None:
    return "zh_CN" if calendar.country == "CN" else None
