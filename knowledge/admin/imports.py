"""Curators' pages of imports: a sheet is shown as it would become before anything is stored."""

from pathlib import Path
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from knowledge import sheet_import, sheets, uploading, wecom_import
from knowledge.admin.entries import TYPES, download
from knowledge.admin.parts import deleted
from knowledge.models import Entry, Import, KnowledgeBase
from knowledge.permissions import ByBase
from opsdesk.errors import ParseError

SHOWN = 10  # rows of the preview
ERRORS_SHOWN = 100


class ImportForm(forms.Form):
    knowledge_base = forms.ModelChoiceField(
        KnowledgeBase.objects.none(), label=gettext_lazy("Knowledge base")
    )
    file = forms.FileField(label=gettext_lazy("File"))
    mask_email = forms.BooleanField(
        label=gettext_lazy("Mask e-mail addresses too"), required=False, initial=True
    )

    def __init__(self, *args: Any, kind: str, bases: QuerySet[KnowledgeBase], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["knowledge_base"].queryset = bases  # type: ignore[attr-defined]
        if kind == Import.Kind.FAQ:
            del self.fields["mask_email"]
            help_text = _("XLSX or CSV, at most %(megabytes)d MB and %(rows)d rows.")
            limits = {"megabytes": sheets.MAX_BYTES // 1024**2, "rows": sheets.records.ROWS}
            self.fields["file"].help_text = help_text % limits
        else:
            self.fields["file"].help_text = _(
                "Decrypted archive (JSON Lines), a chat exported as text, or a sheet with the"
                " columns time, sender and content. Phone, ID and card numbers and secrets are"
                " masked before anything is stored."
            )


@admin.register(Import)
class ImportAdmin(ByBase):
    list_display = ["name", "kind", "knowledge_base", "status", "summary", "user", "created_at"]
    list_filter = ["kind", "state", "knowledge_base"]
    list_select_related = ["knowledge_base", "user"]
    search_fields = ["name"]
    change_list_template = "admin/knowledge/import/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path(
                "template/<str:kind>/", view(self.template_view), name="knowledge_import_template"
            ),
            path("<int:pk>/state/", view(self.state_view), name="knowledge_import_state"),
            path(
                "<int:pk>/refused/<str:kind>/",
                view(self.refused_view),
                name="knowledge_import_refused",
            ),
            *super().get_urls(),
        ]

    # --- the list ---------------------------------------------------------------------

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def status(self, row: Import) -> SafeString:
        return format_html(
            '<span class="state state-{}">{}</span>', row.state, row.get_state_display()
        )

    @admin.display(description=gettext_lazy("rows"))
    def summary(self, row: Import) -> str:
        parts = [
            (_("new"), row.created),
            (_("changed"), row.updated),
            (_("unchanged"), row.unchanged),
            (_("refused"), row.failed),
        ]
        return " · ".join(f"{label} {number}" for label, number in parts if number) or "–"

    def delete_model(self, request: HttpRequest, obj: Import) -> None:
        file = obj.file
        obj.delete()
        file.delete(save=False)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Import]) -> None:
        for row in queryset:
            self.delete_model(request, row)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        return deleted(objs)

    # --- a new one --------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        kind = request.GET.get("kind", Import.Kind.FAQ)
        if kind not in Import.Kind.values:
            raise Http404
        posted = (request.POST, request.FILES) if request.method == "POST" else (None, None)
        bases = self.own_bases(request, "change")
        initial = {"knowledge_base": request.GET.get("knowledge_base") or bases.first()}
        form = ImportForm(*posted, kind=kind, bases=bases, initial=initial)
        if form.is_valid() and (row := self._received(request, kind, form)):
            return redirect("admin:knowledge_import_change", row.pk)
        titles = {
            Import.Kind.FAQ: _("Import an FAQ sheet"),
            Import.Kind.WECOM: _("Import WeCom conversations"),
        }
        context = {"title": titles[Import.Kind(kind)], "form": form, "kind": kind}
        return self._page(request, "upload", context)

    def _received(self, request: HttpRequest, kind: str, form: ImportForm) -> Import | None:
        """The stored file as an import; None with the reason on the form."""
        receive = wecom_import.receive if kind == Import.Kind.WECOM else sheet_import.receive
        data = form.cleaned_data
        options = {"email": data["mask_email"]} if "mask_email" in data else {}
        name = uploading.clean_name(data["file"].name)
        try:
            return receive(
                data["knowledge_base"],
                data["file"],
                name,
                request.user,  # type: ignore[arg-type]
                **options,
            )
        except ParseError as error:
            form.add_error("file", str(error))
            return None

    def template_view(self, request: HttpRequest, kind: str) -> HttpResponse:
        if not self.has_view_permission(request) or kind not in TYPES:
            raise PermissionDenied
        return download(sheets.template(), "faq", kind)

    # --- one that is there ------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if request.method == "POST":
            return self._changed(request, row)
        context = {"title": str(row), "row": row, "may": self.has_change_permission(request, row)}
        if row.state == Import.State.PREVIEW:
            try:
                context |= preview(row)
            except ParseError as error:
                context["problem"] = str(error)
            return self._page(request, "preview", context)
        return self._page(request, "result", context | {"state": state(row)})

    def _changed(self, request: HttpRequest, row: Import) -> HttpResponse:
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        if row.state == Import.State.PREVIEW:
            row.mapping = remapped(row, posted(request.POST)).to_json()
            Import.objects.filter(pk=row.pk, state=Import.State.PREVIEW).update(mapping=row.mapping)
        if "_import" in request.POST:
            missing = {"question", "answer"} - row.mapping.get("columns", {}).keys()
            if row.kind == Import.Kind.FAQ and missing:
                problem = _("Say which columns hold the question and the answer.")
                self.message_user(request, problem, messages.ERROR)
            elif not sheet_import.start(row):
                problem = _("This import was confirmed before.")
                self.message_user(request, problem, messages.WARNING)
        return redirect("admin:knowledge_import_change", row.pk)

    def state_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        row = self._row(request, pk)
        pending = row.state in {Import.State.QUEUED, Import.State.RUNNING}
        return JsonResponse({"html": state(row), "pending": pending})

    def refused_view(self, request: HttpRequest, pk: int, kind: str) -> HttpResponse:
        row = self._row(request, pk)
        if row.kind != Import.Kind.FAQ or kind not in TYPES:
            raise Http404
        try:
            return download(sheet_import.refused(row), _("refused"), kind)
        except ParseError as error:
            self.message_user(request, str(error), messages.ERROR)
            return redirect("admin:knowledge_import_change", pk)

    def _row(self, request: HttpRequest, pk: int) -> Import:
        row = self.get_object(request, str(pk))
        if row is None:
            raise Http404
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, f"admin/knowledge/import/{name}.html", shared | context)


def state(row: Import) -> SafeString:
    drafts = row.entries.filter(state=Entry.State.DRAFT).count()
    context = {
        "row": row,
        "drafts": drafts,
        "counts": wecom_import.shown(row.counts) if row.kind == Import.Kind.WECOM else [],
        "errors": row.errors[:ERRORS_SHOWN],
        "more": max(row.failed - ERRORS_SHOWN, 0),
    }
    return render_to_string("admin/knowledge/import/state.html", context)


def posted(data: Any) -> sheets.Mapping:
    """The mapping that a form says; what is no number counts as left out."""
    columns = {
        name: int(data[f"column_{name}"])
        for name in sheets.FIELDS
        if data.get(f"column_{name}", "").isdecimal()
    }
    return sheets.Mapping(
        sheet=_number(data.get("sheet"), 0),
        header=_number(data.get("header"), 1),
        columns=columns,
        publish=data.get("publish") == "on",
    )


def remapped(row: Import, wanted: sheets.Mapping) -> sheets.Mapping:
    """What is wanted; of another sheet or header row the columns are guessed anew."""
    was = sheets.Mapping(**row.mapping)
    if wanted.sheet != was.sheet:
        found = sheets.read(Path(row.file.path), row.name)
        wanted.sheet = min(wanted.sheet, len(found) - 1)
        guessed = sheets.guess(found[wanted.sheet : wanted.sheet + 1])
        wanted.header, wanted.columns = guessed.header, guessed.columns
    elif wanted.header != was.header:
        wanted.columns = {}  # the preview guesses them
    return wanted


def preview(row: Import) -> dict[str, Any]:
    """What the page shows of a sheet: its columns, the first rows as entries, and the counts."""
    found = sheets.read(Path(row.file.path), row.name)
    mapping = sheets.Mapping(**row.mapping)
    mapping.sheet = min(mapping.sheet, len(found) - 1)
    sheet = found[mapping.sheet]
    header = sheets.header_row(sheet, mapping.header)
    if not mapping.columns:  # another sheet or header was chosen
        mapping.columns = sheets.columns_of(header)
    planned = sheets.plan(row.knowledge_base, sheet, mapping)
    refused = [one for one in planned if one.error]
    shown = [name for name in sheets.FIELDS if name in mapping.columns]
    return {
        "mapping": mapping,
        "sheets": list(enumerate(one.name for one in found)),
        "fields": [
            (name, title, mapping.columns.get(name)) for name, title in sheets.FIELDS.items()
        ],
        "columns": sheets.column_names(sheet, header),
        "titles": [sheets.FIELDS[name] for name in shown],
        "rows": [(one, [sheets.shown(one.values.get(name)) for name in shown])
                 for one in planned[:SHOWN]],
        "counts": sheets.counts(planned),
        "total": len(planned),
        "refused": refused[:ERRORS_SHOWN],
        "more": max(len(refused) - ERRORS_SHOWN, 0),
    }  # fmt: skip


def _number(text: Any, default: int) -> int:
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 8 else default
