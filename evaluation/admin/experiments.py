"""Staff try another configuration on a share of the visitors and read what came of it."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Configuration
from evaluation import experiments
from evaluation.experiments import FEWEST, MEASURES
from evaluation.models import Experiment
from opsdesk.admin import posted

State = Experiment.State


class ExperimentForm(forms.ModelForm):
    percent = forms.FloatField(
        label=gettext_lazy("Per cent of the visitors"), min_value=1, max_value=50, initial=5
    )

    class Meta:
        model = Experiment
        fields = ["name", "candidate", "guarded"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["percent"] = self.instance.share * 100
        if "candidate" in self.fields:
            rows = Configuration.objects.exclude(state=Configuration.State.ACTIVE)
            self.fields["candidate"].queryset = rows  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("percent"):
            self.instance.share = data["percent"] / 100
        return data


@admin.register(Experiment)
class ExperimentAdmin(admin.ModelAdmin):
    form = ExperimentForm
    list_display = ["name", "candidate", "state", "share_shown", "started_at", "because"]
    list_filter = ["state"]
    list_select_related = ["candidate"]
    list_per_page = 50
    search_fields = ["name"]
    change_form_template = "admin/evaluation/experiment/change_form.html"
    change_list_template = "admin/evaluation/experiment/change_list.html"

    class Media:
        css = {"all": ["evaluation/golden.css"]}

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}

    @admin.display(description=gettext_lazy("share of visitors"), ordering="share")
    def share_shown(self, one: Experiment) -> str:
        return f"{one.share:.0%}"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["name", "candidate", "percent", "guarded"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        fresh = obj is None or obj.state == State.DRAFT
        return fresh and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        idle = obj is None or obj.state != State.RUNNING
        return idle and super().has_delete_permission(request, obj)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        fresh = obj is None or obj.state == State.DRAFT
        kwargs["fields"] = ["name", "candidate", "guarded"] if fresh else []
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Experiment, form: Any, change: bool) -> None:
        if not change:
            obj.by = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)

    def get_urls(self) -> list[URLPattern]:
        names = {"start": self.start, "share": self.share, "stop": self.stop}
        return [*posted(self, names), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        one = self.get_object(request, object_id)
        context: dict[str, Any] = {"show_save_and_add_another": False}
        if one and self.has_view_permission(request, one):
            if one.state == State.RUNNING:
                experiments.measure(one)
            context |= {
                "experiment": one,
                "figures": [
                    (MEASURES[name], _percent(figure))
                    for name, figure in one.figures.items()
                    if name in MEASURES
                ],
                "fewest": FEWEST,
                "may_change": request.user.has_perm("evaluation.change_experiment"),
            }
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def start(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._do(request, pk, lambda one: experiments.start(one, request.user))

    def stop(self, request: HttpRequest, pk: int) -> HttpResponse:
        because = _("by %(user)s") % {"user": request.user}
        return self._do(request, pk, lambda one: experiments.stop(one, because))

    def share(self, request: HttpRequest, pk: int) -> HttpResponse:
        def set_share(one: Experiment) -> None:
            try:
                percent = float(request.POST.get("percent", ""))
            except ValueError as error:
                raise ValidationError(_("Write a number from 1 to 50.")) from error
            if not 1 <= percent <= 50:
                raise ValidationError(_("Write a number from 1 to 50."))
            experiments.share(one, percent / 100)

        return self._do(request, pk, set_share)

    def _do(self, request: HttpRequest, pk: int, what: Any) -> HttpResponse:
        if not request.user.has_perm("evaluation.change_experiment"):
            raise PermissionDenied
        one = get_object_or_404(Experiment, pk=pk)
        try:
            what(one)
        except experiments.Waits as waits:
            more = format_html(' <a href="{}">{}</a>', waits.url, _("See the run"))
            messages.info(request, format_html("{}{}", waits.message, more))
        except ValidationError as refused:
            messages.error(request, " ".join(refused.messages))
        else:
            self.log_change(request, one, request.path.rstrip("/").rpartition("/")[2])
        return redirect(reverse("admin:evaluation_experiment_change", args=[pk]))


def _percent(figure: dict[str, Any]) -> dict[str, Any]:
    """The shares in per cent, as the page shows them."""
    counted = {"n": figure["n"], "others": figure["others"]}
    names = ("share", "other_share", "difference", "low", "high")
    return counted | {name: figure[name] * 100 for name in names}
