"""Pages of the administration, a file a subject."""

from evaluation.admin.certificates import CertificateAdmin
from evaluation.admin.experiments import ExperimentAdmin
from evaluation.admin.gaps import AlertAdmin, GapAdmin, GoalAdmin
from evaluation.admin.golden import GoldenQuestionAdmin, keeping, of_base
from evaluation.admin.operations import PriceAdmin, TallyAdmin
from evaluation.admin.runs import RunAdmin, replayed
from evaluation.admin.sampling import SampleAdmin, SamplingPlanAdmin
from evaluation.admin.verdicts import VerdictAdmin, judging

__all__ = [
    "AlertAdmin",
    "CertificateAdmin",
    "ExperimentAdmin",
    "GapAdmin",
    "GoalAdmin",
    "GoldenQuestionAdmin",
    "PriceAdmin",
    "RunAdmin",
    "SampleAdmin",
    "SamplingPlanAdmin",
    "TallyAdmin",
    "VerdictAdmin",
    "judging",
    "keeping",
    "of_base",
    "replayed",
]
