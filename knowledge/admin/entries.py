"""Curators' pages of FAQ entries: drafts to decide on, editing, sheets to take away."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, F, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django_q.tasks import async_task

from knowledge import entries, retrieval, sheets
from knowledge.admin.parts import deleted
from knowledge.models import Entry, Import
from knowledge.permissions import ByBase

AT_ONCE = 200  # entries decided while the curator waits; more are left to a worker
NEAR = 4  # passages shown beside an entry that may answer it already
TYPES = {
    "csv": ("text/csv; charset=utf-8", sheets.to_csv),
    "xlsx": (sheets.WORKBOOK, sheets.to_xlsx),
}


def download(rows: Any, name: str, kind: str, made: bytes | None = None) -> HttpResponse:
    """Rows as a sheet to keep, or the sheet `made` of them; `kind` of TYPES."""
    media_type, write = TYPES[kind]
    response = HttpResponse(write(rows) if made is None else made, content_type=media_type)
    file = f"{name}-{timezone.localdate():%Y%m%d}.{kind}"
    response.headers["Content-Disposition"] = content_disposition_header(True, file) or ""
    return response


class Lines(forms.CharField):
    """A list, one a line."""

    widget = forms.Textarea

    def __init__(self, *, field: str, **options: Any) -> None:
        self.field = field
        widget = forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"})
        super().__init__(required=False, widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        try:
            return sheets.value(self.field, f"{super().clean(value)}\n")
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


class EntryForm(forms.ModelForm):
    variants = Lines(
        field="variants",
        label=gettext_lazy("Other questions"),
        help_text=gettext_lazy("The same asked in other words, one a line."),
    )
    tags = Lines(field="tags", label=gettext_lazy("Tags"), help_text=gettext_lazy("One a line."))

    class Meta:
        model = Entry
        fields = ["knowledge_base", "key", *entries.CONTENT]
        widgets = {"question": forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField"})}

    def clean_question(self) -> str:
        return self._value("question")

    def clean_answer(self) -> str:
        answer = self._value("answer")
        if not answer and self.instance.state == Entry.State.PUBLISHED:
            raise forms.ValidationError(_("There is no answer."))
        return answer

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        base = data.get("knowledge_base") or getattr(self.instance, "knowledge_base", None)
        if base is None:
            return data
        others = base.entries.exclude(pk=self.instance.pk)
        if data.get("key") and (known := others.filter(key=data["key"]).first()):
            message = _('There is <a href="{}">an entry with this number</a> already.')
            self.add_error("key", _linked(message, known))
        question = data.get("question")
        if not self.instance.pk and question and (known := entries.find(base, question)):
            message = _('There is <a href="{}">an entry with this question</a> already.')
            self.add_error("question", _linked(message, known))
        return data

    def _value(self, name: str) -> str:
        try:
            return str(sheets.value(name, self.cleaned_data[name]))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


def _linked(message: str, entry: Entry) -> SafeString:
    return format_html(message, reverse("admin:knowledge_entry_change", args=[entry.pk]))


@admin.register(Entry)
class EntryAdmin(ByBase):
    form = EntryForm
    list_display = ["asked", "status", "answered", "knowledge_base", "origin", "updated_at"]
    list_filter = ["state", "origin", "knowledge_base"]
    list_select_related = ["knowledge_base"]
    list_per_page = 50
    show_full_result_count = False
    search_fields = ["question", "answer", "key"]
    search_help_text = gettext_lazy("In questions, answers and numbers.")
    actions = ["publish", "dismiss", "unpublish", "export_xlsx", "export_csv"]
    change_list_template = "admin/knowledge/entry/change_list.html"
    change_form_template = "admin/knowledge/entry/change_form.html"
    fieldsets = [
        (None, {"fields": ["knowledge_base", "question", "variants", "answer"]}),
        (
            gettext_lazy("Scope"),
            {
                "classes": ["collapse"],
                "fields": [
                    ("category", "key"),
                    ("product", "version", "environment"),
                    "tags",
                    "expires_on",
                ],
            },
        ),
    ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        may = {"may_import": self.admin_site.get_model_admin(Import).has_add_permission(request)}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    def get_ordering(self, request: HttpRequest) -> Any:
        """What waits for a decision comes first."""
        drafts_first = Case(
            When(state=Entry.State.DRAFT, then=Value(0)),
            When(state=Entry.State.PUBLISHED, then=Value(1)),
            default=Value(2),
        )
        return [drafts_first, F("id").desc()]

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export_view)
        return [
            path("export/<str:kind>/", export, name="knowledge_entry_export"),
            *super().get_urls(),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Entry | None = None) -> list[str]:
        return ["knowledge_base"] if obj else []

    # --- the list ---------------------------------------------------------------------

    @admin.display(description=gettext_lazy("question"), ordering="question")
    def asked(self, entry: Entry) -> str:
        return Truncator(entry.question).chars(80)

    @admin.display(description=gettext_lazy("answer"))
    def answered(self, entry: Entry) -> str:
        return Truncator(entry.answer).chars(60)

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def status(self, entry: Entry) -> SafeString:
        return format_html(
            '<span class="state state-{}">{}</span>', entry.state, entry.get_state_display()
        )

    @admin.action(description=gettext_lazy("Publish"), permissions=["change"])
    def publish(self, request: HttpRequest, queryset: QuerySet[Entry]) -> None:
        self._decide(request, queryset, "publish")

    @admin.action(description=gettext_lazy("Dismiss"), permissions=["change"])
    def dismiss(self, request: HttpRequest, queryset: QuerySet[Entry]) -> None:
        self._decide(request, queryset, "dismiss")

    @admin.action(description=gettext_lazy("Make drafts again"), permissions=["change"])
    def unpublish(self, request: HttpRequest, queryset: QuerySet[Entry]) -> None:
        self._decide(request, queryset, "unpublish")

    @admin.action(description=gettext_lazy("Export as XLSX"), permissions=["view"])
    def export_xlsx(self, request: HttpRequest, queryset: QuerySet[Entry]) -> HttpResponse:
        return download(sheets.exported(queryset.order_by("pk")), "faq", "xlsx")

    @admin.action(description=gettext_lazy("Export as CSV"), permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Entry]) -> HttpResponse:
        return download(sheets.exported(queryset.order_by("pk")), "faq", "csv")

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponse:
        """All that the list shows, under its filters."""
        if not self.has_view_permission(request) or kind not in TYPES:
            raise PermissionDenied
        chosen = self.get_changelist_instance(request).get_queryset(request)
        return download(sheets.exported(chosen.order_by("pk")), "faq", kind)

    def _decide(self, request: HttpRequest, queryset: QuerySet[Entry], decision: str) -> None:
        ids = list(queryset.order_by("pk").values_list("pk", flat=True))
        if len(ids) > AT_ONCE:
            for start in range(0, len(ids), entries.BATCH):
                batch = ids[start : start + entries.BATCH]
                async_task("knowledge.entries.decide", decision, batch, request.user.pk)
            message = ngettext(
                "%(n)d entry is being changed.", "%(n)d entries are being changed.", len(ids)
            )
            self.message_user(request, message % {"n": len(ids)}, messages.SUCCESS)
            return
        changed = entries.decide(decision, ids, request.user.pk)
        message = ngettext("%(n)d entry changed.", "%(n)d entries changed.", changed)
        self.message_user(request, message % {"n": changed}, messages.SUCCESS)
        if left := len(ids) - changed:
            message = ngettext(
                "%(n)d was left alone: it is so already, or has no answer.",
                "%(n)d were left alone: they are so already, or have no answer.",
                left,
            )
            self.message_user(request, message % {"n": left}, messages.WARNING)

    # --- one entry --------------------------------------------------------------------

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        entry = self.get_object(request, object_id) if object_id else None
        if entry and request.method == "GET":
            extra_context = {"near": near(entry), **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Entry, form: Any, change: bool) -> None:
        if change and not self.has_change_permission(request, obj):
            raise PermissionDenied
        if not change:
            obj.created_by = request.user  # type: ignore[assignment]
        if not change or form.changed_data:
            entries.save([obj], request.user)  # type: ignore[arg-type]

    def response_change(self, request: HttpRequest, obj: Entry) -> HttpResponse:
        for decision in entries.DECISIONS:
            if f"_{decision}" in request.POST:
                return self._decided(request, obj, decision)
        return super().response_change(request, obj)

    def response_add(
        self, request: HttpRequest, obj: Entry, post_url_continue: str | None = None
    ) -> HttpResponse:
        if "_publish" in request.POST:
            return self._decided(request, obj, "publish")
        return super().response_add(request, obj, post_url_continue)

    def _decided(self, request: HttpRequest, obj: Entry, decision: str) -> HttpResponse:
        """Do as the button says; after a draft comes the next one."""
        was_draft = obj.state == Entry.State.DRAFT
        here = reverse("admin:knowledge_entry_change", args=[obj.pk])
        if not entries.decide(decision, [obj.pk], request.user.pk):
            problem = _("An entry without an answer cannot be published.")
            self.message_user(request, problem, messages.ERROR)
            return redirect(here)
        said = {
            "publish": _("“{}” is published and answers now."),
            "dismiss": _("“{}” is dismissed."),
            "unpublish": _("“{}” is a draft again and answers no more."),
        }
        link = format_html('<a href="{}">{}</a>', here, Truncator(obj.question).chars(60))
        self.message_user(request, format_html(said[decision], link), messages.SUCCESS)
        if not was_draft:
            return redirect(here)
        waiting = obj.knowledge_base.entries.filter(state=Entry.State.DRAFT)
        following = waiting.filter(pk__lt=obj.pk).first() or waiting.first()
        if following:
            return redirect("admin:knowledge_entry_change", following.pk)
        return redirect("admin:knowledge_entry_changelist")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        return deleted(objs)

    def delete_model(self, request: HttpRequest, obj: Entry) -> None:
        entries.delete([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> None:
        entries.delete(queryset)


def near(entry: Entry) -> SafeString:
    """What of the base may already answer the entry's question."""
    found = retrieval.search(entry.question, [entry.knowledge_base], NEAR + 1)
    others = [one for one in found.passages if one.document_id != entry.document_id][:NEAR]
    asked = entries.normal(entry.question)
    same = any(entries.normal(one.question) == asked for one in others if one.question)
    context = {"passages": others, "same": same}
    return render_to_string("admin/knowledge/entry/near.html", context)
