"""The password of a file that is locked, from the document's page."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from knowledge import permissions, uploading
from knowledge.models import Document

LONGEST = 255  # characters: Office takes no longer ones


@sensitive_post_parameters("password")
@require_POST
def unlock(request: HttpRequest, pk: int) -> HttpResponse:
    """Read the latest file again with the `password` that was posted."""
    document = get_object_or_404(Document, pk=pk)
    if not permissions.may(request.user, "change", document.knowledge_base_id):
        raise PermissionDenied
    password = request.POST.get("password", "")[:LONGEST]
    if not password:
        messages.error(request, _("Give a password."))
    elif uploading.unlock(document, password):
        messages.success(request, _("The file will be read with this password."))
    else:
        messages.warning(request, _("It is being read already, or has no file kept."))
    return redirect("admin:knowledge_document_change", pk)
