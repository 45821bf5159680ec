"""Which documents are of no use, and which lead to wrong answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from evaluation.estimating import Estimate, exact
from evaluation.models import DocumentTally
from knowledge import scope
from knowledge.models import Document

DAYS = 90  # in which a document was of no use
LEAST = 2  # bad answers: one may be chance


def unused(bases: Sequence[int], days: int = DAYS) -> QuerySet[Document]:
    """Documents that answer and were there for `days`, but in none of them among what was found
    for a question; those found and never cited have `found` above 0. The oldest first."""
    since = timezone.localdate() - timedelta(days=days)
    counted = DocumentTally.objects.filter(document=OuterRef("pk"), day__gt=since)
    documents = Document.objects.filter(
        scope.answering(), knowledge_base__in=bases, current__isnull=False,
        created_at__date__lte=since,
    )  # fmt: skip
    return (
        documents.filter(~Exists(counted.filter(cited__gt=0)))
        .annotate(was_found=Exists(counted.filter(found__gt=0)))
        .select_related("knowledge_base")
        .order_by("was_found", "created_at", "pk")
    )


@dataclass(frozen=True)
class Misleading:
    """A document by whose answers people were served badly."""

    document: Document
    cited: int
    judged: int
    wrong: int
    rated: int
    bad: int
    share: Estimate  # of the answers citing it that were judged, or rated


def misleading(bases: Sequence[int], days: int = DAYS) -> list[Misleading]:
    """The worst first: by the share that is certainly bad (its lower bound)."""
    since = timezone.localdate() - timedelta(days=days)
    rows = (
        DocumentTally.objects.filter(day__gt=since, document__knowledge_base__in=bases)
        .order_by()
        .values("document")
        .annotate(
            n_cited=Sum("cited"), n_judged=Sum("judged"), n_wrong=Sum("wrong"),
            n_rated=Sum("rated"), n_bad=Sum("bad"),
        )
        .filter(Q(n_wrong__gte=LEAST) | Q(n_bad__gte=LEAST) | Q(n_wrong__gt=0, n_bad__gt=0))
        .order_by(F("n_wrong") + F("n_bad"))
        .reverse()[:200]
    )  # fmt: skip
    documents = Document.objects.select_related("knowledge_base").in_bulk(
        [row["document"] for row in rows]
    )
    made = [
        Misleading(
            documents[row["document"]], row["n_cited"], row["n_judged"], row["n_wrong"],
            row["n_rated"], row["n_bad"], _share(row),
        )
        for row in rows
    ]  # fmt: skip
    return sorted(made, key=lambda one: (-one.share.low, -one.wrong, -one.bad))


def _share(row: Mapping[str, Any]) -> Estimate:
    """By judgements or by ratings, whichever is certainly worse."""
    by = [exact(row["n_wrong"], row["n_judged"]), exact(row["n_bad"], row["n_rated"])]
    return max(by, key=lambda one: one.low)
