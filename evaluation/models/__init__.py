"""What staff hold of answers, and how that was found out."""

from evaluation.models.verdicts import Verdict

__all__ = ["Verdict"]
