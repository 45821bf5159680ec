"""Promises as clocks: they run in business hours while it is the team's turn.

They stand out of hours, while a conversation is put aside, and while its customer is to write.
`pause` notes since when, `resume` moves what is still due by the time that passed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from handoff.hours import Timetable, timetable
from handoff.models import Calendar, Handoff

DUE = ("first_due", "next_due", "resolve_due")
FIELDS = [*DUE, "paused_at", "with_customer", "snoozed_until"]  # what is changed here


@dataclass(frozen=True)
class Timer:
    """How long until a promise is broken."""

    promise: str  # first, next, resolve
    due: datetime  # if it ran on
    left: timedelta  # of business hours; negative: broken since
    stands: str  # why it does not run: closed, snoozed, customer
    until: datetime | None  # when it stands or runs again by itself


class Clocks:
    """The timers of many handoffs at one moment; the hours of a calendar are read once."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or timezone.now()
        self._tables: dict[int | None, Timetable] = {}

    def of(self, handoff: Handoff) -> list[Timer]:
        """Of the answer that is due and of the resolution, the nearer one first."""
        promises = ("next" if handoff.replied_at else "first", "resolve")
        timers = [self._timer(handoff, promise) for promise in promises]
        return sorted((one for one in timers if one), key=lambda timer: timer.left)

    def _timer(self, handoff: Handoff, promise: str) -> Timer | None:
        due: datetime | None = getattr(handoff, f"{promise}_due")
        if due is None:
            return None
        table = self._table(handoff.team.calendar if handoff.team else None)
        if since := handoff.paused_at:
            left = table.left(since, due)
            if handoff.with_customer:
                return Timer(promise, due, left, "customer", None)
            return Timer(promise, due, left, "snoozed", handoff.snoozed_until)
        stands, until = table.turn(self.now)
        return Timer(promise, due, table.left(self.now, due), stands, until)

    def _table(self, calendar: Calendar | None) -> Timetable:
        key = calendar.pk if calendar else None
        if key not in self._tables:
            self._tables[key] = timetable(calendar, self.now)
        return self._tables[key]


def pause(handoff: Handoff, at: datetime) -> None:
    """Its clocks stand from `at` on; the caller saves FIELDS."""
    handoff.paused_at = handoff.paused_at or at


def resume(handoff: Handoff, at: datetime) -> None:
    """They run again from `at` on: what was left then is left now. The caller saves FIELDS."""
    since, handoff.paused_at = handoff.paused_at, None
    handoff.with_customer, handoff.snoozed_until = False, None
    if since is None:
        return
    table = timetable(handoff.team.calendar if handoff.team else None, since)
    stood = table.between(since, at)
    # What was answered stays kept or broken.
    for name in DUE[bool(handoff.replied_at) :]:
        if due := getattr(handoff, name):
            setattr(handoff, name, table.after(due, stood) or due)


def wake(handoff: Handoff, at: datetime) -> None:
    """It is put aside no longer; its clocks run again unless its customer is to write. The caller
    saves FIELDS."""
    handoff.snoozed_until = None
    if not handoff.with_customer:
        resume(handoff, at)
