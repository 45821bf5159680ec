"""How far the labelling of a sample is, and how well its raters agree."""

from dataclasses import dataclass, field
from typing import Any

from django.db.models import Avg, Count, Q

from evaluation import estimating
from evaluation.estimating import Agreement
from evaluation.models import Label, Sample


@dataclass(frozen=True)
class Rater:
    name: str
    labels: int
    seconds: float | None  # an item, where they were kept: a sheet may not say
    decided: int


@dataclass(frozen=True)
class Progress:
    items: int
    begun: int  # with a label that is done
    whole: int  # with as many as it takes
    settled: int
    disputed: int
    gone: int  # whose conversation was deleted before they were settled
    pooling: int  # whose passages are still being found
    agreement: Agreement = field(default_factory=lambda: Agreement(None))
    raters: list[Rater] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.settled + self.gone >= self.items and not self.disputed


def of(sample: Sample) -> Progress:
    """In three queries."""
    blind = Q(labels__adjudicates=False, labels__done_at__isnull=False)
    items = sample.items.annotate(said=Count("labels", filter=blind))
    counts = items.aggregate(
        items=Count("pk"),
        begun=Count("pk", filter=Q(said__gt=0)),
        whole=Count("pk", filter=Q(said__gte=sample.raters)),
        settled=Count("pk", filter=Q(kind__isnull=False)),
        disputed=Count("pk", filter=Q(disputed=True)),
        gone=Count("pk", filter=Q(turn__isnull=True, kind__isnull=True)),
        pooling=Count("pk", filter=Q(pooled_at__isnull=True, turn__isnull=False)),
    )
    return Progress(**counts, agreement=agreement(sample), raters=_raters(sample))


def agreement(sample: Sample) -> Agreement:
    """Cohen's κ of the blind verdicts."""
    said: dict[int, list[str]] = {}
    labels = Label.objects.done().filter(item__sample=sample, adjudicates=False)
    for item, kind in labels.order_by("rater").values_list("item", "kind"):
        said.setdefault(item, []).append(kind)
    return estimating.agreement([(kinds[0], kinds[1]) for kinds in said.values() if len(kinds) > 1])


def _raters(sample: Sample) -> list[Rater]:
    labels = Label.objects.done().filter(item__sample=sample)
    rows = labels.values("rater__first_name", "rater__last_name", "rater__username").annotate(
        n=Count("pk", filter=Q(adjudicates=False)),
        decided=Count("pk", filter=Q(adjudicates=True)),
        seconds=Avg("seconds", filter=Q(adjudicates=False, seconds__gt=0)),
    )
    return [
        Rater(_name(row), row["n"], row["seconds"], row["decided"])
        for row in rows.order_by("-n", "rater__username")
    ]


def _name(row: Any) -> str:
    full = f"{row['rater__last_name']}{row['rater__first_name']}"
    return full or str(row["rater__username"])
