"""Curators' pages of documents: upload, how far they are, the read original."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from knowledge import indexing, pages, uploading
from knowledge.admin import passwords
from knowledge.admin.parts import chunks_link, deleted
from knowledge.forms import UploadForm
from knowledge.models import Document, KnowledgeBase, Status
from knowledge.permissions import ByBase
from opsdesk.errors import ParseError

SHOWN_AT_ONCE = 200  # documents whose state a list may ask for


class ApprovedFilter(admin.SimpleListFilter):
    title = gettext_lazy("approval")
    parameter_name = "approved"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", _("Yes")), ("no", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> QuerySet[Document]:
        if self.value() is None:
            return queryset
        return queryset.filter(approved_at__isnull=self.value() == "no")


@admin.register(Document)
class DocumentAdmin(ByBase):
    list_display = [
        "title",
        "state",
        "knowledge_base",
        "approved",
        "passages",
        "updated_at",
    ]
    list_filter = ["knowledge_base", "latest__status", ApprovedFilter, "origin"]
    list_select_related = ["knowledge_base", "latest"]
    list_per_page = 50
    search_fields = ["title", "external_id"]
    actions = ["retry", "approve"]
    fields = ["title", "external_id"]
    change_list_template = "admin/knowledge/document/change_list.html"
    change_form_template = "admin/knowledge/document/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        documents = super().get_queryset(request).defer("latest__parsed")
        return documents.annotate(chunk_count=Count("chunks"))

    def get_urls(self) -> list[URLPattern]:
        states = self.admin_site.admin_view(self.states_view)
        unlock = self.admin_site.admin_view(passwords.unlock)
        return [
            path("states/", states, name="knowledge_document_states"),
            path("<int:pk>/unlock/", unlock, name="knowledge_document_unlock"),
            *super().get_urls(),
        ]

    @admin.display(description=gettext_lazy("status"), ordering="latest__status")
    def state(self, document: Document) -> SafeString:
        return format_html(
            '<div class="upload-state" data-document="{}">{}</div>', document.pk, _state(document)
        )

    @admin.display(description=gettext_lazy("approval"), boolean=True, ordering="approved_at")
    def approved(self, document: Document) -> bool:
        return document.approved_at is not None

    @admin.display(description=gettext_lazy("chunks"), ordering="chunk_count")
    def passages(self, document: Any) -> SafeString:
        return chunks_link(document, str(document.chunk_count))

    @admin.action(description=gettext_lazy("Process again"), permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        # The list's queryset groups by document, which cannot be locked.
        documents = Document.objects.filter(pk__in=queryset.values("pk"))
        queued = sum(map(uploading.retry, documents))
        message = ngettext("%(n)d document queued.", "%(n)d documents queued.", queued)
        self.message_user(request, message % {"n": queued}, messages.SUCCESS)
        if left := len(documents) - queued:
            message = ngettext(
                "%(n)d was left alone: it is under way, or has no file kept.",
                "%(n)d were left alone: they are under way, or have no file kept.",
                left,
            )
            self.message_user(request, message % {"n": left}, messages.WARNING)

    @admin.action(description=gettext_lazy("Approve"), permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        documents = Document.objects.filter(pk__in=queryset.values("pk"))
        approved = uploading.approve(documents, request.user)  # type: ignore[arg-type]
        message = ngettext("%(n)d document approved.", "%(n)d documents approved.", approved)
        self.message_user(request, message % {"n": approved}, messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: Document, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "title" in form.changed_data:  # its words count for every passage
            indexing.update_chunks(obj.chunks.all())

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        return deleted(objs)

    def delete_model(self, request: HttpRequest, obj: Document) -> None:
        uploading.delete([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        uploading.delete(Document.objects.filter(pk__in=queryset.values("pk")))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Adding documents is uploading files, several at once."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        initial = {"knowledge_base": request.GET.get("knowledge_base")}
        posted = (request.POST, request.FILES) if request.method == "POST" else (None, None)
        form = UploadForm(*posted, initial=initial, user=request.user)
        wants_json = request.accepts("text/html") is False
        if form.is_valid():
            base, password = form.base(), form.cleaned_data["password"]
            results = [
                row
                for file in form.cleaned_data["files"]
                for row in _add(request, base, file, password)
            ]
            if wants_json:
                return JsonResponse({"results": results})
            return self._after_upload(request, base, results)
        if wants_json:
            return JsonResponse({"errors": form.errors.get_json_data()}, status=400)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Upload documents"),
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/knowledge/document/upload.html", context)

    def _after_upload(
        self, request: HttpRequest, base: KnowledgeBase, results: list[dict[str, Any]]
    ) -> HttpResponse:
        for result in results:
            level = messages.ERROR if result["failed"] else messages.SUCCESS
            self.message_user(request, f"{result['name']}: {result['text']}", level)
        url = reverse("admin:knowledge_document_changelist")
        return redirect(f"{url}?knowledge_base__id__exact={base.pk}")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        document = self.get_object(request, object_id)
        if document:
            extra_context = {
                "document": document,
                "state": self.state(document),
                "chunks": self.passages(document),
                "revisions": document.revisions.defer("parsed"),
                "has_file": document.latest and bool(document.latest.file),
                "has_pages": document.latest and pages.has_pictures(document.latest),
                **(extra_context or {}),
            }
        return super().change_view(request, object_id, form_url, extra_context)

    def states_view(self, request: HttpRequest) -> JsonResponse:
        """The state cells of the documents `ids`, comma-separated, but of those that are gone."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.get("ids", "").split(",")[:SHOWN_AT_ONCE]
        ids = [int(pk) for pk in asked if pk.isdecimal() and len(pk) < 19]
        documents = self.get_queryset(request).filter(pk__in=ids).select_related("latest")
        states = {
            document.pk: {
                "html": _state(document),
                "pending": bool(document.latest and document.latest.unfinished),
                "chunks": document.chunk_count,  # type: ignore[attr-defined]
            }
            for document in documents
        }
        return JsonResponse({"documents": states})


def _add(
    request: HttpRequest, base: KnowledgeBase, file: Any, password: str
) -> list[dict[str, Any]]:
    """Take in one uploaded file, or each file of an uploaded zip; a result a file."""
    options: dict[str, Any] = {"user": request.user, "approved": True, "password": password}
    if not file.name.lower().endswith(".zip"):
        return [_result(file.name, uploading.add(base, file=file, name=file.name, **options))]
    if problem := uploading.too_large(file.size):
        return [{"name": file.name, "failed": True, "text": problem}]
    results = []
    try:
        for added in uploading.add_archive(base, file, **options):
            results.append(_result(added.document.external_id or added.revision.name, added))
    except ParseError as error:
        results.append({"name": file.name, "failed": True, "text": str(error)})
    return results


def _result(name: str, added: uploading.Added) -> dict[str, Any]:
    revision = added.revision
    if revision.status == Status.FAILED:
        text = revision.error
    elif added.created:
        text = _("stored, it will be read now")
    else:
        text = _("was already here")
    return {
        "name": name,
        "failed": revision.status == Status.FAILED,
        "text": text,
        "document": added.document.pk,
        "url": reverse("admin:knowledge_document_change", args=[added.document.pk]),
        "html": _state(added.document),
        "pending": revision.unfinished,
    }


def _state(document: Document) -> SafeString:
    context = {"document": document, "revision": document.latest}
    return render_to_string("admin/knowledge/document/state.html", context)
