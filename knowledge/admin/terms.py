"""Curators' pages of terms: the words of a base that mean the same."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import CharField, F, Func, Q, QuerySet, Value
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from knowledge import sheets, synonyms, termlists
from knowledge.admin.entries import TYPES, download
from knowledge.forms import LinesField, SheetForm, quoted
from knowledge.models import Term
from knowledge.permissions import ByBase
from opsdesk.errors import ParseError

COLUMNS = gettext_lazy(
    "CSV or XLSX with the columns term, also called, note, enabled. Several words in a cell stand "
    "on lines of their own or with semicolons between them."
)


class WordsField(LinesField):
    """A list of words, one a line or with marks between them."""

    widget = forms.Textarea(attrs={"rows": 5, "cols": 40})

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        return termlists.words(value or "")

    def validate(self, value: Any) -> None:
        super().validate(value)
        if long := next((word for word in value if len(word) > termlists.LONGEST), ""):
            text = _("“%(word)s” is longer than %(most)d characters.")
            raise ValidationError(text % {"word": quoted(long), "most": termlists.LONGEST})


class TermForm(forms.ModelForm):
    variants = WordsField(
        label=gettext_lazy("Also called"),
        required=False,
        help_text=gettext_lazy("One a line: abbreviations, old names, what people say."),
    )

    class Meta:
        model = Term
        fields = ["knowledge_base", "canonical", "variants", "note", "enabled"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        base, canonical = values.get("knowledge_base"), values.get("canonical")
        if base and canonical and "variants" in values:
            synonyms.check(
                Term(
                    pk=self.instance.pk,
                    knowledge_base=base,
                    canonical=canonical,
                    variants=values["variants"],
                )
            )
        return values


@admin.register(Term)
class TermAdmin(ByBase):
    form = TermForm
    list_display = ["canonical", "also", "knowledge_base", "enabled", "note", "updated_at"]
    list_filter = ["knowledge_base", "enabled"]
    list_select_related = ["knowledge_base"]
    list_per_page = 100
    search_fields = ["canonical", "note"]
    actions = ["enable", "disable"]
    change_list_template = "admin/knowledge/term/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("import/", view(self.import_view), name="knowledge_term_import"),
            path("export.<str:kind>", view(self.export_view), name="knowledge_term_export"),
            *super().get_urls(),
        ]

    @admin.display(description=gettext_lazy("also called"))
    def also(self, term: Term) -> str:
        return "、".join(term.variants)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Term], search_term: str
    ) -> tuple[QuerySet[Term], bool]:
        found, distinct = super().get_search_results(request, queryset, search_term)
        if said := search_term.strip():
            together = Func(
                F("variants"), Value("\n"), function="array_to_string", output_field=CharField()
            )
            spoken = queryset.annotate(spoken=together).filter(spoken__icontains=said)
            found = queryset.filter(Q(pk__in=found.values("pk")) | Q(pk__in=spoken.values("pk")))
        return found, distinct

    def save_model(self, request: HttpRequest, obj: Term, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        synonyms.changed({obj.knowledge_base_id, form.initial.get("knowledge_base")} - {None})

    def delete_model(self, request: HttpRequest, obj: Term) -> None:
        super().delete_model(request, obj)
        synonyms.changed([obj.knowledge_base_id])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Term]) -> None:
        bases = set(queryset.values_list("knowledge_base", flat=True))
        super().delete_queryset(request, queryset)
        synonyms.changed(bases)

    @admin.action(description=gettext_lazy("Enable"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Term]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description=gettext_lazy("Disable"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Term]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Term], enabled: bool) -> None:
        bases = set(queryset.values_list("knowledge_base", flat=True))
        count = queryset.update(enabled=enabled)
        synonyms.changed(bases)
        if enabled:
            text = ngettext("%(n)d term counts now.", "%(n)d terms count now.", count)
        else:
            text = ngettext("%(n)d term counts no more.", "%(n)d terms count no more.", count)
        self.message_user(request, text % {"n": count}, messages.SUCCESS)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        initial = {"knowledge_base": request.GET.get("knowledge_base")}
        form = SheetForm(
            request.POST or None, request.FILES or None, initial=initial,
            bases=self.own_bases(request, "change"), columns=COLUMNS,
        )  # fmt: skip
        taken = None
        if form.is_valid():
            try:
                base, file = form.cleaned_data["knowledge_base"], form.cleaned_data["file"]
                with sheets.copied(file) as path:
                    taken = termlists.take(base, path, file.name)
            except ParseError as error:
                form.add_error("file", str(error))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Import terms"),
            "opts": self.opts,
            "form": form,
            "taken": taken,
        }
        return TemplateResponse(request, "admin/knowledge/term/import.html", context)

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if kind not in TYPES:
            raise Http404
        terms = self.get_queryset(request)
        base = request.GET.get("knowledge_base", "")
        if base.isdecimal():
            terms = terms.filter(knowledge_base=base[:18])
        return download(termlists.exported(terms), _("terms"), kind)
