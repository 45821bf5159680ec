"""Staff draw samples, see how far their labelling is, and let plans draw them again."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from chat.models import Configuration, Conversation, Turn
from evaluation import claiming, progress, sampling
from evaluation.admin import labelling as pages
from evaluation.models import Design, Item, Sample, SamplingPlan
from evaluation.models.sampling import MOST, RATERS
from evaluation.sampling import Frame, Wish
from knowledge import permissions
from knowledge.models import KnowledgeBase
from opsdesk.admin import ReadOnlyAdmin

ONCE = "once"
DAYS = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2100, 1, 1))]


def band(number: int) -> str:
    return f"{number / sampling.BANDS:.2f} – {(number + 1) / sampling.BANDS:.2f}"


def _boxes(label: Any, choices: Any = ()) -> Any:
    return forms.MultipleChoiceField(
        label=label, choices=choices, required=False, widget=forms.CheckboxSelectMultiple
    )


def _day() -> Any:
    return forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class DrawForm(forms.Form):
    """A wish as staff write it. What is not chosen is not asked for."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=200)
    since = forms.DateField(label=gettext_lazy("First day"), widget=_day(), validators=DAYS)
    until = forms.DateField(label=gettext_lazy("Last day"), widget=_day(), validators=DAYS)
    bases = _boxes(gettext_lazy("Knowledge bases"))
    channels = _boxes(gettext_lazy("Channels"), Conversation.Channel.choices)
    outcomes = _boxes(
        gettext_lazy("Outcomes"), [(one.value, one.label) for one in sampling.OUTCOMES]
    )
    bands = _boxes(gettext_lazy("Confidence"), [(n, band(n)) for n in range(sampling.BANDS)])
    configuration = forms.ChoiceField(label=gettext_lazy("Configuration"), required=False)
    design = forms.ChoiceField(
        label=gettext_lazy("Design"), choices=Design.choices, widget=forms.RadioSelect
    )
    axes = _boxes(gettext_lazy("Stratified by"), list(sampling.AXES.items()))
    minimum = forms.IntegerField(
        label=gettext_lazy("At least from each stratum"), min_value=1, max_value=100
    )
    by_width = forms.TypedChoiceField(
        label=gettext_lazy("Size"),
        choices=[("1", gettext_lazy("for an interval of")), ("", gettext_lazy("so many items"))],
        coerce=bool,
        required=False,
        widget=forms.RadioSelect,
    )
    half_width = forms.FloatField(
        label=gettext_lazy("± points"), min_value=0.5, max_value=25, required=False
    )
    expected = forms.FloatField(
        label=gettext_lazy("Expected accuracy, %"), min_value=1, max_value=99, required=False
    )
    size = forms.IntegerField(
        label=gettext_lazy("Items"), min_value=1, max_value=MOST, required=False
    )
    raters = forms.TypedChoiceField(
        label=gettext_lazy("Raters an item"),
        choices=[(RATERS, gettext_lazy("two, blind to each other")), (1, gettext_lazy("one"))],
        coerce=int,
    )
    seed = forms.IntegerField(
        label=gettext_lazy("Seed"),
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text=gettext_lazy("Empty: by chance. The same seed and frame draw the same items."),
    )
    repeat = forms.ChoiceField(
        label=gettext_lazy("Drawn"),
        choices=[(ONCE, gettext_lazy("once, now")), *SamplingPlan.Every.choices],
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.own = permissions.bases(user, "view")
        self.every = len(self.own) == KnowledgeBase.objects.count()
        bases: Any = self.fields["bases"]
        bases.choices = [(base.pk, str(base)) for base in self.own]
        configuration: Any = self.fields["configuration"]
        configuration.choices = [
            ("", _("all")),
            ("none", _("settings of the environment")),
            *((str(one.pk), str(one)) for one in Configuration.objects.exclude(used_at=None)),
        ]

    @classmethod
    def start(cls) -> dict[str, Any]:
        today = timezone.localdate()
        return {
            "name": _("Sample of %(day)s") % {"day": today},
            "since": today - timedelta(days=30),
            "until": today,
            "design": Design.STRATIFIED,
            "axes": ["base", "outcome"],
            "minimum": 5,
            "by_width": "1",
            "half_width": 5,
            "expected": 90,
            "size": 100,
            "raters": RATERS,
            "repeat": ONCE,
        }

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("since") and data.get("until") and data["since"] > data["until"]:
            self.add_error("until", _("This is before the first day."))
        for name in ("half_width", "expected") if data.get("by_width") else ("size",):
            if data.get(name) is None and name not in self.errors:
                self.add_error(name, _("This is needed for the size."))
        return data

    @property
    def wish(self) -> Wish:
        data = self.cleaned_data
        until = min(_midnight(data["until"] + timedelta(days=1)), timezone.now())
        chosen = tuple(map(int, data["bases"]))
        everything = () if self.every else tuple(base.pk for base in self.own)
        return Wish(
            frame=Frame(
                _midnight(data["since"]),
                until,
                chosen or everything,
                tuple(data["channels"]),
                tuple(data["outcomes"]),
                tuple(map(int, data["bands"])),
                data["configuration"],
            ),
            name=data["name"],
            design=data["design"],
            axes=tuple(data["axes"]),
            minimum=data["minimum"],
            size=None if data["by_width"] else data["size"],
            half_width=data["half_width"] / 100 if data["by_width"] else None,
            expected=(data["expected"] or 90) / 100,
            raters=data["raters"],
        )


def _midnight(day: Any) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))


def worded(key: dict[str, Any], bases: dict[int, str]) -> str:
    """A stratum in words."""
    said: dict[str, Callable[[Any], Any]] = {
        "base": lambda pk: bases.get(pk, f"#{pk}"),
        "channel": lambda name: _label(Conversation.Channel, name),
        "outcome": lambda name: _label(Turn.Outcome, name),
        "band": band,
    }
    parts = [str(say(key[axis])) for axis, say in said.items() if axis in key]
    return " · ".join(parts) or _("all")


def _label(choices: Any, name: str) -> Any:
    return dict(choices.choices).get(name, name)


def _names() -> dict[int, str]:
    return dict(KnowledgeBase.objects.values_list("pk", "name"))


@admin.register(Sample)
class SampleAdmin(ReadOnlyAdmin):
    """Samples; a sample's own page shows how far it is, and leads to labelling."""

    list_display = ["name", "labelled", "open_disputes", "size", "raters", "drawn_at", "by"]
    list_display_links = ["name"]
    list_select_related = ["by"]
    list_filter = ["drawn_at", "design", "plan"]
    list_per_page = 50
    show_full_result_count = False
    search_fields = ["name"]
    change_list_template = "admin/evaluation/sample/change_list.html"

    class Media:
        css = {"all": ["evaluation/sampling.css"]}

    # --- who may ---
    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or claiming.may_label(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or claiming.may_label(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    # --- the list ---
    def get_queryset(self, request: HttpRequest) -> QuerySet[Sample]:
        return super().get_queryset(request).annotate(
            settled=_count(kind__isnull=False), disputed=_count(disputed=True)
        )  # fmt: skip

    @admin.display(description=gettext_lazy("settled"))
    def labelled(self, sample: Any) -> SafeString:
        return format_html(
            '<progress max="{}" value="{}"></progress> {}', sample.size, sample.settled,
            sample.settled,
        )  # fmt: skip

    @admin.display(description=gettext_lazy("to decide"))
    def open_disputes(self, sample: Any) -> int:
        return int(sample.disputed)

    # --- drawing ---
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = DrawForm(request.POST or None, user=request.user, initial=DrawForm.start())
        if request.method == "POST" and form.is_valid():
            try:
                sample = _drawn(form, request.user)
            except ValidationError as error:
                form.add_error(None, error)
            else:
                said = _("%(n)d items are drawn. They never change any more.")
                messages.success(request, said % {"n": sample.size})
                return redirect("admin:evaluation_sample_change", sample.pk)
        return self._page(request, "draw", _("Draw a sample"), form=form, axes=sampling.AXES)

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """What the form would draw, as a fragment."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = DrawForm(request.POST, user=request.user)
        context: dict[str, Any] = {"form": form}
        if form.is_valid():
            try:
                context |= _looked_out(form.wish)
            except ValidationError as error:
                form.add_error(None, error)
        return TemplateResponse(request, "admin/evaluation/sample/outlook.html", context)

    # --- one sample ---
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        sample = self.get_object(request, object_id)
        if sample is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        if not self.has_view_permission(request, sample):
            raise PermissionDenied
        user, bases = request.user, _names()
        return self._page(
            request,
            "page",
            str(sample),
            sample=sample,
            frame=Frame.of(sample.frame),
            frame_words=_frame_words(sample, bases),
            strata=[(one, worded(one.key, bases)) for one in sample.strata.all()],
            excluded=[(sampling.REASONS.get(n, n), c) for n, c in sample.excluded.items()],
            progress=progress.of(sample),
            may_label=claiming.may_label(user),
            may_import=claiming.may_label(user),
            may_export=pages.may_export(user),
            to_label=claiming.open_items(sample, user, False).count()
            if claiming.may_label(user) else 0,
            to_decide=claiming.open_items(sample, user, True).count()
            if claiming.may_label(user) else 0,
            hidden=sample.items.exclude(bases__contained_by=claiming.readable(user)).exists(),
        )  # fmt: skip

    def get_urls(self) -> list[URLPattern]:
        preview = self.admin_site.admin_view(require_POST(self.preview_view))
        return [
            path("preview/", preview, name="evaluation_sample_preview"),
            *pages.urls(self.admin_site),
            *super().get_urls(),
        ]

    def _page(self, request: HttpRequest, name: str, title: str, **more: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            **more,
        }
        return TemplateResponse(request, f"admin/evaluation/sample/{name}.html", context)


def _count(**having: Any) -> Any:
    """Of a sample's items; looked up for the rows of a page alone."""
    items = Item.objects.filter(sample=OuterRef("pk"), **having).order_by().values("sample")
    return Coalesce(Subquery(items.annotate(n=Count("pk")).values("n")), 0)


@transaction.atomic
def _drawn(form: DrawForm, user: Any) -> Sample:
    wish, data = form.wish, form.cleaned_data
    plan = None
    if data["repeat"] != ONCE:
        plan = SamplingPlan.objects.create(
            name=wish.name,
            every=data["repeat"],
            wish=wish.to_json(),
            next_at=sampling.following(data["repeat"], timezone.now()),
            by=user,
        )
    return sampling.draw(wish, user, data["seed"], plan)


def _looked_out(wish: Wish) -> dict[str, Any]:
    made, bases = sampling.outlook(wish), _names()
    return {
        "outlook": made,
        "wish": wish,
        "strata": [(one, worded(one.key, bases)) for one in made.strata],
        "excluded": [(sampling.REASONS[name], count) for name, count in made.excluded.items()],
        "left_out": sum(made.excluded.values()),
        "seconds": round(sampling.seconds()),
        "half": f"{(wish.half_width or 0) * 100:g}",
        "reached": f"{(made.reached or 0) * 100:.1f}",
    }


def _frame_words(sample: Sample, bases: dict[int, str]) -> list[tuple[str, str]]:
    frame = Frame.of(sample.frame)
    parts = (
        ("base", frame.bases),
        ("channel", frame.channels),
        ("outcome", frame.outcomes),
        ("band", frame.bands),
    )
    return [
        (str(sampling.AXES[axis]), "、".join(worded({axis: one}, bases) for one in chosen))
        for axis, chosen in parts
        if chosen
    ]


@admin.register(SamplingPlan)
class SamplingPlanAdmin(admin.ModelAdmin):
    """Plans come from the form that draws; here they are paused and removed."""

    list_display = ["name", "every", "active", "next_at", "said"]
    list_editable = ["active"]
    fields = ["name", "every", "active", "next_at", "wanted", "said", "by"]
    readonly_fields = ["every", "next_at", "wanted", "said", "by"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description=gettext_lazy("what is drawn"))
    def wanted(self, plan: SamplingPlan) -> str:
        wish = Wish.of(plan.wish)
        size = (
            _("± %(points)s points") % {"points": f"{wish.half_width * 100:g}"}
            if wish.half_width
            else _("%(n)d items") % {"n": wish.size or 0}
        )
        axes = "、".join(str(sampling.AXES[axis]) for axis in wish.axes)
        design = Design(wish.design).label
        stratified = wish.design == Design.STRATIFIED and axes
        return capfirst(" · ".join([str(design), *([axes] if stratified else []), size]))
