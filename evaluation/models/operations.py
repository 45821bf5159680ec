"""What happened, counted day by day: pages read these rows and no single turn."""

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _
from pgvector.django import VectorField

from evaluation.paces import BUCKETS
from knowledge.models import Document, KnowledgeBase


class Pace(VectorField):
    """How many of what was timed took how long: a count for each bucket of `evaluation.paces`.
    A vector, because PostgreSQL adds these up."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"dimensions": BUCKETS, "null": True, **options})


class Day(models.Model):
    """A day, by the server's time zone, and what it had when it was counted."""

    day = models.DateField(primary_key=True)
    # When it was last among the days in which something had changed: of none that changed
    # earlier is nothing known (`evaluation.tallying.catch_up`).
    looked_at = models.DateTimeField(null=True)
    counted_at = models.DateTimeField(null=True)  # None: it has yet to be counted
    turns = models.PositiveIntegerField(default=0)
    rated = models.PositiveIntegerField(default=0)
    judged = models.PositiveIntegerField(default=0)
    peak = models.PositiveIntegerField(default=0)  # questions of its busiest minute

    class Meta:
        ordering = ["day"]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d}"


class Tally(models.Model):
    """The turns of a day that have base, topic, channel, model, prompt … in common."""

    day = models.DateField(_("day"), db_index=True)
    base = models.ForeignKey(
        KnowledgeBase,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("knowledge base"),
    )
    topic = models.CharField(_("topic"), max_length=200, blank=True)
    channel = models.CharField(_("channel"), max_length=20)
    model = models.CharField(_("model"), max_length=200, blank=True)  # that answered; "": none
    prompt = models.CharField(_("prompt version"), max_length=12, blank=True)  # of its digest
    # The name of the chat.Configuration in use; "": the settings of the environment.
    configuration = models.CharField(_("configuration"), max_length=200, blank=True)

    turns = models.PositiveIntegerField(_("questions"))  # small talk too
    answered = models.PositiveIntegerField(_("answered"))
    clarified = models.PositiveIntegerField(_("asked back"))
    handed = models.PositiveIntegerField(_("handed off"))
    failed = models.PositiveIntegerField(_("failed"))
    chatted = models.PositiveIntegerField(_("small talk"))
    kept = models.PositiveIntegerField(_("answered as before"))  # out of chat.KeptAnswer
    # Conversations whose first question is among these, and those nobody was called to.
    conversations = models.PositiveIntegerField(_("conversations"))
    alone = models.PositiveIntegerField(_("solved without a person"))
    rated = models.PositiveIntegerField(_("rated"))
    bad = models.PositiveIntegerField(_("rated as not helpful"))
    judged = models.PositiveIntegerField(_("judged answers"))
    right = models.PositiveIntegerField(_("of these right"))
    degraded = models.JSONField(default=dict)  # {name of chat.degrading: turns}

    waited = Pace()  # until a runner took it
    first = Pace()  # until the first sentence was shown
    whole = Pace()  # until all of it was
    clarify = Pace()
    recall = Pace()
    answer = Pace()
    escalate = Pace()

    class Meta:
        verbose_name = _("operating figure")
        verbose_name_plural = _("operating figures")
        ordering = ["day"]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.channel}"


class Spending(models.Model):
    """Requests to a model by one prompt, made for the turns of a tally."""

    tally = models.ForeignKey(Tally, models.CASCADE, related_name="spending")
    model = models.CharField(max_length=200)
    prompt = models.CharField(max_length=100)
    version = models.CharField(max_length=12)
    requests = models.PositiveIntegerField()
    told = models.PositiveIntegerField()  # of which the server said how many tokens
    tokens_in = models.PositiveBigIntegerField()
    tokens_out = models.PositiveBigIntegerField()
    took = Pace()

    class Meta:
        ordering = ["tally"]

    def __str__(self) -> str:
        return f"{self.model} {self.prompt}"


class DocumentTally(models.Model):
    """What a document did on a day: the answers that cite it, and what people held of these."""

    day = models.DateField()
    document = models.ForeignKey(Document, models.CASCADE, related_name="+")
    found = models.PositiveIntegerField()  # turns that it was among the passages of
    cited = models.PositiveIntegerField()
    rated = models.PositiveIntegerField()
    bad = models.PositiveIntegerField()
    judged = models.PositiveIntegerField()
    wrong = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["day", "document"], name="document_tally_once_a_day")
        ]
        indexes = [models.Index(fields=["document", "day"], name="document_tally_of_document")]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.document_id}"


class Price(models.Model):
    """What a model costs; one without a price is counted in tokens alone."""

    model = models.CharField(
        _("model"),
        max_length=200,
        unique=True,
        help_text=_("As it is called in the settings and in traces."),
    )
    per_million_in = models.DecimalField(
        _("price of a million tokens read"), max_digits=12, decimal_places=4
    )
    per_million_out = models.DecimalField(
        _("price of a million tokens written"), max_digits=12, decimal_places=4
    )
    currency = models.CharField(_("currency"), max_length=3, default="CNY")

    class Meta:
        verbose_name = _("price of a model")
        verbose_name_plural = _("prices of models")
        ordering = ["model"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(per_million_in__gte=0, per_million_out__gte=0),
                name="price_not_negative",
                violation_error_message=_("A price cannot be negative."),
            )
        ]

    def __str__(self) -> str:
        return self.model
