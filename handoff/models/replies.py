"""What helps an agent to write: replies that are kept, drafts that OpsDesk makes."""

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from chat.models import Conversation, Message
from handoff.models.agents import Team

NAME = RegexValidator(r"^[^\s/]+$", _("Without spaces and slashes."))
AGENT_TEXT = _(
    "Markdown. {customer}, {agent}, {question} and {team} are filled in; other braces stay."
)


class CannedReply(models.Model):
    """A text that agents call up by `/` and its name."""

    name = models.CharField(_("name"), max_length=30, unique=True, validators=[NAME])
    text = models.TextField(_("text"), max_length=2000, help_text=AGENT_TEXT)
    team = models.ForeignKey(
        Team, models.CASCADE, null=True, blank=True, verbose_name=_("team"),
        help_text=_("Empty: for everybody."),
    )  # fmt: skip

    class Meta:
        verbose_name = _("canned reply")
        verbose_name_plural = _("canned replies")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Draft(models.Model):
    """What OpsDesk would have said, made for an agent who asked, and what became of it."""

    class Outcome(models.TextChoices):
        SHOWN = "shown", _("not used")
        INSERTED = "inserted", _("inserted, not sent")
        SENT = "sent", _("sent as it was")
        EDITED = "edited", _("sent with changes")
        DISMISSED = "dismissed", _("dismissed")

    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="drafts", verbose_name=_("conversation")
    )
    agent = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+",
        verbose_name=_("agent"),
    )  # fmt: skip
    text = models.TextField(_("text"))
    citations = models.JSONField(default=list)  # ids of the cited passages, [n] is the n-th
    confidence = models.FloatField(_("confidence"), null=True)  # 0-1
    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome, default=Outcome.SHOWN)
    message = models.OneToOneField(Message, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("draft")
        verbose_name_plural = _("drafts")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.conversation_id} · {self.get_outcome_display()}"
