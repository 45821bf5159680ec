"""What to fix next: topics that are asked in vain, and documents that are of no use or mislead."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from chat import unseen
from evaluation import dashboard, gaps, golden, operations, usefulness
from evaluation.models import Alert, Gap, GapQuestion, Goal
from knowledge import permissions
from knowledge.models import KnowledgeBase
from opsdesk.admin import ReadOnlyAdmin, posted
from opsdesk.errors import Conflict

PER_PAGE = 20
EXAMPLES = 8
TABS = (
    ("open", gettext_lazy("Topics")),
    ("decided", gettext_lazy("Solved and set aside")),
    ("unused", gettext_lazy("Documents nobody needs")),
    ("misleading", gettext_lazy("Documents that mislead")),
)


def visible(user: Any) -> QuerySet[Gap]:
    """The topics of the bases that `user` sees figures of."""
    seen = Q(base__in=operations.bases(user))
    return Gap.objects.filter(seen | Q(base=None) if operations.may_view_all(user) else seen)


def may_decide(user: Any, gap: Gap) -> bool:
    """Those who may change any topic, and curators of the base."""
    if user.has_perm("evaluation.change_gap"):
        return True
    return gap.base_id is not None and permissions.may(user, "change", gap.base_id)


@admin.register(Gap)
class GapAdmin(ReadOnlyAdmin):
    """One page with tabs, in the place of a list of rows."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("refresh/", view(require_POST(self.refresh_view)), name="evaluation_gap_refresh"),
            path("progress/", view(require_safe(self.progress_view)),
                 name="evaluation_gap_progress"),
            *posted(self, {"decide": self.decide_view}),
            path("<int:pk>/term/", view(require_safe(self.term_view)), name="evaluation_gap_term"),
            *super().get_urls(),
        ]  # fmt: skip

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return operations.may_view_all(request.user) or operations.bases(request.user).exists()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kw: Any) -> Any:
        """A topic by itself, with all its questions."""
        if request.method != "GET":
            raise PermissionDenied
        pk = int(object_id) if object_id.isdecimal() and len(object_id) < 19 else 0
        gap = get_object_or_404(visible(request.user).select_related("base", "entry"), pk=pk)
        questions = gap.questions.select_related("turn")
        page = Paginator(questions, 50).get_page(request.GET.get("page"))
        context = {
            **self._context(request, str(gap)),
            "page": page,
            "row": self._row(request, gap, list(page)),
        }
        return TemplateResponse(request, "admin/evaluation/gaps/topic.html", context)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if request.method != "GET" or not self.has_view_permission(request):
            raise PermissionDenied
        tab = request.GET.get("tab", "")
        tab = tab if tab in dict(TABS) else "open"
        bases = list(operations.bases(request.user))
        wanted = request.GET.get("base", "")
        base = next((one for one in bases if str(one.pk) == wanted), None)
        asked = [base] if base else bases
        context = {
            **self._context(request, _("What to fix next")),
            "tabs": TABS,
            "tab": tab,
            "bases": bases,
            "base": base,
            **getattr(self, f"_{tab}")(request, asked, base),
        }
        return TemplateResponse(request, f"admin/evaluation/gaps/{TEMPLATES[tab]}.html", context)

    # --- tabs ---------------------------------------------------------------------------

    def _open(self, request: HttpRequest, asked: Any, base: KnowledgeBase | None) -> dict[str, Any]:
        return self._topics(request, base, Q(state=Gap.State.OPEN))

    def _decided(
        self, request: HttpRequest, asked: Any, base: KnowledgeBase | None
    ) -> dict[str, Any]:
        return self._topics(request, base, ~Q(state=Gap.State.OPEN))

    def _topics(
        self, request: HttpRequest, base: KnowledgeBase | None, wanted: Q
    ) -> dict[str, Any]:
        found = visible(request.user).filter(wanted).select_related("base", "entry", "decided_by")
        page = Paginator(found.filter(base=base) if base else found, PER_PAGE).get_page(
            request.GET.get("page")
        )
        latest = {gap.pk: list(gap.questions.all()[:EXAMPLES]) for gap in page}
        return {
            "page": page,
            "rows": [self._row(request, gap, latest[gap.pk]) for gap in page],
            "progress": gaps.progress(),
            "days": gaps.DAYS,
        }

    def _unused(
        self, request: HttpRequest, asked: list[KnowledgeBase], base: KnowledgeBase | None
    ) -> dict[str, Any]:
        documents = usefulness.unused([one.pk for one in asked])
        return {
            "page": Paginator(documents, 50).get_page(request.GET.get("page")),
            "days": usefulness.DAYS,
        }

    def _misleading(
        self, request: HttpRequest, asked: list[KnowledgeBase], base: KnowledgeBase | None
    ) -> dict[str, Any]:
        documents = usefulness.misleading([one.pk for one in asked])
        return {
            "page": Paginator(documents, 50).get_page(request.GET.get("page")),
            "days": usefulness.DAYS,
        }

    def _row(self, request: HttpRequest, gap: Gap, questions: list[GapQuestion]) -> dict[str, Any]:
        """A topic with what can be done about it."""
        rows = gap.questions.order_by().values_list("kind").annotate(n=Count("pk")).order_by("-n")
        bases = [gap.base] if gap.base else list(self._own(request))
        why, question = "admin:knowledge_knowledgebase_missed", urlencode({"q": gap.question})
        return {
            "gap": gap,
            "questions": questions,
            "kinds": [(GapQuestion.Kind(kind).label, n) for kind, n in rows],
            "may": may_decide(request.user, gap),
            "writable": [one for one in bases if self._may_write(request, one)],
            "missed": [
                (one, f"{reverse(why, args=[one.pk])}?{question}") for one in bases[:3]
            ],
        }  # fmt: skip

    # --- doing --------------------------------------------------------------------------

    def refresh_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if gaps.progress() is None:
            gaps.enqueue()
        return self._back(request)

    def progress_view(self, request: HttpRequest) -> JsonResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return JsonResponse({"progress": gaps.progress()})

    def decide_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        gap = get_object_or_404(visible(request.user), pk=pk)
        decision = request.POST.get("decision", "")
        if decision in Gap.State.values:
            if not may_decide(request.user, gap):
                raise PermissionDenied
            gaps.decide(gap, decision, request.user)
            messages.success(request, DECIDED[decision] % {"topic": gap})
        elif decision == "write":
            entry = gaps.draft(gap, self._base(request, gap), request.user)
            return redirect("admin:knowledge_entry_change", entry.pk)
        elif decision == "golden":
            self._add_golden(request, gap)
        return self._back(request)

    def term_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """To the form of a term, with the word that the base does not know."""
        gap = get_object_or_404(visible(request.user), pk=pk)
        base = gap.base or next(iter(self._own(request)), None)
        asked = [base.pk] if base else []
        missing, _known = unseen.unseen(gap.question, asked) if asked else ([], [])
        given = {"variants": next(iter([*missing, *gap.words]), "")}
        given |= {"knowledge_base": str(base.pk)} if base else {}
        return redirect(f"{reverse('admin:knowledge_term_add')}?{urlencode(given)}")

    def _add_golden(self, request: HttpRequest, gap: Gap) -> None:
        if not request.user.has_perm("evaluation.add_goldenquestion"):
            raise PermissionDenied
        base = self._base(request, gap)
        reference = _("What to fix next: %(topic)s") % {"topic": gap}
        try:
            golden.add(gap.question, "gap", base=base, user=request.user, reference=reference)
        except Conflict as error:
            messages.error(request, str(error))
        else:
            messages.success(request, _("“%s” is proposed as a golden question.") % gap.question)

    def _base(self, request: HttpRequest, gap: Gap) -> KnowledgeBase:
        """The base that something is written into: its own, else the one that was chosen."""
        number = request.POST.get("base", "")
        base = gap.base or get_object_or_404(
            KnowledgeBase, pk=number if number.isdecimal() and len(number) < 19 else 0
        )
        if not self._may_write(request, base):
            raise PermissionDenied
        return base

    def _own(self, request: HttpRequest) -> QuerySet[KnowledgeBase]:
        return operations.bases(request.user).order_by("pk")

    def _may_write(self, request: HttpRequest, base: KnowledgeBase) -> bool:
        user = request.user
        by_role = base.pk in permissions.by_role(user, "add")
        return user.has_perm("knowledge.add_entry") or by_role

    def _context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "here": request.get_full_path(),
        }

    def _back(self, request: HttpRequest) -> HttpResponse:
        here = request.POST.get("next", "")
        safe = url_has_allowed_host_and_scheme(here, {request.get_host()}, request.is_secure())
        return redirect(here if safe else reverse("admin:evaluation_gap_changelist"))


TEMPLATES = {"open": "list", "decided": "list", "unused": "unused", "misleading": "misleading"}
DECIDED: dict[str, Any] = {
    Gap.State.SOLVED: gettext_lazy("“%(topic)s” is solved, until it is asked in vain again."),
    Gap.State.DISMISSED: gettext_lazy("“%(topic)s” is set aside, until it is asked more often."),
    Gap.State.OPEN: gettext_lazy("“%(topic)s” is open again."),
}


@admin.register(Goal)
class GoalAdmin(admin.ModelAdmin):
    """What staff want to be told of."""

    list_display = ["figure", "value"]


class LastingFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "lasts"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [("yes", _("lasts")), ("no", _("over"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value():
            return queryset.filter(ended_at__isnull=self.value() == "yes")
        return queryset


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What was the matter, and when."""

    list_display = ["about", "began_at", "better_at", "ended_at"]
    list_display_links = None
    list_filter = [LastingFilter, "began_at"]
    search_fields = ["text"]

    @admin.display(description=gettext_lazy("what is the matter"), ordering="text")
    def about(self, alert: Alert) -> SafeString:
        return format_html('<a href="{}">{}</a>', dashboard.leads_to(alert), alert.text)
