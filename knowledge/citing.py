"""The moment an answer is written: what it cites must still be what answers."""

from collections.abc import Sequence

from django.db import connection
from django.db.models import F

from knowledge import scope
from knowledge.models import Chunk
from knowledge.retrieval import Passage


class Outdated(Exception):
    """What an answer cites was replaced, retired, edited or deleted while it was made."""


def hold(passages: Sequence[Passage]) -> bool:
    """Whether all of them still answer, word for word; inside a transaction.

    If so they stay until it ends: who replaces, retires, edits or deletes one waits. The lock
    is the one a foreign key takes, so answers do not wait for each other, nor for a
    replacement that is still being written.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM knowledge_document WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE",
            [[passage.document_id for passage in passages]],
        )
    return current(passages)


def current(passages: Sequence[Passage]) -> bool:
    """Whether all of them answer, word for word, at this moment."""
    there = Chunk.objects.filter(
        scope.answering("document__"),
        pk__in=[passage.chunk_id for passage in passages],
        enabled=True,
        revision=F("document__current"),
    )
    texts = dict(there.values_list("pk", "text"))
    return all(
        texts.get(passage.chunk_id) == (passage.stored or passage.text) for passage in passages
    )
