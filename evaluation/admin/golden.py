"""Staff keep golden questions: what has to come of each, from which passages, and who approved."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from chat.admin import EXCERPT
from chat.admin.topics import WordsField
from chat.models import Turn
from evaluation import golden, golden_sheets, running
from evaluation.admin.runs import startable
from evaluation.models import GoldenQuestion, GoldenSource, Run
from knowledge import retrieval, sheets
from knowledge.admin.entries import download
from knowledge.forms import SheetForm
from knowledge.models import Chunk, Document, KnowledgeBase
from knowledge.permissions import ByBase
from opsdesk.admin import posted
from opsdesk.errors import Conflict, ParseError
from opsdesk.site import Panel, Row

FOUND = 8  # passages to choose from
ERRORS_SHOWN = 100
WIDTHS = (50, 12, 30, 40, 16, 10, 30)
COLUMNS = gettext_lazy(
    "XLSX or CSV with a column “question”; others are read when they are there: what has to come, "
    "documents, has to say, tags, must not be lost, note."
)


class GoldenForm(forms.ModelForm):
    facts = WordsField(
        longest=200,
        label=gettext_lazy("Has to say"),
        help_text=gettext_lazy("One a line: words, numbers or commands that the answer must show."),
    )
    tags = WordsField(longest=50, label=gettext_lazy("Tags"), help_text=gettext_lazy("One a line."))

    class Meta:
        model = GoldenQuestion
        fields = ["knowledge_base", "question", "expected", "facts", "must", "tags", "note"]
        widgets = {"question": forms.Textarea(attrs={"rows": 3})}

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        base = data.get("knowledge_base") or getattr(self.instance, "knowledge_base", None)
        question = " ".join(data.get("question", "").split())
        if base and question:
            self.instance.digest = golden.digest(question)
            same = GoldenQuestion.objects.filter(
                knowledge_base=base, digest=self.instance.digest
            ).exclude(pk=self.instance.pk)
            if same.exists():
                self.add_error("question", _("There is a golden question that asks the same."))
        return {**data, "question": question}


class ApprovedFilter(admin.SimpleListFilter):
    title = gettext_lazy("approval")
    parameter_name = "approved"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [("yes", _("is approved")), ("no", _("proposed"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value():
            return queryset.filter(approved_at__isnull=self.value() == "no")
        return queryset


class GoneFilter(admin.SimpleListFilter):
    title = gettext_lazy("what answers it")
    parameter_name = "sources"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [("gone", _("its passage is gone")), ("none", _("none named"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "gone":
            return queryset.stale()
        return queryset.filter(sources=None) if self.value() == "none" else queryset


@admin.register(GoldenQuestion)
class GoldenQuestionAdmin(ByBase):
    form = GoldenForm
    list_display = ["asked", "expected", "named", "approved", "knowledge_base", "source", "must"]
    list_filter = [ApprovedFilter, GoneFilter, "expected", "source", "knowledge_base", "must"]
    list_select_related = ["knowledge_base"]
    list_per_page = 50
    search_fields = ["question", "note", "tags"]
    actions = ["approve", "withdraw", "export_xlsx", "export_csv"]
    change_list_template = "admin/evaluation/goldenquestion/change_list.html"
    change_form_template = "admin/evaluation/goldenquestion/change_form.html"

    class Media:
        css = {"all": ["evaluation/golden.css"]}

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        may = {"may_start": startable(request.user).exists()}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    def get_queryset(self, request: HttpRequest) -> QuerySet[GoldenQuestion]:
        gone = GoldenSource.objects.gone().filter(question=OuterRef("pk"))
        rows = super().get_queryset(request).annotate(gone=Exists(gone))
        return rows.annotate(named_count=Count("sources"))

    @admin.display(description=gettext_lazy("question"), ordering="question")
    def asked(self, one: GoldenQuestion) -> str:
        return Truncator(one.question).chars(EXCERPT)

    @admin.display(description=gettext_lazy("what answers it"), ordering="named_count")
    def named(self, one: Any) -> str:
        return _("its passage is gone") if one.gone else str(one.named_count or "")

    @admin.display(description=gettext_lazy("is approved"), boolean=True, ordering="approved_at")
    def approved(self, one: GoldenQuestion) -> bool:
        return one.approved_at is not None

    @admin.action(description=gettext_lazy("Approve"), permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[GoldenQuestion]) -> None:
        n = golden.approve(_rows(queryset), request.user)
        said = ngettext("%(n)d question counts now.", "%(n)d questions count now.", n)
        self.message_user(request, said % {"n": n}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Count no more"), permissions=["change"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[GoldenQuestion]) -> None:
        n = golden.withdraw(_rows(queryset))
        said = ngettext("%(n)d question counts no more.", "%(n)d questions count no more.", n)
        self.message_user(request, said % {"n": n}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Export as XLSX"), permissions=["view"])
    def export_xlsx(self, request: HttpRequest, queryset: QuerySet[GoldenQuestion]) -> HttpResponse:
        rows = golden_sheets.exported(_rows(queryset).prefetch_related("sources"))
        made = sheets.to_xlsx(rows, _("golden questions"), WIDTHS)
        return download((), "golden", "xlsx", made)

    @admin.action(description=gettext_lazy("Export as CSV"), permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[GoldenQuestion]) -> HttpResponse:
        rows = golden_sheets.exported(_rows(queryset).prefetch_related("sources"))
        return download(rows, "golden", "csv")

    def save_model(
        self, request: HttpRequest, obj: GoldenQuestion, form: Any, change: bool
    ) -> None:
        if not change:
            obj.created_by = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["knowledge_base"] if obj else []

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("import/", view(self.import_view), name="evaluation_goldenquestion_import"),
            path("turn/<int:pk>/", view(keep_view), name="evaluation_goldenquestion_keep"),
            *posted(self, {"sources": self.sources_view, "approve": self.approve_view}),
            *super().get_urls(),
        ]

    # --- one question -------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        one = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if one and self.has_view_permission(request, one):
            context = self._facts(request, one)
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def _facts(self, request: HttpRequest, one: GoldenQuestion) -> dict[str, Any]:
        sought = request.GET.get("search", "").replace("\x00", "").strip()[:500]
        gone = set(one.sources.gone().values_list("pk", flat=True))
        named = [(row, row.pk in gone) for row in one.sources.select_related("document")]
        there = {(row.document_id, row.digest) for row, _gone in named}
        found = retrieval.search(sought or one.question, [one.knowledge_base], top_k=FOUND)
        digests = dict(
            Chunk.objects.filter(pk__in=[passage.chunk_id for passage in found.passages])
            .values_list("pk", "digest")
        )  # fmt: skip
        return {
            "golden": one,
            "named": named,
            "sought": sought,
            "found": [
                (passage, (passage.document_id, digests.get(passage.chunk_id)) in there)
                for passage in found.passages
            ],
            "results": one.results.exclude(outcome="").select_related("run").order_by("-run")[:10],
            "may_change": self.has_change_permission(request, one),
        }

    def sources_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Name a passage (`chunk`) or a whole document, or take one off (`remove`)."""
        one = self._row(request, pk)
        chosen = request.POST
        base = one.knowledge_base_id
        if number := _number(chosen.get("chunk")):
            chunks = Chunk.objects.filter(knowledge_base=base).select_related("document")
            golden.name(one, [get_object_or_404(chunks, pk=number)])
        elif number := _number(chosen.get("document")):
            rows = Document.objects.filter(knowledge_base=base)
            golden.name(one, [], [get_object_or_404(rows, pk=number)])
        elif number := _number(chosen.get("remove")):
            one.sources.filter(pk=number).delete()
        return redirect(self._page(one) + "#sources")

    def approve_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        one = self._row(request, pk)
        rows = GoldenQuestion.objects.filter(pk=one.pk)
        if one.approved_at:
            golden.withdraw(rows)
            self.message_user(request, _("It counts no more."), messages.SUCCESS)
        else:
            golden.approve(rows, request.user)
            self.message_user(request, _("It counts from now on."), messages.SUCCESS)
        return redirect(self._page(one))

    def _row(self, request: HttpRequest, pk: int) -> GoldenQuestion:
        one = get_object_or_404(GoldenQuestion, pk=pk)
        if not self.has_change_permission(request, one):
            raise PermissionDenied
        return one

    def _page(self, one: GoldenQuestion) -> str:
        return reverse("admin:evaluation_goldenquestion_change", args=[one.pk])

    # --- sheets -------------------------------------------------------------------------

    def import_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = SheetForm(
            request.POST or None, request.FILES or None,
            bases=self.own_bases(request, "change"), columns=COLUMNS,
        )  # fmt: skip
        errors: list[golden_sheets.Planned] = []
        if form.is_valid():
            base, file = form.cleaned_data["knowledge_base"], form.cleaned_data["file"]
            try:
                with sheets.copied(file) as path:
                    rows = golden_sheets.read(path, file.name, base)
            except ParseError as error:
                form.add_error("file", str(error))
            else:
                new, changed = golden_sheets.keep(rows, base, request.user)
                errors = [row for row in rows if row.error]
                said = _("%(new)d new and %(changed)d changed; the new ones wait for approval.")
                self.message_user(
                    request, said % {"new": new, "changed": changed},
                    messages.WARNING if errors else messages.SUCCESS,
                )  # fmt: skip
                if not errors:
                    return redirect("admin:evaluation_goldenquestion_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": _("Import golden questions"),
            "opts": self.opts,
            "form": form,
            "errors": errors[:ERRORS_SHOWN],
            "left": max(0, len(errors) - ERRORS_SHOWN),
        }
        return TemplateResponse(request, "admin/evaluation/goldenquestion/import.html", context)


def _rows(queryset: QuerySet[GoldenQuestion]) -> QuerySet[GoldenQuestion]:
    """The list's queryset groups, which cannot be updated."""
    return GoldenQuestion.objects.filter(pk__in=queryset.values("pk"))


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 19 else 0


def keeping(request: HttpRequest, turn: Turn) -> SafeString | str:
    """On a turn's page: keep it as a golden question."""
    base = golden.base_of(turn)
    if not golden.may_add(request.user, base):
        return ""
    return render_to_string("admin/evaluation/goldenquestion/keeping.html", {"turn": turn}, request)


@require_POST
def keep_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep a turn as a golden question."""
    turn = get_object_or_404(Turn.objects.select_related("conversation", "message"), pk=pk)
    if not golden.may_add(request.user, golden.base_of(turn)):
        raise PermissionDenied
    try:
        made = golden.of_turn(turn, request.user)
    except Conflict as refused:
        messages.error(request, str(refused))
        return redirect("admin:chat_turn_change", pk)
    messages.success(request, _("Kept as a golden question. It counts when it is approved."))
    return redirect("admin:evaluation_goldenquestion_change", made.pk)


def of_base(request: HttpRequest, base: KnowledgeBase) -> Panel | None:
    """On a base's page: its golden questions, and how the last replay ended."""
    held = GoldenQuestion.objects.filter(knowledge_base=base)
    proposed, gone = held.filter(approved_at=None).count(), held.approved().stale().count()
    listed = reverse("admin:evaluation_goldenquestion_changelist")
    url = f"{listed}?knowledge_base__id__exact={base.pk}"
    rows: list[Row] = [
        {"label": _("is approved"), "value": held.approved().count(), "url": f"{url}&approved=yes"},
        {
            "label": _("wait for approval"),
            "value": proposed,
            "url": f"{url}&approved=no",
            "level": "warning" if proposed else "",
        },
    ]
    if gone:
        link = f"{url}&sources=gone"
        rows.append({"label": _("source gone"), "value": gone, "url": link, "level": "warning"})
    # Not of what was only tried.
    run = Run.objects.filter(
        knowledge_base=base, state=Run.State.DONE
    ).exclude(kind=Run.Kind.GATE).first()  # fmt: skip
    if run:
        made = running.summary(run.results.all())
        link = reverse("admin:evaluation_run_change", args=[run.pk])
        level = "error" if run.verdict == Run.Verdict.REFUSED else "ok"
        value = f"{made['right']} / {made['judged']}"
        rows.append({"label": _("right, last replay"), "value": value, "url": link, "level": level})
    return {"title": _("Golden questions"), "rows": rows}
