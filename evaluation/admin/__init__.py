"""Pages of the administration, a file a subject."""

from evaluation.admin.operations import PriceAdmin, TallyAdmin
from evaluation.admin.sampling import SampleAdmin, SamplingPlanAdmin
from evaluation.admin.verdicts import VerdictAdmin, judging

__all__ = [
    "PriceAdmin",
    "SampleAdmin",
    "SamplingPlanAdmin",
    "TallyAdmin",
    "VerdictAdmin",
    "judging",
]
