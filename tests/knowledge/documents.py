"""Documents for tests, put into the index without a file or a worker."""

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
