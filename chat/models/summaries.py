"""What is remembered of a long conversation when its beginning is no longer read."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from chat.models.conversations import Conversation


class Summary(models.Model):
    """The running summary of a conversation: what was said in the messages 1 … `upto`."""

    class By(models.TextChoices):
        MODEL = "model", _("language model")
        RULES = "rules", _("rules")

    conversation = models.OneToOneField(Conversation, models.CASCADE, related_name="summary")
    text = models.TextField(_("text"))  # a line a fact
    upto = models.PositiveIntegerField(_("up to message"))
    by = models.CharField(_("made by"), max_length=10, choices=By)
    made_at = models.DateTimeField(_("made"), auto_now=True)

    class Meta:
        verbose_name = _("summary of a conversation")
        verbose_name_plural = _("summaries of conversations")

    def __str__(self) -> str:
        return f"{self.conversation_id} ≤ {self.upto}"
