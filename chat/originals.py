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


def originals(citations: Iterable[Citation]) -> list[dict[str, Any]]:
    """Each that may be handed out once, in the order of the marks: its title, kind
    (pdf, doc, docx), size in bytes and address, which asks again who may have it."""
    found: dict[int, dict[str, Any]] = {}
    for citation in citations:
        revision = citation.revision
        if revision is None or not revision.file or revision.media_type not in KINDS:
            continue
        if revision.document.hands_out and scope.answers(revision.document):
            found[revision.pk] = {
                "title": revision.document.title,
                "kind": KINDS[revision.media_type],
                "size": revision.size,
                "url": reverse("revision-original", args=[revision.pk]),
            }
    return list(found.values())
