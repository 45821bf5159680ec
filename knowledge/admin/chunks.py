"""Curators' pages of passages."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from knowledge import curating, indexing
from knowledge.forms import LinesField
from knowledge.models import Chunk, Document
from knowledge.permissions import ByBase


class ChunkForm(forms.ModelForm):
    """As the document page's, for those without scripts."""

    questions = LinesField(
        label=gettext_lazy("Other questions"),
        help_text=gettext_lazy("One a line. They count for search and are not shown."),
        required=False,
    )
    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = Chunk
        fields = ("question", "text", "questions", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["seen"] = curating.version(self.instance)

    def clean(self) -> dict[str, Any]:
        """Refuse here what `curating.edit` would: the admin's transaction holds the passage."""
        data = super().clean() or {}
        indexing.lock([self.instance.document_id])
        now = Chunk.objects.select_related("document").filter(pk=self.instance.pk).first()
        if now is None or (data.get("seen") and data["seen"] != curating.version(now)):
            raise ValidationError(curating.what_happened(self.instance.pk))
        if now.document.origin == Document.Origin.FAQ and set(self.changed_data) - {"enabled"}:
            raise ValidationError(_("This passage is a FAQ entry. Change the entry."))
        if "text" in data:
            curating.check(now, data["text"], data["question"], data["questions"])
        return data


class EditedFilter(admin.SimpleListFilter):
    title = gettext_lazy("edited")
    parameter_name = "edited"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", _("Yes")), ("no", _("No")), ("questions", _("with other questions"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Chunk]) -> QuerySet[Chunk]:
        if self.value() == "questions":
            return queryset.exclude(questions=[])
        if self.value() is None:
            return queryset
        return queryset.filter(edited=self.value() == "yes")


@admin.register(Chunk)
class ChunkAdmin(ByBase):
    form = ChunkForm
    list_display = ["excerpt", "source", "place", "kind", "enabled", "edited"]
    list_display_links = ["excerpt"]
    list_filter = ["knowledge_base", "kind", "enabled", EditedFilter]
    list_select_related = ["document"]
    list_per_page = 50
    search_fields = ["text", "question", "document__title"]
    actions = ["enable", "disable", "reindex"]
    fields = ["source", "headings", "place", "kind", "question", "text", "questions", "enabled"]
    fields += ["seen"]
    readonly_fields = ["source", "headings", "place", "kind"]
    show_full_result_count = False

    @admin.display(description=gettext_lazy("text"))
    def excerpt(self, chunk: Chunk) -> str:
        return Truncator(chunk.question or chunk.text).chars(120)

    @admin.display(description=gettext_lazy("document"), ordering="document")
    def source(self, chunk: Chunk) -> SafeString:
        url = reverse("admin:knowledge_document_change", args=[chunk.document_id])
        return format_html('<a href="{}?chunk={}">{}</a>', url, chunk.pk, chunk.document)

    @admin.display(description=gettext_lazy("headings"))
    def headings(self, chunk: Chunk) -> str:
        return " › ".join(chunk.heading_path)

    @admin.display(description=gettext_lazy("place"))
    def place(self, chunk: Chunk) -> str:
        parts = [_("page %(n)d") % {"n": chunk.page} if chunk.page else "", chunk.locator]
        return " · ".join(filter(None, parts))

    def get_fields(self, request: HttpRequest, obj: Chunk | None = None) -> Any:
        fields = super().get_fields(request, obj)
        if self.has_change_permission(request, obj):
            return fields
        return [name for name in fields if name != "seen"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Chunk]:
        return super().get_queryset(request).defer("regions")

    def save_model(self, request: HttpRequest, obj: Chunk, form: Any, change: bool) -> None:
        """Through `curating`, so that it is indexed and can be undone."""
        data, changed = form.cleaned_data, set(form.changed_data)
        user: Any = request.user
        if changed & {"text", "question", "questions"}:
            curating.edit(
                obj.pk,
                text=data["text"],
                question=data["question"],
                questions=data["questions"],
                user=user,
            )
        if "enabled" in changed:
            curating.set_enabled(Chunk.objects.filter(pk=obj.pk), data["enabled"], user)

    @admin.action(description=gettext_lazy("Enable"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Chunk]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description=gettext_lazy("Disable"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Chunk]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Chunk], enabled: bool) -> None:
        chunks = Chunk.objects.filter(pk__in=queryset.values("pk"))
        number = curating.set_enabled(chunks, enabled, request.user)  # type: ignore[arg-type]
        message = (
            ngettext("%(n)d passage enabled.", "%(n)d passages enabled.", number)
            if enabled
            else ngettext("%(n)d passage disabled.", "%(n)d passages disabled.", number)
        )
        self.message_user(request, message % {"n": number}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Index again"), permissions=["change"])
    def reindex(self, request: HttpRequest, queryset: QuerySet[Chunk]) -> None:
        number = 0
        documents = queryset.order_by("document").values_list("document", flat=True).distinct()
        for document in list(documents):
            ids = list(queryset.filter(document=document).values_list("pk", flat=True))
            indexing.update_chunks(Chunk.objects.filter(pk__in=ids))
            number += len(ids)
        message = ngettext("%(n)d passage indexed.", "%(n)d passages indexed.", number)
        self.message_user(request, message % {"n": number}, messages.SUCCESS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # passages come from documents

    def has_delete_permission(self, request: HttpRequest, obj: Chunk | None = None) -> bool:
        return False  # disabled instead: the next revision would bring it back
