"""Staff replay golden questions, follow a run, and read what it won and lost beside another."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from chat import configurations
from chat.models import Configuration, Turn
from evaluation import comparing, gating, golden, running
from evaluation.comparing import CHANGED, LOST, SAME, WON
from evaluation.models import Result, Run
from knowledge import permissions
from knowledge.models import Document, KnowledgeBase
from opsdesk.admin import ReadOnlyAdmin, posted

PER_PAGE = 50
OTHERS = 50  # runs to compare with
KINDS = {
    LOST: gettext_lazy("lost"),
    WON: gettext_lazy("won"),
    CHANGED: gettext_lazy("answered otherwise"),
    SAME: gettext_lazy("same"),
}
WHY = {
    "outcome": gettext_lazy("another outcome"),
    "source": gettext_lazy("another source"),
    "fact": gettext_lazy("lacks what it has to say"),
}
OUTCOMES = dict(Turn.Outcome.choices)
# Of `running.versions`.
VERSIONS = {
    "documents": gettext_lazy("documents"),
    "index": gettext_lazy("embedding index"),
    "model": gettext_lazy("language model"),
    "prompts": gettext_lazy("prompts"),
    "settings": gettext_lazy("settings"),
    "configuration": gettext_lazy("configuration"),
    "code": gettext_lazy("code"),
}


class StartForm(forms.Form):
    name = forms.CharField(label=gettext_lazy("Name"), max_length=200, required=False)
    knowledge_base = forms.ModelChoiceField(
        KnowledgeBase.objects.none(),
        label=gettext_lazy("Knowledge base"),
        required=False,
        empty_label=gettext_lazy("all"),
    )
    tags = forms.CharField(
        label=gettext_lazy("Tags"),
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("any of, with commas")}),
    )
    configuration = forms.ModelChoiceField(
        Configuration.objects.all(),
        label=gettext_lazy("Configuration"),
        required=False,
        empty_label=gettext_lazy("as it is now"),
    )
    yesterday = forms.IntegerField(
        label=gettext_lazy("Of yesterday's questions, at most"),
        min_value=0,
        max_value=1000,
        initial=0,
    )

    def plan(self) -> running.Plan:
        data = self.cleaned_data
        chosen = data["configuration"] or configurations.active()
        base = data["knowledge_base"]
        tags = [tag.strip() for tag in data["tags"].replace("，", ",").split(",") if tag.strip()]
        return running.plan(
            chosen.overrides if chosen else {},
            base=base.pk if base else None,
            tags=tags,
            yesterday=data["yesterday"],
            configuration=chosen,
        )


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "kind", "state", "progress", "right", "verdict", "at", "by"]
    list_filter = ["kind", "state", "verdict", "knowledge_base"]
    list_select_related = ["knowledge_base", "configuration", "by"]
    list_per_page = 50
    show_full_result_count = False
    change_list_template = "admin/evaluation/run/change_list.html"
    change_form_template = "admin/evaluation/run/change_form.html"
    fields = ()

    class Media:
        css = {"all": ["evaluation/golden.css"]}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("evaluation.delete_run")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may see any run, and of their own base who has a role on it."""
        if super().has_view_permission(request, obj):
            return True
        held = permissions.by_role(request.user, "view")
        return bool(held) if obj is None else obj.knowledge_base_id in held

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        runs = (
            super()
            .get_queryset(request)
            .annotate(
                judged=Count("results", filter=Q(results__right__isnull=False)),
                right_count=Count("results", filter=Q(results__right=True)),
            )
        )
        if super().has_view_permission(request):
            return runs
        return runs.filter(knowledge_base__in=permissions.by_role(request.user, "view"))

    @admin.display(description=gettext_lazy("questions asked"))
    def progress(self, run: Run) -> str:
        return f"{run.done} / {run.total}"

    @admin.display(description=gettext_lazy("right"))
    def right(self, run: Any) -> str:
        return f"{run.right_count} / {run.judged}" if run.judged else ""

    @admin.display(description=gettext_lazy("at"), ordering="created_at")
    def at(self, run: Run) -> Any:
        return run.created_at

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("start/", view(self.start_view), name="evaluation_run_start"),
            *posted(self, {"cancel": self.cancel_view, "accept": self.accept_view}),
            path(
                "<int:pk>/compare/",
                view(require_safe(self.compare_view)),
                name="evaluation_run_compare",
            ),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        may = {"may_start": startable(request.user).exists()}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    # --- starting and stopping ----------------------------------------------------------

    def start_view(self, request: HttpRequest) -> HttpResponse:
        bases = startable(request.user)
        if not bases.exists():
            raise PermissionDenied
        form = StartForm(request.POST or None)
        field = form.fields["knowledge_base"]
        field.queryset = bases  # type: ignore[attr-defined]
        field.required = not request.user.has_perm("evaluation.add_run")
        if form.is_valid():
            plan = form.plan()
            if plan.questions:
                run = running.start(plan, name=form.cleaned_data["name"], by=request.user)
                return redirect(page(run))
            form.add_error(None, _("There is no approved golden question like that."))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Replay golden questions"),
            "opts": self.opts,
            "form": form,
            "approved": golden.asked().count(),
        }
        return TemplateResponse(request, "admin/evaluation/run/start.html", context)

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        run = get_object_or_404(self.get_queryset(request), pk=pk)
        if not may_start(request.user, run.knowledge_base_id):
            raise PermissionDenied
        if running.cancel(run):
            self.message_user(request, _("Cancelled. What was asked is kept."), messages.SUCCESS)
        return redirect(page(run))

    def accept_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """It is worse after a change and meant to be so: later changes are held against it."""
        run = get_object_or_404(self.get_queryset(request), pk=pk)
        if not may_accept(request.user):
            raise PermissionDenied
        if gating.accept(run):
            self.log_change(request, run, _("Worse, and meant to be so."))
            said = _("The alert is over. Later changes are compared with this run.")
            self.message_user(request, said, messages.SUCCESS)
        return redirect(page(run))

    # --- one run ------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if run and self.has_view_permission(request, run):
            context = self._facts(request, run)
        response = super().change_view(
            request, object_id, form_url, context | (extra_context or {})
        )
        if run and run.unfinished:
            response.headers["Refresh"] = "5"
        return response

    def _facts(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        results = run.results.exclude(outcome="").select_related("golden", "knowledge_base")
        shown = request.GET.get("show", "")
        if shown == "wrong":
            results = results.filter(right=False)
        others = self.get_queryset(request).filter(state=Run.State.DONE).exclude(pk=run.pk)
        if run.knowledge_base_id:
            others = others.filter(Q(knowledge_base=None) | Q(knowledge_base=run.knowledge_base_id))
        return {
            "run": run,
            "summary": running.summary(run.results.all()),
            "page": Paginator(results, PER_PAGE).get_page(request.GET.get("p")),
            "shown": shown,
            "without_model": run.overrides.get("LLM") is False,
            "labels": OUTCOMES,
            "whys": WHY,
            "others": others[:OTHERS],
            "may_accept": may_accept(request.user)
            and run.pk == gating.worse_now(run.knowledge_base_id),
            "may_cancel": run.unfinished and may_start(request.user, run.knowledge_base_id),
            "comparison": run.baseline and comparing.compare(run.baseline, run).difference,
            "changed": _changed(run),
            "versions": differing({}, run.versions),
        }

    # --- two runs -----------------------------------------------------------------------

    def compare_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        runs = self.get_queryset(request)
        run = get_object_or_404(runs, pk=pk)
        number = request.GET.get("with", "")
        before = (
            get_object_or_404(runs, pk=number) if number.isdecimal() and len(number) < 19
            else run.baseline
        )  # fmt: skip
        if before is None:
            return redirect(page(run))
        found = comparing.compare(before, run)
        kind = request.GET.get("kind", LOST)
        kind = kind if kind in KINDS else LOST
        context = {
            **self.admin_site.each_context(request),
            "title": _("%(after)s beside %(before)s") % {"after": run, "before": before},
            "opts": self.opts,
            "run": run,
            "before": before,
            "parts": [
                (title, part.difference)
                for title, part in (
                    (_("golden questions"), found.golden),
                    (_("questions from traffic"), found.traffic),
                )
                if part.pairs
            ],
            "moved": [
                (title, moved, unit)
                for title, measure, unit in (
                    (_("confidence"), _confidence, 2),
                    (_("milliseconds"), _ms, 0),
                )
                if (moved := found.moved(measure))
            ],
            "by_base": found.by(lambda row: [str(row.knowledge_base or "–")]),
            "by_tag": found.by(lambda row: row.golden.tags if row.golden else []),
            "kinds": [(one, title, len(found.of(one))) for one, title in KINDS.items()],
            "kind": kind,
            "paging": f"with={before.pk}&kind={kind}&",
            "page": Paginator(found.of(kind), PER_PAGE).get_page(request.GET.get("p")),
            "labels": OUTCOMES,
            "whys": WHY,
            "versions": differing(before.versions, run.versions),
        }
        return TemplateResponse(request, "admin/evaluation/run/compare.html", context)


def _confidence(row: Result) -> float | None:
    return row.confidence


def _ms(row: Result) -> float | None:
    return row.ms


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The versions in which two runs differ, each with both values."""
    found = []
    for name in [*before, *(one for one in after if one not in before)]:
        one, two = before.get(name, ""), after.get(name, "")
        title = str(VERSIONS.get(name, name))
        if isinstance(one, dict) or isinstance(two, dict):
            inner = differing(one or {}, two or {})
            found += [(f"{title} · {key}", was, now) for key, was, now in inner]
        elif one != two:
            found.append((title, str(one), str(two)))
    return found


def _changed(run: Run) -> list[Any]:
    """Of a replay after documents changed: those that did since the run before, latest first."""
    if run.kind != Run.Kind.WATCH or run.baseline is None:
        return []
    return list(
        Document.objects.filter(
            knowledge_base=run.knowledge_base_id, updated_at__gte=run.baseline.created_at,
            updated_at__lte=run.created_at,
        ).order_by("-updated_at")[:20]
    )  # fmt: skip


def startable(user: Any) -> QuerySet[KnowledgeBase]:
    """The bases whose golden questions a user may have replayed."""
    if user.has_perm("evaluation.add_run"):
        return KnowledgeBase.objects.all()
    return permissions.bases(user, "change")


def may_start(user: Any, base: int | None) -> bool:
    if user.has_perm("evaluation.add_run"):
        return True
    return base is not None and permissions.may(user, "change", base)


def replayed(request: HttpRequest, kind: str, subject: int) -> str:
    """On the page of a configuration or a document: what came of replaying it last."""
    run = Run.objects.filter(subject=f"{kind}:{subject}").exclude(state=Run.State.CANCELLED).first()
    if run is None:
        return ""
    may_see = RunAdmin(Run, admin.site).has_view_permission(request, run)
    return render_to_string("admin/evaluation/run/replayed.html", {
        "run": run, "may_see": may_see,
        "reasons": run.reasons if kind == "configuration" else (),  # a document says them itself
    })  # fmt: skip


def may_accept(user: Any) -> bool:
    """Those who may publish a document in spite of the gate."""
    return bool(user.has_perm("knowledge.change_knowledgebase"))


def page(run: Run) -> str:
    return reverse("admin:evaluation_run_change", args=[run.pk])
