"""The figures of a document: how many are described, and another try for those that failed."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from knowledge import describing, permissions
from knowledge.models import Attachment, Document

FAILED_SHOWN = 20


def context(document: Document) -> dict[str, Any]:
    """What `figures.html` shows: progress, and the first that failed."""
    revision = document.current
    if revision is None:
        return {}
    failed = revision.attachments.filter(description_state=Attachment.Description.FAILED)
    return {
        "described": describing.progress(revision),
        "undescribed": failed.order_by("position")[:FAILED_SHOWN],
    }


@require_POST
def describe(request: HttpRequest, pk: int) -> HttpResponse:
    """Try the figures again that failed."""
    document = get_object_or_404(Document.objects.select_related("current"), pk=pk)
    if not permissions.may(request.user, "change", document.knowledge_base_id):
        raise PermissionDenied
    tried = describing.again(document.current) if document.current else 0
    message = ngettext(
        "%(n)d figure will be tried again.", "%(n)d figures will be tried again.", tried
    )
    messages.success(request, message % {"n": tried})
    return redirect("admin:knowledge_document_change", pk)
