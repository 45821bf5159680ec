"""Curators' pages of documents: upload, how far they are, the read original."""

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, F, Func, Q, QuerySet, TextField
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from knowledge import curating, describing, indexing, publishing, scope, uploading
from knowledge.admin import curation, figures, passwords
from knowledge.admin.parts import chunks_link, deleted
from knowledge.forms import LabelForm, TagsField, UploadForm
from knowledge.models import Document, KnowledgeBase, Revision, Status
from knowledge.permissions import ByBase
from opsdesk import gates
from opsdesk.admin import posted
from opsdesk.errors import ParseError

EXPIRING = 30  # days
NAMED = 20  # documents on the page of an action
FACTS = 50  # values offered by a filter
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


class OriginFilter(admin.SimpleListFilter):
    """Where documents come from; FAQ entries, which have a page of their own, only if asked."""

    title = gettext_lazy("origin")
    parameter_name = "origin__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Document.Origin.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> QuerySet[Document]:
        if self.value():
            return queryset.filter(origin=self.value())
        return queryset.exclude(origin=Document.Origin.FAQ)


class ValidityFilter(admin.SimpleListFilter):
    """Whether documents still answer, by their date and their source."""

    title = gettext_lazy("validity")
    parameter_name = "validity"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("expiring", _("expires within 30 days")),
            ("expired", _("expired")),
            ("retired", _("retired")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> QuerySet[Document]:
        today = scope.today()
        match self.value():
            case "expiring":
                soon = today + timedelta(days=EXPIRING)
                return queryset.filter(expires_on__gt=today, expires_on__lte=soon)
            case "expired":
                return queryset.filter(expires_on__lte=today)
            case "retired":
                return queryset.exclude(retired_at=None)
        return queryset


class FactFilter(admin.SimpleListFilter):
    """By a field that is typed freely: the values there are."""

    parameter_name: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        own = model_admin.own_bases(request, "view")
        documents = Document.objects.filter(knowledge_base__in=own)
        return [(value, value) for value in self.values(documents)[:FACTS]]

    def values(self, documents: QuerySet[Document]) -> Any:
        named = documents.exclude(**{self.parameter_name: ""}).order_by(self.parameter_name)
        return named.values_list(self.parameter_name, flat=True).distinct()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> QuerySet[Document]:
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() else queryset


class ProductFilter(FactFilter):
    title = gettext_lazy("product")
    parameter_name = "product"


class TagFilter(FactFilter):
    title = gettext_lazy("tag")
    parameter_name = "tag"

    def values(self, documents: QuerySet[Document]) -> Any:
        each = Func(F("tags"), function="unnest", output_field=TextField())
        tags = documents.annotate(named=each).values_list("named", flat=True)
        return tags.order_by("named").distinct()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> QuerySet[Document]:
        return queryset.filter(tags__contains=[self.value()]) if self.value() else queryset


class DocumentForm(forms.ModelForm):
    url = forms.URLField(
        label=gettext_lazy("address"), max_length=2000, required=False, assume_scheme="https"
    )

    class Meta:
        model = Document
        fields = ("external_id",)
        field_classes = {"tags": TagsField}

    def clean_external_id(self) -> str:
        """The base is not in the form, so that nothing else would look."""
        name: str = self.cleaned_data["external_id"]
        same = Document.objects.filter(
            knowledge_base=self.instance.knowledge_base_id, external_id=name
        )
        if name and same.exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(_("Another document of this knowledge base has this id."))
        return name


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
    list_filter = [
        "knowledge_base",
        "latest__status",
        ApprovedFilter,
        ValidityFilter,
        OriginFilter,
        ProductFilter,
        TagFilter,
    ]
    form = DocumentForm
    list_select_related = ["knowledge_base", "latest"]
    list_per_page = 50
    search_fields = ["title", "external_id"]
    actions = ["retry", "approve", "label", "retire", "restore"]
    fields = [
        ("title", "external_id"),
        ("product", "version", "environment"),
        ("tags", "expires_on"),
        ("url", "tier", "originals"),
    ]
    change_list_template = "admin/knowledge/document/change_list.html"
    change_form_template = "admin/knowledge/document/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        documents = super().get_queryset(request).defer("latest__parsed")
        return documents.annotate(chunk_count=Count("chunks"))

    def get_urls(self) -> list[URLPattern]:
        states = self.admin_site.admin_view(self.states_view)
        unlock = self.admin_site.admin_view(passwords.unlock)
        describe = self.admin_site.admin_view(figures.describe)
        return [
            *posted(self, {"release": self.release_view, "put_back": self.put_back_view}),
            path("states/", states, name="knowledge_document_states"),
            path("<int:pk>/unlock/", unlock, name="knowledge_document_unlock"),
            path("<int:pk>/describe/", describe, name="knowledge_document_describe"),
            *curation.urls(self.admin_site),
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

    @admin.action(description=gettext_lazy("Retire"), permissions=["change"])
    def retire(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        documents = Document.objects.filter(pk__in=queryset.values("pk"))
        reason = _("by %(user)s") % {"user": request.user}
        number = uploading.retire(documents, reason)
        message = ngettext("%(n)d document retired.", "%(n)d documents retired.", number)
        self.message_user(request, message % {"n": number}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Let answer again"), permissions=["change"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        documents = Document.objects.filter(pk__in=queryset.values("pk"))
        number = uploading.restore(documents)
        message = ngettext("%(n)d document restored.", "%(n)d documents restored.", number)
        self.message_user(request, message % {"n": number}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Set scope, tags and expiry …"), permissions=["change"])
    def label(self, request: HttpRequest, queryset: QuerySet[Document]) -> HttpResponse | None:
        documents = Document.objects.filter(pk__in=queryset.values("pk"))
        form = LabelForm(request.POST if "label" in request.POST else None)
        if form.is_valid():
            number = form.apply(documents)
            message = ngettext("%(n)d document changed.", "%(n)d documents changed.", number)
            self.message_user(request, message % {"n": number}, messages.SUCCESS)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": _("Set scope, tags and expiry"),
            "opts": self.opts,
            "form": form,
            "number": documents.count(),
            "documents": documents[:NAMED],
            "chosen": request.POST.getlist("_selected_action"),
            "across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "admin/knowledge/document/label.html", context)

    def save_model(self, request: HttpRequest, obj: Document, form: Any, change: bool) -> None:
        changed = {name: form.cleaned_data[name] for name in form.changed_data}
        # Only those: a worker may be swapping in another revision of the same row.
        if "title" in changed:  # first: who swaps holds the lexicon and then wants the base
            indexing.rename(obj.pk, changed["title"])
        uploading.describe(Document.objects.filter(pk=obj.pk), **changed)

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
            extra_context = {**self._facts(request, document), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra_context)

    def _facts(self, request: HttpRequest, document: Document) -> dict[str, Any]:
        """What the page of a document tells beside its form."""
        return {
            "document": document,
            "show_save_and_add_another": False,  # adding is uploading
            "state": self.state(document),
            "chunks": self.passages(document),
            "counts": document.chunks.aggregate(
                disabled=Count("pk", filter=Q(enabled=False)),
                edited=Count("pk", filter=Q(edited=True)),
            ),
            "expired": _expired(document),
            "revisions": document.revisions.defer("parsed"),
            "warnings": Revision.objects.filter(pk=document.current_id or 0)
            .values_list("parsed__warnings", flat=True)
            .first(),
            "has_file": document.latest and bool(document.latest.file),
            "may_change": self.has_change_permission(request, document),
            "may_release": may_release(request),
            "replayed": gates.told(request, "document", document.latest_id)
            if document.latest_id
            else [],
            "lost": curating.lost(document),
            "leaf": curation.opened(request, document),
            **figures.context(document),
        }

    def release_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Let what a gate holds back answer all the same; for those who set up bases."""
        document = self._changeable(request, pk)
        if not may_release(request):
            raise PermissionDenied
        if document.latest and publishing.release(document.latest):
            self.log_change(request, document, _("Published in spite of the gate."))
            self.message_user(request, _("It is read again and answers then."), messages.SUCCESS)
        return redirect("admin:knowledge_document_change", pk)

    def put_back_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Have a revision answer again that did; of others a gate would have to be asked."""
        document = self._changeable(request, pk)
        number = request.POST.get("revision", "")
        rows = document.revisions.filter(status=Status.READY).exclude(file="")
        rows = rows.exclude(pk=document.current_id or 0)
        valid = number.isdecimal() and len(number) < 19
        publishing.put_back(get_object_or_404(rows, pk=number if valid else 0))
        self.log_change(request, document, _("An earlier revision was put back."))
        self.message_user(request, _("It is read again and answers then."), messages.SUCCESS)
        return redirect("admin:knowledge_document_change", pk)

    def _changeable(self, request: HttpRequest, pk: int) -> Document:
        document = get_object_or_404(Document.objects.select_related("latest"), pk=pk)
        if not self.has_change_permission(request, document):
            raise PermissionDenied
        return document

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
                "pending": _pending(document),
                "chunks": document.chunk_count,  # type: ignore[attr-defined]
            }
            for document in documents
        }
        return JsonResponse({"documents": states})


def may_release(request: HttpRequest) -> bool:
    return request.user.has_perm("knowledge.change_knowledgebase")


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


def _pending(document: Document) -> bool:
    """Whether its state will change by itself."""
    latest = document.latest
    return bool(latest and (latest.unfinished or describing.pending(latest)))


def _state(document: Document) -> SafeString:
    described = describing.progress(document.latest) if settings.BACKENDS["vision"] else {}
    context = {
        "document": document,
        "revision": document.latest,
        "figures": described,
        "lapsed": _lapsed(document),
    }
    return render_to_string("admin/knowledge/document/state.html", context)


def _expired(document: Document) -> bool:
    return document.expires_on is not None and document.expires_on <= scope.today()


def _lapsed(document: Document) -> str:
    """Why what was read answers no more; empty when it answers."""
    if document.retired_at:
        return _("retired")
    return _("expired") if _expired(document) else ""
