"""Questions of which a person said what answers them: what a base learns from.

A pair belongs to a document, which stays when it is replaced, and to a passage of it that is
known again by its digest. Who writes pairs says where they come from; a pair that a person
took out does not come back by itself.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

from django.contrib.auth.models import User
from django.db.models import QuerySet

from knowledge.models import Chunk, ConfirmedPair, Document, Entry, KnowledgeBase

Origin = ConfirmedPair.Origin
QUESTION = 1_000  # characters
BATCH = 1_000


def confirm(
    base: KnowledgeBase,
    question: str,
    document: Document,
    origin: str,
    *,
    chunk: Chunk | None = None,
    user: User | None = None,
) -> ConfirmedPair | None:
    """Keep that `document`, and of it `chunk`, answers `question`; None for an empty question.

    Said twice it is as once. What was taken out is returned as it is.
    """
    made = _pair(base.pk, question, document.pk, origin, chunk.digest if chunk else "", user)
    if made is None:
        return None
    pair, _new = ConfirmedPair.objects.get_or_create(
        document=document, key=made.key, defaults=_values(made)
    )
    return pair


def keep_entries(published: Sequence[Entry]) -> None:
    """Bring the pairs of published entries up to date with their other questions; in the
    transaction that publishes them."""
    origins = {Entry.Origin.SHEET: Origin.IMPORT, Entry.Origin.HANDOFF: Origin.HANDOFF}
    wanted = [
        pair
        for entry in published
        if entry.document_id
        for question in _asked(entry)
        if (
            pair := _pair(
                entry.knowledge_base_id,
                question,
                entry.document_id,
                origins.get(Entry.Origin(entry.origin), Origin.VARIANT),
                "",
                entry.decided_by,
            )
        )
    ]
    held = {(pair.document_id, pair.key) for pair in wanted}
    documents = [entry.document_id for entry in published]
    own = ConfirmedPair.objects.filter(
        document__in=documents, origin__in=[Origin.VARIANT, Origin.IMPORT], dropped=False
    )
    gone = [row.pk for row in own if (row.document_id, row.key) not in held]
    ConfirmedPair.objects.filter(pk__in=gone).delete()
    ConfirmedPair.objects.bulk_create(wanted, BATCH, ignore_conflicts=True)


def _asked(entry: Entry) -> list[str]:
    """In what words people ask it: also in its own, when a customer said them."""
    spoken = entry.origin in (Entry.Origin.WECOM, Entry.Origin.HANDOFF)
    return [*([entry.question] if spoken else []), *entry.variants]


def _pair(
    base_id: int, question: str, document_id: int, origin: str, digest: str, user: User | None
) -> ConfirmedPair | None:
    question = " ".join(question.replace("\x00", "").split())[:QUESTION]
    if not question:
        return None
    return ConfirmedPair(
        knowledge_base_id=base_id,
        question=question,
        key=key(question),
        document_id=document_id,
        digest=digest,
        origin=origin,
        user=user,
    )


def _values(pair: ConfirmedPair) -> dict[str, object]:
    names = ("knowledge_base_id", "question", "digest", "origin", "user")
    return {name: getattr(pair, name) for name in names}


def key(question: str) -> str:
    """By which a question is known again, whatever its width, case, spaces and marks."""
    folded = unicodedata.normalize("NFKC", question).casefold()
    plain = "".join(filter(str.isalnum, folded)) or folded
    return hashlib.blake2b(plain.encode(), digest_size=16).hexdigest()


def counting(base: KnowledgeBase) -> QuerySet[ConfirmedPair]:
    """Those that a base learns from."""
    return ConfirmedPair.objects.filter(knowledge_base=base, dropped=False)


def drop(pairs: Iterable[ConfirmedPair], dropped: bool = True) -> int:
    """Take pairs out, or in again; how many changed."""
    ids = [pair.pk for pair in pairs]
    return ConfirmedPair.objects.filter(pk__in=ids, dropped=not dropped).update(dropped=dropped)
