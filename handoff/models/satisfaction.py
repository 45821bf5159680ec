"""What customers think of how a person helped them."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from handoff.models.handoffs import Handoff

COMMENT_LENGTH = 500


class Satisfaction(models.Model):
    """A customer's word on a handoff that was resolved: 1 (bad) to 5 (good)."""

    handoff = models.OneToOneField(Handoff, models.CASCADE, related_name="satisfaction")
    score = models.PositiveSmallIntegerField(_("score"))
    comment = models.CharField(_("comment"), max_length=COMMENT_LENGTH, blank=True)
    rated_at = models.DateTimeField(_("rated"), auto_now_add=True)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("satisfaction")
        verbose_name_plural = _("satisfaction")
        constraints = [
            models.CheckConstraint(
                condition=Q(score__gte=1, score__lte=5), name="satisfaction_of_five"
            ),
        ]

    def __str__(self) -> str:
        return "★" * self.score + "☆" * (5 - self.score)
