"""FAQ entries: questions with their answers, from sheets, chats and people, as drafts first."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from knowledge.models.bases import KnowledgeBase, Scoped
from knowledge.models.documents import Document


def import_path(row: "Import", name: str) -> str:
    return f"imports/{row.knowledge_base_id}/{name}"


class Import(models.Model):
    """A sheet or a chat that was brought in, what became of its rows and which were refused."""

    class Kind(models.TextChoices):
        FAQ = "faq", _("FAQ sheet")
        WECOM = "wecom", _("WeCom conversations")

    class State(models.TextChoices):
        PREVIEW = "preview", _("waiting for confirmation")
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.CASCADE, related_name="imports", verbose_name=_("knowledge base")
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    name = models.CharField(_("file name"), max_length=300)
    file = models.FileField(_("file"), upload_to=import_path, blank=True, max_length=300)
    mapping = models.JSONField(default=dict)  # of a sheet: its column of each field
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PREVIEW)
    total = models.PositiveIntegerField(_("rows"), default=0)
    done = models.PositiveIntegerField(_("done"), default=0)
    created = models.PositiveIntegerField(_("new"), default=0)
    updated = models.PositiveIntegerField(_("changed"), default=0)
    unchanged = models.PositiveIntegerField(_("unchanged"), default=0)
    failed = models.PositiveIntegerField(_("refused"), default=0)
    counts = models.JSONField(default=dict)  # of a chat: messages, threads, masked, revoked …
    errors = models.JSONField(default=list)  # [{"row": 12, "message": "…"}], the first thousand
    error = models.TextField(_("error"), blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("user"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class Entry(Scoped):
    """A question and its answer. Only a published one answers, through a document of its own."""

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        PUBLISHED = "published", _("published")
        DISMISSED = "dismissed", _("dismissed")

    class Origin(models.TextChoices):
        STAFF = "staff", _("staff")
        SHEET = "sheet", _("FAQ sheet")
        WECOM = "wecom", _("WeCom conversation")
        HANDOFF = "handoff", _("resolved by a person")

    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.CASCADE, related_name="entries", verbose_name=_("knowledge base")
    )
    # The row's own name in its sheet or chat: importing it again changes this entry.
    key = models.CharField(_("number"), max_length=200, blank=True)
    question = models.TextField(_("question"))
    variants = ArrayField(
        models.TextField(), verbose_name=_("other questions"), default=list, blank=True
    )
    answer = models.TextField(_("answer"), blank=True, help_text=_("Markdown."))
    category = models.CharField(_("category"), max_length=200, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    origin = models.CharField(_("origin"), max_length=10, choices=Origin, default=Origin.STAFF)
    reference = models.CharField(_("from"), max_length=500, blank=True)  # room and time, ticket …
    # What a draft was drawn from, masked: [{"who": "…", "at": "…", "text": "…"}]
    context = models.JSONField(default=list, blank=True, editable=False)
    document = models.OneToOneField(
        Document, models.SET_NULL, null=True, editable=False, related_name="entry"
    )
    imported = models.ForeignKey(
        Import, models.SET_NULL, null=True, editable=False, related_name="entries"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("decided by"),
    )
    decided_at = models.DateTimeField(_("decided"), null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("FAQ entry")
        verbose_name_plural = _("FAQ entries")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["knowledge_base", "key"], condition=~Q(key=""), name="entry_key_once"
            ),
        ]
        indexes = [
            models.Index(
                fields=["knowledge_base"], condition=Q(state="draft"), name="entry_drafts"
            ),
        ]

    def __str__(self) -> str:
        return self.question
