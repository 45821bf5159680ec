"""The demo: a small company's ops handbook in four formats, and questions about it.

`files/` is made from `source/` by `make.py`; the company, its hosts and numbers are invented.
"""

import json
from pathlib import Path
from typing import Any

from django.core.files import File
from django.db import transaction
from django.utils.translation import gettext as _

from knowledge import uploading
from knowledge.models import Document, KnowledgeBase, Revision

HERE = Path(__file__).parent
SLUG = "demo"
# File, its name for people, external id.
FILES = [
    ("database-manual.pdf", "数据库运维手册.pdf", "demo/database-manual"),
    ("release-process.docx", "发布与回滚流程.docx", "demo/release-process"),
    ("faq.xlsx", "常见问题.xlsx", "demo/faq"),
    ("oncall.md", "值班手册.md", "demo/oncall"),
]


def load() -> None:
    """Make the demo knowledge base, once: what staff changed or deleted in it stays so."""
    with transaction.atomic():
        base, created = KnowledgeBase.objects.get_or_create(
            slug=SLUG,
            defaults={
                "name": _("Demo: ops handbook"),
                "description": _("Documents of an invented company, to try OpsDesk with."),
                "audience": KnowledgeBase.Audience.VISITORS,
            },
        )
        if created:
            for path, name, external_id in FILES:
                with (HERE / "files" / path).open("rb") as content:
                    uploading.add(
                        base, file=File(content), name=name, external_id=external_id,
                        origin=Document.Origin.INGEST, approved=True,
                    )  # fmt: skip


def read() -> bool:
    """Whether all its documents have been read, well or badly."""
    return not Revision.objects.unfinished().filter(document__knowledge_base__slug=SLUG).exists()


def questions() -> list[dict[str, Any]]:
    """Questions in users' own words: `{"id", "question", "gold": [external ids], "answers": [exact
    spans], "answerable", "page": number or None}`, of which some have no answer in the demo."""
    lines = (HERE / "questions.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]
