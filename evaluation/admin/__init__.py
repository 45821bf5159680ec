"""Pages of the administration, a file a subject."""

from evaluation.admin.verdicts import VerdictAdmin, judging

__all__ = ["VerdictAdmin", "judging"]
