"""What staff hold of answers, and how that was found out."""

from evaluation.models.alerts import Alert, Goal
from evaluation.models.certificates import Certificate, JudgedItem
from evaluation.models.experiments import Experiment
from evaluation.models.gaps import Gap, GapQuestion
from evaluation.models.golden import GoldenQuestion, GoldenSource, Result, Run
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
    "Certificate",
    "Day",
    "Design",
    "DocumentTally",
    "Experiment",
    "Gap",
    "GapQuestion",
    "Goal",
    "GoldenQuestion",
    "GoldenSource",
    "Item",
    "JudgedItem",
    "Label",
    "PooledPassage",
    "Price",
    "Relevance",
    "Result",
    "Run",
    "Sample",
    "SamplingPlan",
    "Spending",
    "Stratum",
    "Tally",
    "Verdict",
]
