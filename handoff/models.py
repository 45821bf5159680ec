"""Who asked for a person, why, who came, and every change of ownership."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models import Conversation, Turn

SEEN = timedelta(minutes=5)  # an open console says so every minute


class AgentQuerySet(models.QuerySet["Agent"]):
    def available(self) -> "AgentQuerySet":
        """On duty, and at their desk until lately."""
        return self.filter(on_duty=True, user__is_active=True, seen_at__gte=timezone.now() - SEEN)


class Agent(models.Model):
    """A member of staff who can take conversations over."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="agent", verbose_name=_("user")
    )
    on_duty = models.BooleanField(_("on duty"), default=False)
    seen_at = models.DateTimeField(_("last seen"), null=True, editable=False)

    objects = AgentQuerySet.as_manager()

    class Meta:
        verbose_name = _("agent")
        verbose_name_plural = _("agents")

    def __str__(self) -> str:
        return self.user.get_full_name() or self.user.get_username()


class HandoffQuerySet(models.QuerySet["Handoff"]):
    def waiting(self) -> "HandoffQuerySet":
        return self.filter(status=Handoff.Status.WAITING)

    def unfinished(self) -> "HandoffQuerySet":
        return self.filter(status__in=[Handoff.Status.WAITING, Handoff.Status.TAKEN])


class Handoff(models.Model):
    class Reason(models.TextChoices):
        ASKED = "asked", _("asked for a person")
        UNHAPPY = "unhappy", _("was unhappy")
        STUCK = "stuck", _("several rounds without progress")
        NO_ANSWER = "no_answer", _("the knowledge has no answer")
        FAILED = "failed", _("answering failed")
        FOLLOW_UP = "follow_up", _("wrote again after a person's answer")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        TAKEN = "taken", _("taken")
        RESOLVED = "resolved", _("resolved")
        RETURNED = "returned", _("returned to OpsDesk")

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="handoffs")
    turn = models.ForeignKey(Turn, models.SET_NULL, null=True, related_name="+")
    reason = models.CharField(_("reason"), max_length=20, choices=Reason)
    status = models.CharField(_("status"), max_length=20, choices=Status, default=Status.WAITING)
    summary = models.TextField(_("summary"), blank=True)
    last_seq = models.PositiveIntegerField()  # the history it was asked with: messages 1 … last_seq
    contact = models.CharField(_("how to reach the customer"), max_length=300, blank=True)
    requested_at = models.DateTimeField(_("requested"), auto_now_add=True)
    taken_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("taken by"),
    )
    taken_at = models.DateTimeField(_("taken"), null=True)
    closed_at = models.DateTimeField(_("closed"), null=True)

    objects = HandoffQuerySet.as_manager()

    class Meta:
        verbose_name = _("handoff")
        verbose_name_plural = _("handoffs")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=models.Q(status__in=["waiting", "taken"]),
                name="handoff_one_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.conversation} · {self.get_reason_display()}"


class OwnershipChange(models.Model):
    """The audit trail: one row for each epoch of a conversation."""

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="ownership_changes")
    epoch = models.PositiveIntegerField()
    from_state = models.CharField(max_length=20, choices=Conversation.State)
    to_state = models.CharField(max_length=20, choices=Conversation.State)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    action = models.CharField(max_length=30)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("ownership change")
        verbose_name_plural = _("ownership changes")
        ordering = ["conversation", "epoch"]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "epoch"], name="ownership_epoch_once")
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id}/{self.epoch} {self.action}"
