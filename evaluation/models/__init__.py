"""What staff hold of answers, and how that was found out."""

from evaluation.models.sampling import (
    Design,
    Item,
    Label,
    PooledPassage,
    Relevance,
    Sample,
    SamplingPlan,
    Stratum,
)
from evaluation.models.verdicts import Verdict

__all__ = [
    "Design",
    "Item",
    "Label",
    "PooledPassage",
    "Relevance",
    "Sample",
    "SamplingPlan",
    "Stratum",
    "Verdict",
]
