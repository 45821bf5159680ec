"""Documents for tests, put into the index without a file or a worker."""

import time

from django.db import connection
from django.utils import timezone

from knowledge import indexing
from knowledge.models import Document, KnowledgeBase, Revision
from knowledge.parsing.document import Block, ParsedDocument


def base(slug="ops", **fields):
    return KnowledgeBase.objects.create(slug=slug, name=slug, **fields)


def parsed(*texts):
    return ParsedDocument(blocks=[Block("paragraph", text) for text in texts])


def revision(document, name="a.md"):
    made = Revision.objects.create(
        document=document, name=name, media_type="text/markdown", size=1, sha256="0" * 64
    )
    document.latest = made
    document.save()
    return made


def put(knowledge_base, text, title="", approved=True, **fields):
    """A new document of one paragraph that answers at once."""
    document = Document.objects.create(
        knowledge_base=knowledge_base,
        title=title,
        approved_at=timezone.now() if approved else None,
        **fields,
    )
    indexing.put(revision(document), parsed(text))
    document.refresh_from_db()
    return document


def somebody_waits():
    """Return once a transaction waits for a lock that this one holds."""
    end = time.monotonic() + 30
    with connection.cursor() as cursor:
        while time.monotonic() < end:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)


def put_many(knowledge_base, *texts):
    """Documents of one paragraph each, in one go."""
    made = Document.objects.bulk_create(
        Document(knowledge_base=knowledge_base, title="", approved_at=timezone.now()) for _ in texts
    )
    revisions = Revision.objects.bulk_create(
        Revision(document=one, name="a.md", media_type="text/markdown", size=1, sha256="0" * 64)
        for one in made
    )
    prepared = (indexing.prepare("", parsed(text)) for text in texts)
    indexing.put_all(list(zip(revisions, prepared, strict=True)))
    return made
