"""Curators' pages that take a whole base out as one file, and bring one in."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.validators import validate_slug
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from knowledge import permissions, shipping
from knowledge.models import KnowledgeBase
from knowledge.transfer import TransferError

PAGE = "admin:knowledge_knowledgebase_change"
AGAIN = "3"  # seconds until the page of something under way looks again


class ImportForm(forms.Form):
    file = forms.FileField(label=gettext_lazy("Export of a knowledge base"))
    slug = forms.CharField(
        label=gettext_lazy("slug"),
        required=False,
        max_length=50,
        validators=[validate_slug],
        help_text=gettext_lazy("Empty: as it was."),
    )

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug and KnowledgeBase.objects.filter(slug=slug).exists():
            raise forms.ValidationError(_("There is a knowledge base of this slug already."))
        return slug


def _base(request: HttpRequest, pk: int) -> KnowledgeBase:
    base = get_object_or_404(KnowledgeBase, pk=pk)
    if not permissions.may(request.user, "change", base):
        raise PermissionDenied
    return base


@require_POST
def export_view(request: HttpRequest, pk: int) -> HttpResponse:
    base = _base(request, pk)
    shipping.begin_export(base)
    messages.success(request, _("The export is being made. This page shows how far it is."))
    return redirect(PAGE, base.pk)


@require_safe
def download_view(request: HttpRequest, pk: int) -> HttpResponse | FileResponse:
    base = _base(request, pk)
    path = shipping.export_path(base)
    if not path.exists():
        messages.error(request, _("There is no export here any more. Make a new one."))
        return redirect(PAGE, base.pk)
    return FileResponse(path.open("rb"), as_attachment=True, filename=shipping.name(base))


def import_view(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("knowledge.add_knowledgebase"):
        raise PermissionDenied
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            key = shipping.begin_import(
                form.cleaned_data["file"],
                form.cleaned_data["slug"],
                request.user,  # type: ignore[arg-type]
            )
        except TransferError as error:
            form.add_error("file", str(error))
        else:
            return redirect(f"{request.path}?key={key}")
    return _import_page(request, form)


def _import_page(request: HttpRequest, form: ImportForm) -> HttpResponse:
    state = shipping.state(request.GET.get("key", "")[:60])
    base = KnowledgeBase.objects.filter(pk=state["base"]).first() if state.get("base") else None
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Import a knowledge base"),
        "opts": KnowledgeBase._meta,
        "form": form,
        "state": state,
        "base": base,
    }
    page = TemplateResponse(request, "admin/knowledge/knowledgebase/import.html", context)
    return refreshed(page, state)


def refreshed(page: HttpResponse, state: dict[str, Any]) -> HttpResponse:
    """The page, which looks again by itself while something is under way."""
    if state.get("state") in {"queued", "running"}:
        page["Refresh"] = AGAIN
    return page
