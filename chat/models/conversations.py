"""Conversations as rows: who owns one, what was said, what was cited, what is still to be done."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from knowledge.models import Attachment, Chunk, Document, KnowledgeBase, Revision


class Conversation(models.Model):
    class State(models.TextChoices):
        BOT = "bot", _("answered by OpsDesk")
        QUEUED = "queued", _("waiting for a person")
        OFFERED = "offered", _("offered to a person")
        HUMAN = "human", _("with a person")
        RESOLVED = "resolved", _("resolved")

    class Channel(models.TextChoices):
        WEB = "web", _("web page")
        WIDGET = "widget", _("widget")
        API = "api", _("API")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    channel = models.CharField(_("channel"), max_length=20, choices=Channel, default=Channel.WEB)
    # Whose it is: the visitor of a signed cookie, or a user.
    visitor = models.CharField(_("visitor"), max_length=64, blank=True, db_index=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="conversations",
        verbose_name=_("user"),
    )
    # The site that shows it, and who that says by a signed token that its visitor is; empty:
    # nobody said.
    site = models.ForeignKey(
        "chat.WidgetSite", models.SET_NULL, null=True, related_name="+", verbose_name=_("site")
    )
    identity = models.CharField(_("identity"), max_length=200, blank=True, db_index=True)
    # The base it asks; empty: all that its visitor may read.
    knowledge_base = models.ForeignKey(
        KnowledgeBase,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("knowledge base"),
    )
    language = models.CharField(_("language"), max_length=10, default="zh-hans")
    title = models.CharField(_("title"), max_length=200, blank=True)
    # Ownership: changed by handoff.desk alone. transcript.append() checks the epoch.
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.BOT)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="owned_conversations",
        verbose_name=_("owner"),
    )
    epoch = models.PositiveIntegerField(default=0)
    last_seq = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True, db_index=True)

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        ordering = ["-updated_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="human", owner__isnull=False)
                | Q(~Q(state="human"), owner__isnull=True),
                name="conversation_owned_by_one",
            ),
        ]

    def __str__(self) -> str:
        return self.title or str(self.id)

    @property
    def verified(self) -> bool:
        """Whether it is known who asks: a signed-in user, or one an embedding site vouched for."""
        return bool(self.user_id or self.identity)


class Message(models.Model):
    class Role(models.TextChoices):
        CUSTOMER = "customer", _("customer")
        ASSISTANT = "assistant", _("OpsDesk")
        AGENT = "agent", _("person")
        SYSTEM = "system", _("system")

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="messages")
    seq = models.PositiveIntegerField()  # 1, 2, 3 … within the conversation, without a gap
    role = models.CharField(_("role"), max_length=20, choices=Role)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("author"),
    )
    text = models.TextField(_("text"))  # Markdown of assistant and agent, plain of the rest
    client_msg_id = models.CharField(max_length=64, blank=True)
    epoch = models.PositiveIntegerField(default=0)  # the conversation's when it was said
    # What a page needs beside the text: {"event": "handoff_requested"} of a system message,
    # {"outcome": "answered", "confidence": .93, "mode": "model", "options": [...]} of an answer;
    # of a question {"scope": …}, what it was limited to: the fields of knowledge.scope.Scope.
    data = models.JSONField(default=dict, blank=True)
    public = models.BooleanField(_("public"), default=True)  # else a note among staff
    attachments = models.ManyToManyField(Attachment, through="Figure", related_name="+")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ["conversation", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "seq"], name="message_seq_once"),
            models.UniqueConstraint(
                fields=["conversation", "client_msg_id"],
                condition=~Q(client_msg_id=""),
                name="message_client_id_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id}/{self.seq}"


class TurnQuerySet(models.QuerySet["Turn"]):
    def unfinished(self) -> "TurnQuerySet":
        return self.exclude(status=Turn.Status.DONE)


class Turn(models.Model):
    """A customer's message that waits for, or got, what OpsDesk says to it."""

    class Status(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        DONE = "done", _("done")

    class Outcome(models.TextChoices):
        ANSWERED = "answered", _("answered")
        CLARIFYING = "clarifying", _("asked back")
        HANDOFF = "handoff", _("handed off")
        CHAT = "chat", _("small talk")
        DISCARDED = "discarded", _("discarded")  # a person took over meanwhile
        FAILED = "failed", _("failed")

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="turns")
    message = models.OneToOneField(Message, models.CASCADE, related_name="turn")
    reply = models.OneToOneField(Message, models.SET_NULL, null=True, related_name="replied_turn")
    epoch = models.PositiveIntegerField()  # the conversation's when it was asked
    status = models.CharField(_("status"), max_length=20, choices=Status, default=Status.QUEUED)
    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome, blank=True)
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=0)
    lease_until = models.DateTimeField(null=True)  # a running turn past it is taken up again
    confidence = models.FloatField(_("confidence"), null=True)  # 0–1
    # Slots asked for and not yet given; read by the next turn's clarify step.
    pending = models.JSONField(default=dict, blank=True)
    trace = models.JSONField(
        default=dict, blank=True
    )  # query, passages with scores, times by step …
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = TurnQuerySet.as_manager()

    class Meta:
        verbose_name = _("turn")
        verbose_name_plural = _("turns")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["id"], condition=~Q(status="done"), name="turn_unfinished"),
            models.Index(fields=["created_at"], name="turn_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"


class Rating(models.Model):
    """What the customer thinks of an answer; changed or taken back as they like."""

    class Reason(models.TextChoices):
        WRONG = "wrong", _("is wrong")
        OFF = "off", _("answers something else")
        INCOMPLETE = "incomplete", _("leaves something out")
        OUTDATED = "outdated", _("is out of date")
        UNCLEAR = "unclear", _("is hard to understand")

    message = models.OneToOneField(Message, models.CASCADE, related_name="rating")
    helpful = models.BooleanField(_("helpful"))
    reason = models.CharField(_("reason"), max_length=20, choices=Reason, blank=True)
    comment = models.CharField(_("comment"), max_length=500, blank=True)
    rated_at = models.DateTimeField(_("rated"), auto_now=True, db_index=True)

    class Meta:
        verbose_name = _("rating")
        verbose_name_plural = _("ratings")

    def __str__(self) -> str:
        return "👍" if self.helpful else " ".join(["👎", self.get_reason_display()]).strip()


class CitationQuerySet(models.QuerySet["Citation"]):
    def of_answers(self) -> "CitationQuerySet":
        """Those that were shown as an answer: what a choice offers is none."""
        return self.exclude(message__replied_turn__outcome=Turn.Outcome.CLARIFYING)


class Citation(models.Model):
    """What a numbered mark in an answer points to, as it stood when the answer was given."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="citations")
    n = models.PositiveSmallIntegerField()
    chunk = models.ForeignKey(Chunk, models.SET_NULL, null=True, related_name="+")
    document = models.ForeignKey(Document, models.SET_NULL, null=True, related_name="citations")
    revision = models.ForeignKey(Revision, models.SET_NULL, null=True, related_name="+")
    title = models.CharField(max_length=500)
    external_id = models.CharField(max_length=500, blank=True)
    page = models.PositiveIntegerField(null=True)
    locator = models.CharField(max_length=500, blank=True)
    quote = models.TextField()  # the cited passage, Markdown
    regions = models.JSONField(default=list, blank=True)

    objects = CitationQuerySet.as_manager()

    class Meta:
        verbose_name = _("citation")
        verbose_name_plural = _("citations")
        ordering = ["message", "n"]
        constraints = [models.UniqueConstraint(fields=["message", "n"], name="citation_n_once")]

    def __str__(self) -> str:
        return f"[{self.n}] {self.title}"


class Figure(models.Model):
    """A cited picture or table that is shown under an answer."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="figures")
    attachment = models.ForeignKey(Attachment, models.CASCADE, related_name="+")
    citation = models.ForeignKey(Citation, models.CASCADE, related_name="figures")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["message", "position"]
        constraints = [
            models.UniqueConstraint(fields=["message", "attachment"], name="figure_once")
        ]

    def __str__(self) -> str:
        return f"{self.message_id}/{self.position}"
