"""What a chart shows: drawn by static/evaluation/charts.js from the table that stands behind it.

`{% include "admin/evaluation/chart.html" with chart=chart %}` in the page, and once in its head
`{% include "admin/evaluation/charts_head.html" %}`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.utils.formats import number_format
from django.utils.translation import gettext as _

Kind = Literal["line", "bar", "stacked"]
Unit = Literal["", "share", "ms", "seconds"]


@dataclass(frozen=True)
class Series:
    """A line, or the bars of one kind; None where nothing was measured."""

    label: str
    values: Sequence[float | None]
    # Of the interval around each value, where there is one: (low, high).
    intervals: Sequence[tuple[float, float] | None] = ()


@dataclass(frozen=True)
class Chart:
    """`labels` name the places from left to right; every series has a value for each."""

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    kind: Kind = "line"
    unit: Unit = ""  # of values: "share" is 0–1 and shown in per cent
    goal: float | None = None  # a line across
    first: str = ""  # heads the column of the labels

    @property
    def empty(self) -> bool:
        return not any(value is not None for one in self.series for value in one.values)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table: [{"label", "cells": [{"value", "low", "high", "text"}]}]."""
        return [
            {"label": label, "cells": [self._cell(one, at) for one in self.series]}
            for at, label in enumerate(self.labels)
        ]

    def _cell(self, series: Series, at: int) -> dict[str, Any]:
        value = series.values[at]
        low, high = (series.intervals[at] if series.intervals else None) or (None, None)
        text = shown(value, self.unit)
        if low is not None and high is not None:
            text = f"{text} ({shown(low, self.unit)}–{shown(high, self.unit)})"
        return {"value": value, "low": low, "high": high, "text": text}

    @property
    def goal_text(self) -> str:
        return "" if self.goal is None else _("goal %(value)s") % {
            "value": shown(self.goal, self.unit)
        }  # fmt: skip


def shown(value: float | None, unit: Unit = "") -> str:
    """A number as people read it: "93.1 %", "1.2 s", "1,204"; "–" for None."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{_rounded(value * 100, 1)} %"
    if unit == "ms":
        if value < 1000:
            return f"{_rounded(value, 0)} ms"
        return shown(value / 1000, "seconds")
    if unit == "seconds":
        return f"{_rounded(value, 1 if value < 100 else 0)} s"
    return _rounded(value, 0 if float(value).is_integer() else 2 if abs(value) >= 1 else 4)


def _rounded(value: float, places: int) -> str:
    """`number_format` cuts off instead."""
    return number_format(round(value, places), places, force_grouping=True)
