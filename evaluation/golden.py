"""Golden questions: brought in from labels, handoffs, gaps and sheets, and what holds of them."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import kept
from chat.models import Citation, Conversation, Turn
from evaluation import verdicts
from evaluation.models import GoldenQuestion, GoldenSource, Verdict
from handoff.actions import Action, Done
from knowledge import permissions
from knowledge.masking import masked
from knowledge.models import Chunk, Document, KnowledgeBase
from opsdesk.errors import Conflict

Expected, Source = GoldenQuestion.Expected, GoldenQuestion.Source
QUESTION = 2000  # characters
EXCERPT = 200
# What a verdict says of what should have come.
EXPECTED = {
    Verdict.Kind.UNANSWERABLE: Expected.REFUSED,
    Verdict.Kind.REFUSED: Expected.REFUSED,
}


def digest(question: str) -> str:
    """The same of two questions that differ in nothing that counts."""
    return hashlib.blake2b(kept.normalised(question).encode(), digest_size=16).hexdigest()


@transaction.atomic
def add(
    question: str,
    source: str,
    *,
    base: KnowledgeBase | int,
    user: Any = None,
    expected: str = Expected.ANSWERED,
    passages: Iterable[Chunk] = (),
    documents: Iterable[Document] = (),
    facts: Sequence[str] = (),
    reference: str = "",
    note: str = "",
    approved: bool = False,
) -> GoldenQuestion:
    """A golden question of `base`; the one that asks the same where there is one, untouched.

    `source`: a value of GoldenQuestion.Source. Unless `approved` it is a proposal. Raises Conflict
    of an empty question.
    """
    text = masked(" ".join(question.split()))[:QUESTION]
    if not text:
        raise Conflict(_("There is no question."))
    made, new = GoldenQuestion.objects.get_or_create(
        knowledge_base_id=base if isinstance(base, int) else base.pk,
        digest=digest(text),
        defaults={
            "question": text, "source": source, "expected": expected, "facts": list(facts),
            "reference": reference[:300], "note": note[:500], "created_by": user,
        },
    )  # fmt: skip
    if new:
        name(made, passages, documents)
        if approved:
            approve(GoldenQuestion.objects.filter(pk=made.pk), user)
            made.refresh_from_db()
    return made


def name(
    question: GoldenQuestion, passages: Iterable[Chunk], documents: Iterable[Document] = ()
) -> None:
    """Say which passages or documents answer it, beside those that are named."""
    held = [*map(_of_passage, passages), *map(_of_document, documents)]
    rows = [GoldenSource(question=question, **fields) for fields in held]
    GoldenSource.objects.bulk_create(rows, ignore_conflicts=True)


def _of_document(document: Document) -> dict[str, Any]:
    return {
        "document": document, "external_id": document.external_id, "title": document.title,
    }  # fmt: skip


def _of_passage(chunk: Chunk) -> dict[str, Any]:
    excerpt = " ".join(chunk.text.split())[:EXCERPT]
    facts = {"digest": chunk.digest, "locator": chunk.locator, "excerpt": excerpt}
    return _of_document(chunk.document) | facts


def approve(questions: QuerySet[GoldenQuestion], user: Any) -> int:
    """Have them replayed from now on; how many."""
    return questions.filter(approved_at=None).update(approved_at=timezone.now(), approved_by=user)


def withdraw(questions: QuerySet[GoldenQuestion]) -> int:
    """Have them replayed no more; how many."""
    return questions.exclude(approved_at=None).update(approved_at=None, approved_by=None)


def find_again() -> int:
    """Name documents anew that were deleted and came back under their external id; how many."""
    found = 0
    lost = GoldenSource.objects.filter(document=None).exclude(external_id="")
    for source in lost.select_related("question"):
        base = source.question.knowledge_base_id
        document = Document.objects.filter(
            knowledge_base=base, external_id=source.external_id
        ).first()
        if document:
            source.document = document
            source.save(update_fields=["document"])
            found += 1
    return found


# --- from what was asked ----------------------------------------------------------------


def of_turn(turn: Turn, user: Any, source: str = Source.LABEL) -> GoldenQuestion:
    """A turn as a golden question: what was asked, what should have come, what was cited if that
    was right. Raises Conflict where it was about no base or nothing was asked."""
    base = base_of(turn)
    if base is None:
        raise Conflict(_("This was about no knowledge base."))
    verdict: Verdict | None = getattr(turn, "verdict", None)
    kind = Verdict.Kind(verdict.kind) if verdict else None
    right = kind == Verdict.Kind.RIGHT or (
        kind is None and turn.outcome == Turn.Outcome.ANSWERED and source == Source.LABEL
    )
    return add(
        str(turn.trace.get("query") or turn.message.text),
        source,
        base=base,
        user=user,
        expected=EXPECTED.get(kind, Expected.ANSWERED) if kind else Expected.ANSWERED,
        passages=_cited(turn, base) if right else (),
        reference=f"turn:{turn.pk}",
        note=verdict.note if verdict else "",
    )


def _cited(turn: Turn, base: int) -> list[Chunk]:
    rows = Citation.objects.filter(message=turn.reply_id, chunk__knowledge_base=base)
    return [row.chunk for row in rows.select_related("chunk__document") if row.chunk]


class Regression(Action):
    """The last question of a conversation, to be asked again before every change."""

    name = "regression"
    title = gettext_lazy("Keep as a golden question")

    def allowed(self, user: Any, conversation: Conversation) -> bool:
        turn = _last(conversation)
        return turn is not None and may_add(user, base_of(turn))

    def run(self, user: Any, conversation: Conversation) -> Done:
        turn = _last(conversation)
        if turn is None:
            raise Conflict(_("Nothing was asked here that could be looked for."))
        made = of_turn(turn, user, Source.HANDOFF)
        text = _("Kept as a golden question. It counts when somebody approved it.")
        if made.reference != f"turn:{turn.pk}":
            text = _("There is a golden question that asks the same.")
        return Done(text, reverse("admin:evaluation_goldenquestion_change", args=[made.pk]))


def _last(conversation: Conversation) -> Turn | None:
    looked_for = (Turn.Outcome.ANSWERED, Turn.Outcome.HANDOFF)
    turns = Turn.objects.filter(conversation=conversation, outcome__in=looked_for)
    found = turns.filter(trace__sureness__base__isnull=False)
    return found.select_related("conversation", "message", "verdict").order_by("-pk").first()


def base_of(turn: Turn) -> int | None:
    """The base that a turn asked, or was about."""
    return turn.conversation.knowledge_base_id or verdicts.base_of(turn)


def may_add(user: Any, base: int | None) -> bool:
    """Those who may add any, and curators of the base."""
    if base is None:
        return False
    return user.has_perm("evaluation.add_goldenquestion") or permissions.may(user, "change", base)


def asked(base: int | None = None, tags: Sequence[str] = ()) -> QuerySet[GoldenQuestion]:
    """The approved ones of a base (None: of all), with any of `tags`."""
    rows = GoldenQuestion.objects.approved()
    rows = rows.filter(knowledge_base=base) if base else rows
    return rows.filter(tags__overlap=list(tags)) if tags else rows


def matching(title: str, base: int) -> Document | None:
    """The document of a base that a sheet means: by external id, else by title, if it is one."""
    rows = Document.objects.filter(Q(external_id=title) | Q(title=title), knowledge_base=base)
    by_id = sorted(rows[:3], key=lambda row: row.external_id != title)
    if len(by_id) > 1 and by_id[0].external_id != title:
        return None
    return by_id[0] if by_id else None
