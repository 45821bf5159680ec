"""The charts of operating figures."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

from django.utils.translation import gettext as _

from evaluation import operations
from evaluation.charts import Chart, Series
from evaluation.operations import Figures, Period

LONG = 100  # days; a longer time is drawn week by week
Value = Callable[[Figures], float | None]


def charts(period: Period) -> list[Chart]:
    """Volume, response times, shares and cost over the days of a period."""
    places, figures = _places(period, operations.daily(period))
    return [volume(places, figures), response(places, figures), shares(places, figures),
            *_costs(period, places)]  # fmt: skip


def recent(days: dict[date, Figures], period: Period) -> list[Chart]:
    """The two of the start page."""
    places, figures = _places(period, days)
    return [volume(places, figures), response(places, figures)]


def _places(
    period: Period, days: dict[date, Figures]
) -> tuple[list[list[date]], list[Figures | None]]:
    """The days, or weeks, from left to right, and what was counted in each."""
    length = 7 if len(period.days) > LONG else 1
    places = [period.days[at : at + length] for at in range(0, len(period.days), length)]
    return places, [_together([days[day] for day in place if day in days]) for place in places]


def _together(some: list[Figures]) -> Figures | None:
    if not some:
        return None
    counted = {name: sum(one.counted[name] for one in some) for name in operations.COUNTED}
    paces: dict[str, Sequence[float] | None] = {}
    for name in ("first", "whole"):
        held = [pace for one in some if (pace := one.paces.get(name)) is not None]
        paces[name] = [sum(counts) for counts in zip(*held, strict=True)] if held else None
    return Figures(counted, paces)


def _chart(
    title: str,
    places: list[list[date]],
    figures: list[Figures | None],
    series: dict[str, Value],
    kind: str = "line",
    unit: str = "",
) -> Chart:
    return Chart(
        title,
        labels(places),
        [
            Series(name, [value(one) if one else None for one in figures])
            for name, value in series.items()
        ],
        kind,  # type: ignore[arg-type]
        unit,  # type: ignore[arg-type]
        first=_("week from") if places and len(places[0]) > 1 else _("day"),
    )


def labels(places: list[list[date]]) -> list[str]:
    return [f"{place[0]:%m-%d}" for place in places]


def volume(places: list[list[date]], figures: list[Figures | None]) -> Chart:
    series: dict[str, Value] = {
        _("answered"): lambda one: one.answered,
        _("asked back"): lambda one: one.clarified,
        _("handed off"): lambda one: one.handed,
        _("failed"): lambda one: one.failed,
    }
    return _chart(_("Questions"), places, figures, series, "stacked")


def response(places: list[list[date]], figures: list[Figures | None]) -> Chart:
    series: dict[str, Value] = {
        _("first sentence, median"): lambda one: one.took("first"),
        _("whole answer, median"): lambda one: one.took("whole"),
        _("whole answer, 95 of 100"): lambda one: one.took("whole", 0.95),
    }
    return _chart(_("Response time"), places, figures, series, unit="ms")


def shares(places: list[list[date]], figures: list[Figures | None]) -> Chart:
    series: dict[str, Value] = {
        _("answered"): lambda one: one.answered_share,
        _("solved without a person"): lambda one: one.solved,
        _("answered as before (cache)"): lambda one: one.kept_share,
        _("rated as not helpful"): lambda one: one.bad_share,
    }
    return _chart(_("Shares"), places, figures, series, unit="share")


def _costs(period: Period, places: list[list[date]]) -> list[Chart]:
    made = []
    for currency, by_day in operations.daily_costs(period).items():
        values = [
            sum(found) if (found := [by_day[day] for day in place if day in by_day]) else None
            for place in places
        ]
        title = _("Cost, %(currency)s") % {"currency": currency}
        made.append(Chart(title, labels(places), [Series(currency, values)], "bar"))
    return made


def last(days: int, today: date, bases: tuple[int, ...] | None = None) -> Period:
    """The `days` that end with today."""
    return Period(today - timedelta(days=days - 1), today, {}, bases)
