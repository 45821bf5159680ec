"""What staff say of answers."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from chat.models import Turn


class Verdict(models.Model):
    """Whether a turn ended as it should have."""

    class Kind(models.TextChoices):
        RIGHT = "right", _("right")
        PARTLY = "partly", _("partly right")
        WRONG = "wrong", _("wrong")
        UNANSWERABLE = "unanswerable", _("should have been refused")
        REFUSED = "refused", _("rightly refused")
        MISSED = "missed", _("wrongly refused: the answer is there")

    turn = models.OneToOneField(
        Turn, models.CASCADE, related_name="verdict", verbose_name=_("turn")
    )
    kind = models.CharField(_("verdict"), max_length=20, choices=Kind)
    note = models.CharField(_("note"), max_length=500, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("by"),
    )
    # The item of a sample that it was settled for; empty: said on the turn's own page.
    item = models.ForeignKey(
        "evaluation.Item", models.SET_NULL, null=True, editable=False, related_name="verdicts"
    )
    at = models.DateTimeField(_("at"), auto_now=True)

    class Meta:
        verbose_name = _("verdict")
        verbose_name_plural = _("verdicts")
        ordering = ["-at"]

    def __str__(self) -> str:
        return self.get_kind_display()

    @property
    def right(self) -> bool:
        """Whether answering was, or would have been, right; *partly* is not."""
        return self.kind in (Verdict.Kind.RIGHT, Verdict.Kind.MISSED)
