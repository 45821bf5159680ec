"""What staff set that every turn goes by: topics, tools, policies, configurations.

Such rows change seldom. A turn asks in one statement which versions of them there are: PostgreSQL
gives each version of a row a place and a transaction of its own (`ctid`, `xmin`), so any change of
them, whoever makes it and however, gives another digest with its commit. The rows themselves are
read when the digest is another one and kept in the process. Nobody changes what is kept.

What a turn reads once belongs here: a model in `ROWS`, its rows in `Rules`.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection

from chat.models import Configuration, EscalationPolicy, HttpTool, Topic
from chat.state import TurnState
from knowledge.models import EmbeddingIndex, KnowledgeBase, Vocabulary

ROWS: list[Any] = [
    Configuration, EscalationPolicy, Topic, Topic.knowledge_bases.through,
    HttpTool, HttpTool.groups.through, HttpTool.bases.through, HttpTool.sites.through,
]  # fmt: skip
# Rows of which one field alone tells whether they count otherwise now: `chat.kept` goes by them.
FIELDS: list[tuple[Any, str]] = [(EmbeddingIndex, "activated_at"), (Vocabulary, "renewed_at")]


@dataclass(frozen=True)
class Rules:
    """All of them, as they were at one moment."""

    digest: str
    topics: list[tuple[Topic, frozenset[int]]]  # with the bases they are for; none: for all
    tools: list[HttpTool]  # with their groups, bases and sites
    policies: dict[int | None, EscalationPolicy]  # by base; None: for the others
    configurations: list[Configuration]  # in force

    def topics_of(self, bases: Iterable[KnowledgeBase]) -> list[Topic]:
        """Those that count where `bases` are asked."""
        ids = {base.pk for base in bases}
        return [topic for topic, held in self.topics if not held or held & ids]

    def policy_of(self, base_id: int | None) -> EscalationPolicy:
        """As `EscalationPolicy.of`."""
        common = self.policies.get(None)
        return self.policies.get(base_id) or common or EscalationPolicy()


_kept: Rules | None = None  # of this process


def of(turn: TurnState) -> Rules:
    """Those by which `turn` is made, the same from its beginning to its end."""
    if turn.rules is None:
        turn.rules = now()
    found: Rules = turn.rules
    return found


def now() -> Rules:
    """Those that hold now."""
    global _kept
    digest, kept = _digest(), _kept
    if kept is None or kept.digest != digest:
        kept = _kept = _read(digest)
    return kept


def _digest() -> str:
    # A version that a transaction wrote over itself has another place.
    parts = [(model, "concat_ws('.', ctid, xmin)", "ctid") for model in ROWS]
    parts += [(model, f"concat_ws('.', {model._meta.pk.column}, {field})", model._meta.pk.column)
              for model, field in FIELDS]  # fmt: skip
    digests = ", ".join(
        f"(SELECT md5(coalesce(string_agg({version}, ',' ORDER BY {order}), ''))"  # noqa: S608 - ours
        f" FROM {model._meta.db_table})"
        for model, version, order in parts
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT concat_ws(' ', {digests})")
        return str(cursor.fetchone()[0])


def _read(digest: str) -> Rules:
    """What changes meanwhile has another digest, and is read again by the next turn."""
    held = defaultdict(set)
    for topic, base in Topic.knowledge_bases.through.objects.values_list(
        "topic_id", "knowledgebase_id"
    ):
        held[topic].add(base)
    return Rules(
        digest=digest,
        topics=[(one, frozenset(held[one.pk])) for one in Topic.objects.filter(enabled=True)],
        tools=list(
            HttpTool.objects.filter(enabled=True).prefetch_related("groups", "bases", "sites")
        ),
        policies={one.knowledge_base_id: one for one in EscalationPolicy.objects.all()},
        configurations=list(Configuration.objects.in_force()),
    )
