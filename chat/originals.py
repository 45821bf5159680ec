"""The finished files behind an answer: the PDF and Word originals that it cites."""

from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from chat.models import Citation
from knowledge import scope

KINDS = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
}


def original(citation: Citation) -> dict[str, Any] | None:
    """The file that `citation` is from, when it may be handed out: its title, file name, kind
    (pdf, doc, docx), size in bytes and address, which asks again who may have it."""
    revision = citation.revision
    if revision is None or not revision.file or revision.media_type not in KINDS:
        return None
    if not (revision.document.hands_out and scope.answers(revision.document)):
        return None
    return {
        "title": revision.document.title,
        "name": revision.name,
        "kind": KINDS[revision.media_type],
        "size": revision.size,
        "url": reverse("revision-original", args=[revision.pk]),
    }


def originals(citations: Iterable[Citation]) -> list[dict[str, Any]]:
    """Each that `citations` are from once, in the order of the marks."""
    found = [given for citation in citations if (given := original(citation))]
    return list({given["url"]: given for given in found}.values())
