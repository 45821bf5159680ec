"""What figures are to reach, and when they did not."""

from typing import Literal

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Goal(models.Model):
    """What a figure is to reach; below it staff are told."""

    class Figure(models.TextChoices):
        ACCURACY = "accuracy", _("accuracy")
        RECALL = "recall", _("recall")
        SOLVED = "solved", _("share solved without a person")
        ANSWERED = "answered", _("share answered")
        FIRST = "first", _("first sentence within a goal of seconds (95 of 100)")
        WHOLE = "whole", _("whole answer within a goal of seconds (95 of 100)")
        FAILED = "failed", _("share that failed, at most")

    figure = models.CharField(_("figure"), max_length=10, choices=Figure, unique=True)
    value = models.FloatField(_("goal"), help_text=_("Shares in per cent, times in seconds."))

    class Meta:
        verbose_name = _("goal")
        verbose_name_plural = _("goals")
        ordering = ["figure"]
        constraints = [
            models.CheckConstraint(
                condition=Q(value__gte=0),
                name="goal_not_negative",
                violation_error_message=_("A goal cannot be negative."),
            )
        ]

    def __str__(self) -> str:
        return self.get_figure_display()

    @property
    def at_most(self) -> bool:
        """Whether more is worse."""
        return self.figure in (Goal.Figure.FIRST, Goal.Figure.WHOLE, Goal.Figure.FAILED)

    @property
    def unit(self) -> Literal["share", "ms"]:
        """Of what is measured against it: `evaluation.charts` shows it."""
        return "ms" if self.figure in (Goal.Figure.FIRST, Goal.Figure.WHOLE) else "share"

    @property
    def measured(self) -> float:
        """The goal in that unit: 0–1, or milliseconds."""
        return self.value * 1000 if self.unit == "ms" else self.value / 100


class Alert(models.Model):
    """A time in which a figure missed its goal, or a topic was suddenly asked for."""

    name = models.CharField(max_length=40)  # a value of Goal.Figure, "gap:<id>" or "replay:<base>"
    text = models.CharField(_("what is the matter"), max_length=500)
    began_at = models.DateTimeField(_("began"), default=timezone.now)
    # Since when nothing is the matter any more: it ends when that lasts.
    better_at = models.DateTimeField(_("better since"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering = ["-began_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(ended_at=None), name="alert_one_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return self.text
