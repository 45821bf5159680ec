"""Curators' pages of passages."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from knowledge import indexing
from knowledge.models import Chunk
from knowledge.permissions import ByBase


@admin.register(Chunk)
class ChunkAdmin(ByBase):
    list_display = ["excerpt", "source", "place", "kind", "enabled"]
    list_editable = ["enabled"]
    list_display_links = ["excerpt"]
    list_filter = ["knowledge_base", "kind", "enabled"]
    list_select_related = ["document"]
    search_fields = ["text", "question", "document__title"]
    fields = ["source", "headings", "place", "kind", "question", "text", "enabled"]
    readonly_fields = ["source", "headings", "place", "kind"]
    show_full_result_count = False

    @admin.display(description=gettext_lazy("text"))
    def excerpt(self, chunk: Chunk) -> str:
        return Truncator(chunk.question or chunk.text).chars(120)

    @admin.display(description=gettext_lazy("document"), ordering="document")
    def source(self, chunk: Chunk) -> SafeString:
        url = reverse("admin:knowledge_document_change", args=[chunk.document_id])
        return format_html('<a href="{}">{}</a>', url, chunk.document)

    @admin.display(description=gettext_lazy("headings"))
    def headings(self, chunk: Chunk) -> str:
        return " › ".join(chunk.heading_path)

    @admin.display(description=gettext_lazy("place"))
    def place(self, chunk: Chunk) -> str:
        parts = [_("page %(n)d") % {"n": chunk.page} if chunk.page else "", chunk.locator]
        return " · ".join(filter(None, parts))

    def save_model(self, request: HttpRequest, obj: Chunk, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        indexing.update_chunks(Chunk.objects.filter(pk=obj.pk))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # passages come from documents

    def has_delete_permission(self, request: HttpRequest, obj: Chunk | None = None) -> bool:
        return False  # disabled instead: the next revision would bring it back
