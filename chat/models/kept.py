"""Answers that are given again to whoever asks the same."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models.conversations import Turn


class KeptAnswer(models.Model):
    """A turn whose answer is given again while nothing that it rests on has changed."""

    # Of the question and all that decides its answer: `chat.kept.key`.
    digest = models.CharField(max_length=64, unique=True)
    turn = models.ForeignKey(Turn, models.CASCADE, related_name="kept", verbose_name=_("turn"))
    hits = models.PositiveIntegerField(_("given again"), default=0)
    made_at = models.DateTimeField(_("made"), default=timezone.now)
    used_at = models.DateTimeField(_("last used"), default=timezone.now, db_index=True)

    class Meta:
        verbose_name = _("kept answer")
        verbose_name_plural = _("kept answers")
        ordering = ["-hits", "-used_at"]

    def __str__(self) -> str:
        return str(self.turn.message.text)
