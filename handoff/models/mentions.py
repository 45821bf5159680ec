"""Colleagues who are called into a conversation by a note."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from chat.models import Message


class Mention(models.Model):
    """Somebody's name after an @ in a note, until they have looked."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="mentions")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("user")
    )
    seen_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("mention")
        verbose_name_plural = _("mentions")
        constraints = [
            models.UniqueConstraint(fields=["message", "user"], name="mention_once"),
        ]
        indexes = [models.Index(fields=["user", "-created_at"], name="mention_of")]

    def __str__(self) -> str:
        return f"{self.message} · {self.user}"
