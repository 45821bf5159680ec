"""Who asked for a person, why, who came, and every change of ownership."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models import Conversation, Message, Summary, Turn
from handoff.models.agents import Team
from knowledge.models import Entry

TAG_LENGTH = 30


class HandoffQuerySet(models.QuerySet["Handoff"]):
    def waiting(self) -> "HandoffQuerySet":
        """With nobody yet; some are on offer to somebody."""
        return self.filter(status__in=[Handoff.Status.WAITING, Handoff.Status.OFFERED])

    def unfinished(self) -> "HandoffQuerySet":
        return self.exclude(status__in=[Handoff.Status.RESOLVED, Handoff.Status.RETURNED])

    def longest_first(self) -> "HandoffQuerySet":
        return self.order_by("-priority", "requested_at", "pk")

    def snoozed(self) -> "HandoffQuerySet":
        return self.filter(snoozed_until__gt=timezone.now())


class Handoff(models.Model):
    class Reason(models.TextChoices):
        ASKED = "asked", _("asked for a person")
        UNHAPPY = "unhappy", _("was unhappy")
        STUCK = "stuck", _("several rounds without progress")
        NO_ANSWER = "no_answer", _("the knowledge has no answer")
        FAILED = "failed", _("answering failed")
        FOLLOW_UP = "follow_up", _("wrote again after a person's answer")
        TAKEN_OVER = "taken_over", _("a person stepped in")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        OFFERED = "offered", _("on offer")
        TAKEN = "taken", _("taken")
        RESOLVED = "resolved", _("resolved")
        RETURNED = "returned", _("returned to OpsDesk")

    class Priority(models.IntegerChoices):
        LOW = 0, _("low")
        NORMAL = 1, _("normal")
        HIGH = 2, _("high")
        URGENT = 3, _("urgent")

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="handoffs")
    turn = models.ForeignKey(Turn, models.SET_NULL, null=True, related_name="+")
    reason = models.CharField(_("reason"), max_length=20, choices=Reason)
    status = models.CharField(_("status"), max_length=20, choices=Status, default=Status.WAITING)
    priority = models.PositiveSmallIntegerField(
        _("priority"), choices=Priority, default=Priority.NORMAL
    )
    summary = models.TextField(_("summary"), blank=True)
    summary_by = models.CharField(max_length=10, choices=Summary.By, default=Summary.By.RULES)
    last_seq = models.PositiveIntegerField()  # the history it was asked with: messages 1 … last_seq
    contact = models.CharField(_("how to reach the customer"), max_length=300, blank=True)
    team = models.ForeignKey(Team, models.SET_NULL, null=True, verbose_name=_("team"))
    skills = ArrayField(models.CharField(max_length=100), default=list)  # wanted of who takes it
    requested_at = models.DateTimeField(_("requested"), auto_now_add=True)
    offered_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    offered_until = models.DateTimeField(null=True)
    # Users who declined it or let it pass: it is not offered to them again.
    passed = ArrayField(models.IntegerField(), default=list)
    taken_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("taken by"),
    )
    taken_at = models.DateTimeField(_("taken"), null=True)  # first: until then it waited
    snoozed_until = models.DateTimeField(_("snoozed until"), null=True)
    # Promised by the team, in its business hours; `next_due` while the customer waits for a word.
    first_due = models.DateTimeField(_("first answer due"), null=True)
    next_due = models.DateTimeField(_("next answer due"), null=True)
    resolve_due = models.DateTimeField(_("resolution due"), null=True)
    replied_at = models.DateTimeField(_("first answered"), null=True)
    # Since when these clocks stand (`handoff.clocks`): put aside, or the customer is to write.
    paused_at = models.DateTimeField(null=True, editable=False)
    with_customer = models.BooleanField(default=False, editable=False)
    # The waiting customer was told that it takes long, and was asked how to be reached.
    told_at = models.DateTimeField(null=True, editable=False)
    tags = ArrayField(models.CharField(max_length=TAG_LENGTH), verbose_name=_("tags"), default=list)
    closed_at = models.DateTimeField(_("closed"), null=True)
    # The FAQ entry that was made of it.
    entry = models.ForeignKey(Entry, models.SET_NULL, null=True, related_name="+")

    objects = HandoffQuerySet.as_manager()

    class Meta:
        verbose_name = _("handoff")
        verbose_name_plural = _("handoffs")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(status__in=["waiting", "offered", "taken"]),
                name="handoff_one_open",
            ),
            models.CheckConstraint(
                condition=Q(status="offered", offered_until__isnull=False)
                | Q(~Q(status="offered"), offered_to=None, offered_until=None),
                name="handoff_offered_while_on_offer",
            ),
        ]
        indexes = [
            models.Index(
                fields=["-priority", "requested_at"],
                condition=Q(status="waiting"),
                name="handoff_waiting",
            ),
            models.Index(
                fields=["offered_until"], condition=Q(status="offered"), name="handoff_on_offer"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.conversation} · {self.get_reason_display()}"


class OwnershipChange(models.Model):
    """The audit trail: one row for each epoch of a conversation, and what the chat said of it."""

    class Action(models.TextChoices):
        REQUEST = "request", _("asked for a person")
        WITHDRAW = "withdraw", _("withdrawn by the customer")
        OFFER = "offer", _("offered")
        ACCEPT = "accept", _("offer accepted")
        DECLINE = "decline", _("declined")
        EXPIRE = "expire", _("offer expired")
        CLAIM = "claim", _("taken from the queue")
        ASSIGN = "assign", _("assigned")
        TAKE_OVER = "take_over", _("taken over")
        TRANSFER = "transfer", _("transferred")
        AGENT_GONE = "agent_gone", _("agent gone")
        RETURN = "return_to_bot", _("returned to the bot")
        RESOLVE = "resolve", _("resolved")
        REOPEN = "reopen", _("reopened")

    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="ownership_changes",
        verbose_name=_("conversation"),
    )  # fmt: skip
    epoch = models.PositiveIntegerField(_("change no."))
    from_state = models.CharField(_("from state"), max_length=20, choices=Conversation.State)
    to_state = models.CharField(_("to state"), max_length=20, choices=Conversation.State)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+",
        verbose_name=_("by"),
    )  # fmt: skip
    # Whose it is since, or to whom it is on offer.
    holder = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+",
        verbose_name=_("holder"),
    )  # fmt: skip
    action = models.CharField(_("action"), max_length=30, choices=Action)
    message = models.OneToOneField(Message, models.CASCADE, related_name="ownership_change")
    at = models.DateTimeField(_("when"), auto_now_add=True)

    class Meta:
        verbose_name = _("ownership change")
        verbose_name_plural = _("ownership changes")
        ordering = ["conversation", "epoch"]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "epoch"], name="ownership_epoch_once")
        ]

    def __str__(self) -> str:
        return f"{self.conversation} · {self.get_action_display()}"
