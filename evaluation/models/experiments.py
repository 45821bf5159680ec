"""Another configuration, tried on a share of real traffic."""

import secrets

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from chat.models import Configuration

START = 0.05  # of the visitors


def _salt() -> str:
    return secrets.token_hex(8)


class Experiment(models.Model):
    """A share of the visitors is answered by the candidate, all others as ever; who gets which
    stays so. One runs at a time."""

    class State(models.TextChoices):
        DRAFT = "draft", _("not started")
        RUNNING = "running", _("running")
        STOPPED = "stopped", _("stopped")

    name = models.CharField(_("name"), max_length=200)
    candidate = models.ForeignKey(
        Configuration, models.PROTECT, related_name="experiments", verbose_name=_("candidate")
    )
    share = models.FloatField(
        _("share of visitors"),
        default=START,
        validators=[MinValueValidator(0.01), MaxValueValidator(0.5)],
    )
    salt = models.CharField(max_length=32, default=_salt, editable=False)
    state = models.CharField(
        _("state"), max_length=20, choices=State, default=State.DRAFT, editable=False
    )
    guarded = models.BooleanField(
        _("stops by itself"),
        default=True,
        help_text=_("As soon as the candidate is clearly worse."),
    )
    control = models.CharField(max_length=120, blank=True, editable=False)  # what all others get
    control_digest = models.CharField(max_length=12, blank=True, editable=False)
    figures = models.JSONField(default=dict, editable=False)  # `evaluation.experiments.measure`
    measured_at = models.DateTimeField(_("measured"), null=True, editable=False)
    because = models.CharField(_("why it stopped"), max_length=300, blank=True, editable=False)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True, editable=False)
    stopped_at = models.DateTimeField(_("stopped"), null=True, editable=False)

    class Meta:
        verbose_name = _("experiment")
        verbose_name_plural = _("experiments")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["state"], condition=Q(state="running"), name="experiment_one_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(share__gt=0, share__lte=0.5), name="experiment_share"
            ),
        ]

    def __str__(self) -> str:
        return self.name
