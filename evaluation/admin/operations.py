"""The page of operating figures, and what models cost."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import degrading
from chat.models import Conversation
from evaluation import operations, trends
from evaluation.charts import shown
from evaluation.models import Price, Tally
from evaluation.operations import DIMENSIONS, Figures, Period
from knowledge.admin.entries import download
from knowledge.models import KnowledgeBase
from opsdesk.admin import ReadOnlyAdmin

LENGTHS = (7, 30, 90, 365)
BY = (
    ("base", gettext_lazy("knowledge base")),
    ("topic", gettext_lazy("topic")),
    ("document", gettext_lazy("document")),
    ("model", gettext_lazy("model")),
    ("prompt", gettext_lazy("prompt version")),
    ("configuration", gettext_lazy("configuration")),
    ("channel", gettext_lazy("channel")),
)

# What the prompts of a turn are for, by how their names begin.
PROMPTED = {
    "understand": gettext_lazy("understanding"),
    "tool": gettext_lazy("choosing a tool"),
    "answer": gettext_lazy("writing the answer"),
    "judge": gettext_lazy("second look at the answer"),
}


def _tomorrow() -> date:
    return timezone.localdate() + timedelta(days=1)


def _day(label: Any) -> forms.DateField:
    return forms.DateField(
        label=label,
        widget=forms.DateInput(attrs={"type": "date"}),
        validators=[MinValueValidator(date(2000, 1, 1)), MaxValueValidator(_tomorrow)],
    )


class PeriodForm(forms.Form):
    """Which days, and what of them; what is no choice is left out."""

    first = _day(gettext_lazy("first day"))
    last = _day(gettext_lazy("last day"))

    def __init__(self, data: Any, user: Any) -> None:
        today = timezone.localdate()
        begin = today - timedelta(days=operations.DAYS - 1)
        given = {"first": begin.isoformat(), "last": today.isoformat(), **data.dict()}
        super().__init__(given)
        self.user = user

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        first, last = values.get("first"), values.get("last")
        if first and last and first > last:
            raise forms.ValidationError(_("The first day has to be before the last."))
        if first and last and (last - first).days >= operations.LONGEST:
            text = _("No more than %(days)d days at once.") % {"days": operations.LONGEST}
            raise forms.ValidationError(text)
        return values

    def period(self) -> Period:
        """What is asked for; of a wrong question the last days."""
        user, today = self.user, timezone.localdate()
        seen = None
        if not operations.may_view_all(user):
            seen = tuple(operations.bases(user).values_list("pk", flat=True))
        if not self.is_valid():
            return trends.last(operations.DAYS, today, seen)
        of = {name: str(self.data.get(name, "")).replace("\0", "")[:200] for name in DIMENSIONS}
        wanted: dict[str, Any] = {name: value for name, value in of.items() if value}
        if not wanted.get("base", "0").isdecimal() or len(wanted.get("base", "")) > 18:
            del wanted["base"]
        return Period(self.cleaned_data["first"], self.cleaned_data["last"], wanted, seen)


@admin.register(Tally)
class TallyAdmin(ReadOnlyAdmin):
    """One page of figures, in the place of a list of rows."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return operations.may_view_all(request.user) or operations.bases(request.user).exists()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def change_view(self, request: HttpRequest, *args: Any, **kw: Any) -> HttpResponse:
        raise PermissionDenied  # a row by itself says nothing

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if request.method != "GET" or not self.has_view_permission(request):
            raise PermissionDenied
        form = PeriodForm(request.GET, request.user)
        period = form.period()
        by = request.GET.get("by", "")
        by = by if by in dict(BY) else "base"
        if request.GET.get("export") == "csv":
            return download(_exported(period, by), "opsdesk", "csv")
        context = {
            **self.admin_site.each_context(request),
            "title": _("Operating figures"),
            "opts": self.opts,
            "form": form,
            "period": period,
            "lengths": [
                (days, timezone.localdate() - timedelta(days=days - 1)) for days in LENGTHS
            ],
            "today": timezone.localdate(),
            "filters": list(_filters(period)),
            "since": operations.counted_since(),
            "by": by,
            "tabs": BY,
            **_content(period, by),
        }
        return TemplateResponse(request, "admin/evaluation/operations.html", context)


def _content(period: Period, by: str) -> dict[str, Any]:
    made, before = operations.overview(period), operations.overview(period.before())
    costs = operations.costs(period)
    amounts = operations.amounts(costs)
    used, rate = operations.used(period), operations.rate(period, made.turns)
    labels = degrading.labels()
    return {
        "made": made,
        "numbers": list(_numbers(made, before)),
        "rate": rate,
        "used": used,
        "used_share": shown(used.share, "share"),
        "charts": trends.charts(period) if made.turns else [],
        "steps": list(_steps(made)),
        "costs": [(one, PROMPTED.get(one.step, one.step), shown(one.tokens_in),
                   shown(one.tokens_out), shown(one.median, "ms"), shown(one.p95, "ms"))
                  for one in costs],
        "amounts": [(currency, f"{amount:.2f}") for currency, amount in amounts.items()],
        "unpriced": sorted({one.model for one in costs if one.price is None}),
        "tools": [(one, shown(one.share, "share"), shown(one.seconds, "seconds"),
                   shown(one.slowest, "seconds")) for one in operations.tools(period)],
        "degraded": [
            (labels.get(name, name), number, shown(number / made.asked, "share"))
            for name, number in sorted(operations.degraded(period).items())
            if made.asked
        ],
        "head": _head(by),
        "rows": _rows(period, by),
    }  # fmt: skip


def _numbers(made: Figures, before: Figures) -> Iterator[dict[str, Any]]:
    """The figures on top, each with what it was in the time before."""
    first, whole = (made.took("first", 0.95), before.took("first", 0.95)), (
        made.took("whole", 0.95), before.took("whole", 0.95))  # fmt: skip
    for label, value, earlier, unit in (
        (_("questions"), made.asked, before.asked, ""),
        (_("answered"), made.answered_share, before.answered_share, "share"),
        (_("solved without a person"), made.solved, before.solved, "share"),
        (_("handed off"), made.handed, before.handed, ""),
        (_("failed"), made.failed, before.failed, ""),
        (_("answered as before (cache)"), made.kept_share, before.kept_share, "share"),
        (_("rated as not helpful"), made.bad_share, before.bad_share, "share"),
        (_("first sentence, median"), made.took("first"), before.took("first"), "ms"),
        (_("first sentence, 95 of 100"), *first, "ms"),
        (_("whole answer, 95 of 100"), *whole, "ms"),
    ):  # fmt: skip
        yield {"label": label, "value": shown(value, unit), "before": shown(earlier, unit)}  # type: ignore[arg-type]


def _steps(made: Figures) -> Iterator[tuple[str, int, str, str, str]]:
    """Of each step: how often, and how long for half, most and nearly all."""
    names = {
        "waited": _("until it is begun"),
        "clarify": _("understanding"),
        "recall": _("searching"),
        "answer": _("writing the answer"),
        "escalate": _("calling a person"),
        "first": _("first sentence shown"),
        "whole": _("whole answer shown"),
    }
    for name, label in names.items():
        times = [shown(made.took(name, share), "ms") for share in (0.5, 0.9, 0.95)]
        yield label, made.timed(name), *times  # type: ignore[misc]


def _filters(period: Period) -> Iterator[dict[str, Any]]:
    """What can be chosen of each dimension in the time."""
    labels = dict(BY)
    bases = KnowledgeBase.objects.in_bulk() if period.bases is None else (
        KnowledgeBase.objects.in_bulk(period.bases)
    )  # fmt: skip
    for name in DIMENSIONS:
        values = operations.choices(period, name)
        chosen = str(period.of.get(name, ""))
        if not values and not chosen:
            continue
        options = [(str(one), _named(name, one, bases)) for one in values]
        yield {"name": name, "label": labels[name], "options": options, "chosen": chosen}


def _named(dimension: str, value: Any, bases: dict[int, KnowledgeBase]) -> str:
    if dimension == "base":
        return str(bases.get(value) or _("none, or several"))
    if dimension == "channel":
        return str(dict(Conversation.Channel.choices).get(value, value))
    empty = {"model": _("without a model"), "configuration": _("settings of the environment")}
    return str(value or empty.get(dimension, "–"))


# --- one row a value --------------------------------------------------------------------


def _head(by: str) -> list[str]:
    if by == "document":
        return [_("document"), _("found by search"), _("cited"), _("rated"), _("not helpful"),
                _("judged"), _("wrong")]  # fmt: skip
    return [
        str(dict(BY)[by]), _("questions"), _("answered"), _("solved without a person"),
        _("handed off"), _("failed"), _("cache"), _("not helpful"), _("right of those judged"),
        _("first sentence, median"), _("whole answer, 95 of 100"),
    ]  # fmt: skip


def _rows(period: Period, by: str) -> list[list[str]]:
    if by == "document":
        rows = operations.documents(period).order_by("-n_cited", "-n_found", "document")
        names = ("n_found", "n_cited", "n_rated", "n_bad", "n_judged", "n_wrong")
        return [
            [row["document__title"], *(shown(row[name]) for name in names)]
            for row in rows[: operations.MANY]
        ]
    bases = KnowledgeBase.objects.in_bulk()
    return [[_named(by, value, bases), *_cells(one)] for value, one in operations.by(period, by)]


def _cells(one: Figures) -> list[str]:
    return [
        shown(one.asked), shown(one.answered_share, "share"), shown(one.solved, "share"),
        shown(one.handed), shown(one.failed), shown(one.kept_share, "share"),
        shown(one.bad_share, "share"), shown(one.right_share, "share"),
        shown(one.took("first"), "ms"), shown(one.took("whole", 0.95), "ms"),
    ]  # fmt: skip


def _exported(period: Period, by: str) -> Iterator[list[str]]:
    """The table that is shown, and under it the days."""
    yield [_("first day"), f"{period.first}", _("last day"), f"{period.last}"]
    yield _head(by)
    yield from _rows(period, by)
    yield []
    yield [_("day"), *_head("base")[1:]]
    for day, one in sorted(operations.daily(period).items()):
        yield [_iso(day), *_cells(one)]


def _iso(day: date) -> str:
    return day.isoformat()


@admin.register(Price)
class PriceAdmin(admin.ModelAdmin):
    list_display = ["model", "per_million_in", "per_million_out", "currency"]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, str | list[str]]:
        return {"model": request.GET.get("model", "")}
