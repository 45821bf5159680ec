"""Which passages may answer: those enabled, of documents that are approved and neither retired
nor expired, and, where a question has a scope, of documents that hold for it.

Every way of finding asks here, so that no two of them differ.
"""

import datetime
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils import timezone

from knowledge.asked import Asked
from knowledge.models import Document
from opsdesk.replicas import connection

FIELDS = ("product", "version", "environment")

# Ids of the chunks that do not answer. Wants the parameters `bases` and `today`.
HIDDEN = """
    SELECT id FROM knowledge_chunk
    WHERE knowledge_base_id = ANY(%(bases)s::bigint[]) AND NOT enabled
    UNION ALL
    SELECT chunk.id FROM knowledge_chunk chunk JOIN knowledge_document document
        ON document.id = chunk.document_id
    WHERE document.knowledge_base_id = ANY(%(bases)s::bigint[]) AND (document.approved_at IS NULL
        OR document.retired_at IS NOT NULL OR document.expires_on <= %(today)s::date)
"""
_FOLDED = "lower(normalize(btrim({}), NFKC))"
# A document without the field holds for all of its values.
_SAME = "(document.{0} = '' OR " + _FOLDED.format("document.{0}") + " = %(scope_{0})s)"
_TAGGED = (
    "(document.tags = '{}' OR EXISTS (SELECT FROM unnest(document.tags) tag WHERE "
    + _FOLDED.format("tag")
    + " = ANY(%(scope_tags)s::text[])))"
)


@dataclass(frozen=True)
class Scope:
    """What a question is about; what is empty is not asked for.

    It leaves out documents that name another product, version or environment, and those that
    have tags but none of `tags`. Case and width of letters do not matter.
    """

    product: str = ""
    version: str = ""
    environment: str = ""
    tags: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sql)

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Scope":
        """Out of what a form or a request gave."""
        fields = {name: given.get(name) or "" for name in FIELDS}
        return cls(**fields, tags=tuple(given.get("tags") or ()))

    @property
    def sql(self) -> str:
        """Ids of the chunks inside; "" when everything is. Wants `parameters`."""
        wanted = [_SAME.format(name) for name in FIELDS if fold(getattr(self, name))]
        wanted += [_TAGGED] if self._tags else []
        if not wanted:
            return ""
        return f"""
            SELECT chunk.id FROM knowledge_chunk chunk JOIN knowledge_document document
                ON document.id = chunk.document_id
            WHERE document.knowledge_base_id = ANY(%(bases)s::bigint[]) AND {" AND ".join(wanted)}
        """  # noqa: S608 - names of fields

    @property
    def condition(self) -> str:
        """What a condition on `chunk_id` goes on with."""
        return f"AND chunk_id IN ({self.sql})" if self else ""

    def parameters(self, base_ids: Sequence[int]) -> dict[str, Any]:
        """Those of `sql` and of HIDDEN."""
        folded = {f"scope_{name}": fold(getattr(self, name)) for name in FIELDS}
        return {"bases": list(base_ids), "today": today(), "scope_tags": self._tags, **folded}

    def small(self, base_ids: Sequence[int], most: int) -> bool:
        """Whether at most `most` chunks are inside; never so when it leaves nothing out."""
        if not self:
            return False
        if not isinstance(base_ids, Asked):
            return self._few(base_ids, most)
        if (self, most) not in base_ids.small:
            base_ids.small[self, most] = self._few(base_ids, most)
        return base_ids.small[self, most]

    def _few(self, base_ids: Sequence[int], most: int) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT count(*) FROM ({self.sql} LIMIT {most + 1:d}) inside",  # noqa: S608
                self.parameters(base_ids),
            )
            return bool(cursor.fetchone()[0] <= most)

    def differs(self, document: Document) -> list[str]:
        """The fields by which it leaves `document` out."""
        names = [
            name
            for name in FIELDS
            if (wanted := fold(getattr(self, name)))
            and fold(getattr(document, name)) not in ("", wanted)
        ]
        tags = {fold(tag) for tag in document.tags}
        return names + ["tags"] * bool(self._tags and tags and not tags & set(self._tags))

    @property
    def _tags(self) -> list[str]:
        return [folded for tag in self.tags if (folded := fold(tag))]


EVERYTHING = Scope()


def fold(value: str) -> str:
    value = value.strip()
    return (value if value.isascii() else unicodedata.normalize("NFKC", value)).lower()


def today() -> datetime.date:
    """The day by which documents expire: where the server stands, not who asks."""
    return timezone.localdate(timezone=timezone.get_default_timezone())


def answers(document: Document) -> bool:
    """Whether `document` may answer, as far as scope does not matter."""
    return (
        document.approved_at is not None
        and document.retired_at is None
        and (document.expires_on is None or document.expires_on > today())
    )


def answering(prefix: str = "") -> Q:
    """Documents that may answer; of another table those that `prefix` leads to."""
    return (Q(**{f"{prefix}approved_at__isnull": False, f"{prefix}retired_at__isnull": True})) & (
        Q(**{f"{prefix}expires_on": None}) | Q(**{f"{prefix}expires_on__gt": today()})
    )
