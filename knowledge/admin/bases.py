"""Curators' pages of knowledge bases."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from knowledge import embedding, overview, permissions, shipping, uploading
from knowledge.admin import finding, learning, sureness, transfers
from knowledge.admin.parts import deleted, documents_link
from knowledge.models import KnowledgeBase, Role, Status
from knowledge.permissions import ByBase


class RoleInline(admin.TabularInline):
    """Given by whom Django lets change roles, not by curators."""

    model = Role
    extra = 0
    autocomplete_fields = ["group"]


@admin.register(KnowledgeBase)
class KnowledgeBaseAdmin(ByBase):
    """Who holds a role on a base sees its page; the base itself takes Django's permission."""

    base_path = "pk"
    inlines = [RoleInline]
    change_list_template = "admin/knowledge/knowledgebase/change_list.html"
    change_form_template = "admin/knowledge/knowledgebase/change_form.html"
    list_display = ["name", "slug", "audience", "documents", "chunks", "failed", "trial"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}
    autocomplete_fields = ["groups"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[KnowledgeBase]:
        failed = Q(documents__latest__status=Status.FAILED)
        return (
            super()
            .get_queryset(request)
            .annotate(
                document_count=Count("documents", distinct=True),
                failed_count=Count("documents", filter=failed, distinct=True),
            )
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("import/", view(transfers.import_view), name="knowledge_knowledgebase_import"),
            path(
                "<int:pk>/export/",
                view(transfers.export_view),
                name="knowledge_knowledgebase_export",
            ),
            path(
                "<int:pk>/download/",
                view(transfers.download_view),
                name="knowledge_knowledgebase_download",
            ),
            path(
                "<int:pk>/learned/",
                view(learning.learned_view),
                name="knowledge_knowledgebase_learned",
            ),
            path("<int:pk>/try/", view(finding.try_view), name="knowledge_knowledgebase_try"),
            path(
                "<int:pk>/missed/", view(finding.missed_view), name="knowledge_knowledgebase_missed"
            ),
            path("<int:pk>/mend/", view(finding.mend_view), name="knowledge_knowledgebase_mend"),
            path(
                "<int:pk>/sureness/",
                view(sureness.sureness_view),
                name="knowledge_knowledgebase_sureness",
            ),
            path(
                "<int:pk>/calibrate/",
                view(sureness.calibrate_view),
                name="knowledge_knowledgebase_calibrate",
            ),
            *super().get_urls(),
        ]

    @admin.display(description=gettext_lazy("documents"), ordering="document_count")
    def documents(self, base: Any) -> SafeString:
        return documents_link(base, str(base.document_count))

    @admin.display(description=gettext_lazy("chunks"))
    def chunks(self, base: KnowledgeBase) -> int:
        return base.chunks.count()

    @admin.display(description=gettext_lazy("failed"), ordering="failed_count")
    def failed(self, base: Any) -> SafeString | str:
        if not base.failed_count:
            return ""
        return documents_link(base, str(base.failed_count), "&latest__status__exact=failed")

    @admin.display(description=gettext_lazy("try"))
    def trial(self, base: KnowledgeBase) -> SafeString:
        url = reverse("admin:knowledge_knowledgebase_try", args=[base.pk])
        return format_html('<a href="{}">{}</a>', url, _("Try out"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        base = self.get_object(request, object_id)
        context, shipped = {}, {}
        if base and self.has_view_permission(request, base):
            shipped = shipping.state(shipping.export_key(base))
            failures = list(overview.failures(base))
            context = {
                "panels": overview.panels(request, base),
                "failures": failures,
                "retriable": any(one.latest and one.latest.file for one in failures),
                "may_change": permissions.may(request.user, "change", base),
                "shipping": shipped,
                "failed_shipping": shipped if shipped.get("state") == "failed" else {},
                "exported": shipping.export_path(base).exists(),
            }
        context |= extra_context or {}
        page = super().change_view(request, object_id, form_url, context)
        return transfers.refreshed(page, shipped)

    def save_model(self, request: HttpRequest, obj: KnowledgeBase, form: Any, change: bool) -> None:
        """Only what was changed: a worker may be raising the version of the same row."""
        own = {field.name for field in obj._meta.concrete_fields}
        obj.save(update_fields=own.intersection(form.changed_data) if change else None)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        return deleted(objs)

    def delete_model(self, request: HttpRequest, obj: KnowledgeBase) -> None:
        uploading.delete(obj.documents.all())
        embedding.drop_of(obj)
        obj.delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[KnowledgeBase]) -> None:
        for base in queryset:
            self.delete_model(request, base)
