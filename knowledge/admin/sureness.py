"""Curators choose how sure a base must be, and see before what it brings and costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.defaultfilters import floatformat
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from knowledge import calibrating, calibration, permissions
from knowledge.admin import finding
from knowledge.calibrating import Bin, Fit, Share
from knowledge.models import KnowledgeBase

TARGET = 90  # per cent, until staff choose another
HISTORY = 20  # calibrations shown
WIDTH, HEIGHT = 320, 180  # of a drawing, in its own units
DOT = 9  # its largest


class TargetForm(forms.Form):
    target = forms.IntegerField(
        label=gettext_lazy("Of 100 answers, how many must be right?"),
        min_value=50,
        max_value=99,
        widget=forms.NumberInput(attrs={"step": 1}),
    )


@dataclass(frozen=True)
class Expected:
    """What the shipped model did on questions about a base it was not fitted to."""

    kind: Any  # translated when it is shown
    answered: float
    right: float


# docs/retrieval.md, "How sure it is": left out of the fitting.
EXPECTED = (
    Expected(gettext_lazy("manuals, asked about other products too"), 0.24, 0.96),
    Expected(gettext_lazy("encyclopedia, half of it missing"), 0.45, 0.92),
    Expected(gettext_lazy("news that lacks just the fact that is asked"), 0.75, 0.51),
)


@require_safe
def sureness_view(request: HttpRequest, pk: int) -> HttpResponse:
    base = finding.base_for(request, pk, "view")
    used = calibration.in_use(base)
    wanted = request.GET.get("target") or (round(used.target * 100) if used else TARGET)
    form = TargetForm({"target": wanted})
    labels = calibrating.labels(base)
    history = base.calibrations.select_related("by")[:HISTORY]
    context = {
        **finding.context_of(request, base, _("How sure it must be: %(base)s") % {"base": base}),
        "used": used,
        "form": form,
        "threshold": settings.ANSWER_CONFIDENCE,
        "asked": len(labels),
        "older": calibrating.older(base),
        "judged": sum(label.right is not None for label in labels),
        "lacking": calibrating.lacking(labels),
        "expected": EXPECTED,
        "history": history,
        "fitting": {one.pk for one in history if calibration.fits(one)},
        "may_change": permissions.may(request.user, "change", base),
        "turns": request.user.has_perm("chat.view_turn") and reverse("admin:chat_turn_changelist"),
        "width": WIDTH,
        "height": HEIGHT,
    }
    if not context["lacking"]:
        fitted = calibrating.fit(labels)
        context |= _preview(fitted, calibrating.now(labels, fitted, used), form)
        if context["then"]:
            target = form.cleaned_data["target"] / 100
            context["trial"] = calibrating.trial(labels, target, used)
    return TemplateResponse(request, "admin/knowledge/knowledgebase/sureness.html", context)


def _preview(fitted: Fit, now: Share, form: TargetForm) -> dict[str, Any]:
    """What is now, what would be, and the drawings of both."""
    target = form.cleaned_data["target"] / 100 if form.is_valid() else None
    then = fitted.reaching(target) if target else None
    return {
        "base_rate": fitted.base_rate,
        "now": now,
        "then": then,
        "unreachable": calibrating.unreachable(fitted, target) if target and not then else "",
        "curve": _line(fitted.curve),
        "now_at": _place(now),
        "then_at": _place(then) if then else None,
        "target_at": f"{_y(target):.1f}" if target else None,
        "dots": [_dot(one, fitted.bins) for one in fitted.bins],
    }


def _line(shares: Sequence[Share]) -> str:
    """Precision over coverage, as the points of a polyline."""
    places = [_place(one) for one in shares]
    return " ".join(f"{place['x']},{place['y']}" for place in places if place)


def _place(one: Share) -> dict[str, str] | None:
    if one.precision is None:
        return None
    return {"x": f"{one.coverage * WIDTH:.1f}", "y": f"{_y(one.precision):.1f}"}


def _y(share: float) -> float:
    return (1 - share) * HEIGHT


def _dot(one: Bin, others: Sequence[Bin]) -> dict[str, Any]:
    most = max(other.labels for other in others)
    return {
        "x": f"{one.said * WIDTH:.1f}",
        "y": f"{_y(one.right):.1f}",
        "r": f"{3 + (DOT - 3) * one.labels / most:.1f}",
        "bin": one,
    }


@require_POST
def calibrate_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Put a new calibration to use, or, with `use`, an earlier or (0) the shipped one."""
    base = finding.base_for(request, pk, "change")
    try:
        said = _rolled_back(request, base) if "use" in request.POST else _saved(request, base)
    except ValidationError as refused:
        messages.error(request, " ".join(refused.messages))
    else:
        messages.success(request, said)
    return redirect("admin:knowledge_knowledgebase_sureness", base.pk)


def _saved(request: HttpRequest, base: KnowledgeBase) -> str:
    form = TargetForm(request.POST)
    if not form.is_valid():
        raise ValidationError([error for errors in form.errors.values() for error in errors])
    fitted = calibrating.fit(calibrating.labels(base))
    made = calibrating.save(base, fitted, form.cleaned_data["target"] / 100, request.user)
    said = _("In use: from a confidence of %(least)s on it answers.")
    if made.waiting:
        said = _("It is replayed on golden questions first, then it answers from %(least)s on.")
    return said % {"least": floatformat(made.threshold, 2)}


def _rolled_back(request: HttpRequest, base: KnowledgeBase) -> str:
    number = request.POST["use"]
    chosen = None
    if number != "0":
        chosen = get_object_or_404(base.calibrations, pk=number[:18] if number.isdecimal() else 0)
        if not calibration.fits(chosen):
            raise ValidationError(_("It was fitted by another version and fits this one no more."))
    calibrating.roll_back(base, chosen)
    return _("The earlier one is in use again.") if chosen else _("The shipped one is in use.")
