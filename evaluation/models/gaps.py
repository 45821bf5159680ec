"""What to fix next: questions that were not answered well, gathered by what they are about."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from chat.models import Turn
from knowledge.models import Entry, KnowledgeBase

LONGEST_NAME = 60  # characters


class Gap(models.Model):
    """A topic that customers ask about in vain, as last found among the questions of a month."""

    class State(models.TextChoices):
        OPEN = "open", _("open")
        SOLVED = "solved", _("solved")
        DISMISSED = "dismissed", _("set aside")

    base = models.ForeignKey(
        KnowledgeBase,
        models.CASCADE,
        null=True,
        related_name="+",
        verbose_name=_("knowledge base"),
    )
    words = ArrayField(models.CharField(max_length=64), verbose_name=_("commonest words"))
    question = models.CharField(_("typical question"), max_length=500)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    decided_at = models.DateTimeField(_("decided"), null=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("decided by"),
    )
    decided_count = models.PositiveIntegerField(default=0)  # questions when it was decided
    back_at = models.DateTimeField(_("came back"), null=True)  # after it had been decided
    count = models.PositiveIntegerField(_("questions"), default=0)
    recent = models.PositiveIntegerField(_("in the last week"), default=0)
    expected = models.FloatField(default=0.0)  # in the last week, had nothing changed
    # Whether it is asked more than before: see `evaluation.gaps.rising`.
    rising = models.BooleanField(_("rising"), default=False)
    first_at = models.DateTimeField(_("first asked"))
    last_at = models.DateTimeField(_("last asked"))
    # The draft that was begun for it.
    entry = models.ForeignKey(Entry, models.SET_NULL, null=True, related_name="+")

    class Meta:
        verbose_name = _("topic to fix")
        verbose_name_plural = _("what to fix next")
        ordering = ["-rising", "-count", "-last_at"]
        indexes = [models.Index(fields=["state", "-rising", "-count"], name="gap_to_do")]

    def __str__(self) -> str:
        return Truncator(self.question).chars(LONGEST_NAME)


class GapQuestion(models.Model):
    """A turn that went wrong, in the topic it belongs to."""

    class Kind(models.TextChoices):
        UNANSWERED = "unanswered", _("no answer found")
        ASKED_BACK = "asked_back", _("asked back again and again")
        BAD = "bad", _("rated as not helpful")
        WRONG = "wrong", _("judged wrong")
        MISSED = "missed", _("wrongly refused")

    gap = models.ForeignKey(Gap, models.CASCADE, related_name="questions")
    turn = models.OneToOneField(Turn, models.CASCADE, related_name="gap_question")
    kind = models.CharField(_("what went wrong"), max_length=12, choices=Kind)
    text = models.CharField(max_length=500)  # masked
    asked_at = models.DateTimeField()

    class Meta:
        ordering = ["-asked_at"]
        indexes = [models.Index(fields=["gap", "-asked_at"], name="gap_question_latest")]

    def __str__(self) -> str:
        return self.text
