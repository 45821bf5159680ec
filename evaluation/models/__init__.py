"""What staff hold of answers, and how that was found out."""

from evaluation.models.alerts import Alert, Goal
from evaluation.models.gaps import Gap, GapQuestion
from evaluation.models.operations import Day, DocumentTally, Price, Spending, Tally
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
    "Alert",
    "Day",
    "Design",
    "DocumentTally",
    "Gap",
    "GapQuestion",
    "Goal",
    "Item",
    "Label",
    "PooledPassage",
    "Price",
    "Relevance",
    "Sample",
    "SamplingPlan",
    "Spending",
    "Stratum",
    "Tally",
    "Verdict",
]
