"""What staff want to know before a question is looked for, and what customers told of it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from chat.models.conversations import Conversation, Turn
from knowledge.models import KnowledgeBase


class Topic(models.Model):
    """A kind of question that cannot be answered well without knowing some things."""

    class When(models.TextChoices):
        ALWAYS = "always", _("always, before anything is looked for")
        UNSURE = "unsure", _("only when no sure answer is found without")

    name = models.CharField(_("name"), max_length=100, unique=True)
    description = models.CharField(
        _("description"),
        max_length=500,
        blank=True,
        help_text=_("What such messages are about, for staff and for the model."),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    knowledge_bases = models.ManyToManyField(
        KnowledgeBase,
        verbose_name=_("knowledge bases"),
        blank=True,
        related_name="topics",
        help_text=_("Asked about where one of these is asked; none: everywhere."),
    )
    when = models.CharField(
        _("ask for what is missing"), max_length=10, choices=When, default=When.ALWAYS
    )
    triggers = ArrayField(
        models.CharField(max_length=100), verbose_name=_("trigger words"), default=list, blank=True
    )
    examples = ArrayField(
        models.CharField(max_length=200),
        verbose_name=_("example questions"),
        default=list,
        blank=True,
    )
    # JSON Schema (2020-12) of an object; `chat.topics.schema` says which keywords are ours.
    schema = models.JSONField(_("fields"), default=dict)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("topic")
        verbose_name_plural = _("topics")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Collected(models.Model):
    """What a customer told about a topic; written with the end of each turn that tells of it."""

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="collected")
    topic = models.ForeignKey(Topic, models.SET_NULL, null=True, related_name="collected")
    name = models.CharField(_("topic"), max_length=100)  # as it was called then
    turn = models.ForeignKey(Turn, models.SET_NULL, null=True, related_name="+")  # the last of it
    question = models.TextField(_("question"))  # that it began with
    values = models.JSONField(_("told"), default=dict)  # {field: value}
    fields = models.JSONField(default=list)  # [[field, label], …] of all, as they were then
    field = models.CharField(_("being asked"), max_length=100, blank=True)
    asked = models.JSONField(_("times asked"), default=dict)  # {field: times}
    declined = ArrayField(  # fields that the customer does not know or want to tell
        models.CharField(max_length=100), verbose_name=_("not told"), default=list
    )
    # Its question waits for what is missing.
    open = models.BooleanField(_("still being asked"), default=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("collected details")
        verbose_name_plural = _("collected details")
        ordering = ["-updated_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "topic"],
                condition=Q(topic__isnull=False),
                name="collected_topic_once",
            )
        ]

    def __str__(self) -> str:
        return self.name
