"""The curators' page of embedding indexes: build, let answer, go back, delete."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from knowledge import embedding
from knowledge.models import EmbeddingIndex
from opsdesk.errors import Conflict

CHANGELIST = "admin:knowledge_embeddingindex_changelist"


@admin.register(EmbeddingIndex)
class EmbeddingIndexAdmin(admin.ModelAdmin):
    list_display = ["model", "embedder", "dimensions", "progress", "created_at", "activated_at"]
    list_display_links = None
    readonly_fields = [field.name for field in EmbeddingIndex._meta.fields]
    actions = ["let_answer"]
    change_list_template = "admin/knowledge/embeddingindex/change_list.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # not by a form: the settings say which index can be built

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        answers = obj is not None and obj.state == EmbeddingIndex.State.ACTIVE
        return super().has_delete_permission(request, obj) and not answers

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("build/", view(self.build_view), name="knowledge_embeddingindex_build"),
            path("go-back/", view(self.go_back_view), name="knowledge_embeddingindex_go_back"),
            path("states/", view(self.states_view), name="knowledge_embeddingindex_states"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        wanted = embedding.configured()
        known = wanted and embedding.same_as(wanted)
        context = {
            "title": self.opts.verbose_name_plural,
            "wanted": wanted,
            "buildable": wanted and (not known or known.state == EmbeddingIndex.State.FAILED),
            "answering": embedding.active(),
            "may_build": request.user.has_perm("knowledge.add_embeddingindex"),
            "may_change": self.has_change_permission(request),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def progress(self, index: EmbeddingIndex) -> SafeString:
        return format_html('<div data-index="{}">{}</div>', index.pk, _state(index))

    @admin.action(description=gettext_lazy("Let the selected index answer"), permissions=["change"])
    def let_answer(self, request: HttpRequest, indexes: QuerySet[EmbeddingIndex]) -> None:
        if len(indexes) != 1:
            self.message_user(request, _("Select one index."), messages.ERROR)
            return
        self._try(request, lambda: embedding.activate(indexes[0]), _("This index answers now."))

    def build_view(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("knowledge.add_embeddingindex"):
            raise PermissionDenied
        return self._posted(
            request, embedding.create, _("The index is being built beside what answers now.")
        )

    def go_back_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        return self._posted(request, embedding.go_back, _("Went back to what answered before."))

    def states_view(self, request: HttpRequest) -> JsonResponse:
        """The state cell of every index, and whether one is being built."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        indexes = list(self.get_queryset(request))
        building = any(index.state == EmbeddingIndex.State.BUILDING for index in indexes)
        return JsonResponse(
            {"pending": building, "states": {index.pk: _state(index) for index in indexes}}
        )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """The confirmation names the indexes, not each of their vectors."""
        refused = {
            str(index.model) for index in objs if not self.has_delete_permission(request, index)
        }
        return [str(index) for index in objs], {}, refused, []

    def delete_model(self, request: HttpRequest, obj: EmbeddingIndex) -> None:
        embedding.drop(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[EmbeddingIndex]) -> None:
        for index in queryset:
            embedding.drop(index)

    def _posted(self, request: HttpRequest, work: Callable[[], object], said: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._try(request, work, said)
        return redirect(CHANGELIST)

    def _try(self, request: HttpRequest, work: Callable[[], object], said: str) -> None:
        try:
            work()
        except Conflict as conflict:
            self.message_user(request, str(conflict), messages.ERROR)
        else:
            self.message_user(request, said, messages.SUCCESS)


def _state(index: EmbeddingIndex) -> SafeString:
    return render_to_string("admin/knowledge/embeddingindex/state.html", {"index": index})
