"""What several pages of the administration share."""

from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from knowledge.models import Document, KnowledgeBase


def deleted(objs: Any) -> tuple[list[str], dict[str, int], set[str], list[str]]:
    """What the admin lists before it deletes: not each of thousands of passages."""
    return [str(row) for row in objs], {}, set(), []


def documents_link(base: KnowledgeBase, text: str, more: str = "") -> SafeString:
    url = reverse("admin:knowledge_document_changelist")
    return format_html(
        '<a href="{}?knowledge_base__id__exact={}{}">{}</a>', url, base.pk, more, text
    )


def chunks_link(document: Document, text: str) -> SafeString:
    url = reverse("admin:knowledge_chunk_changelist")
    return format_html(
        '<a href="{}?document__id__exact={}" data-chunks="{}">{}</a>',
        url,
        document.pk,
        document.pk,
        text,
    )
