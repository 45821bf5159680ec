"""What a sample proved, written down for good; and what automatic judges hold of its answers."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from evaluation.models.sampling import Item, Sample


class Certificate(models.Model):
    """Whether the goals were reached, with all it follows from: `evaluation.certifying`."""

    sample = models.ForeignKey(
        Sample,
        models.SET_NULL,
        null=True,
        related_name="certificates",
        verbose_name=_("sample"),
    )
    # All that the figures are reckoned from and what they came to; it outlives the sample.
    record = models.JSONField()
    digest = models.CharField(_("digest"), max_length=64)  # SHA-256 of the record
    issued_at = models.DateTimeField(_("issued"), auto_now_add=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("issued by"),
    )

    class Meta:
        verbose_name = _("certificate")
        verbose_name_plural = _("certificates")
        ordering = ["-id"]
        default_permissions = ("view", "delete")
        permissions = [("issue_certificate", _("Can issue certificates"))]

    def __str__(self) -> str:
        return _("Certificate %(number)s") % {"number": self.pk}

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise ValueError("a certificate is never changed")
        super().save(*args, **kwargs)


class JudgedItem(models.Model):
    """What an automatic judge holds of a sampled answer; asked once for each version of it."""

    item = models.ForeignKey(Item, models.CASCADE, related_name="judged")
    judge = models.CharField(max_length=200)  # its name and version
    # [{"n": 1, "supported": true, "again": false}, …]: sentences of the answer, numbered as
    # labels number them; "again": an earlier one says it.
    sentences = models.JSONField(default=list)
    relevant = models.JSONField(default=dict)  # {key of a passage that was shown: bool}
    at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "judge"], name="judged_item_once"),
        ]

    def __str__(self) -> str:
        return f"{self.item_id}: {self.judge}"
