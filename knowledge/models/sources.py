"""Where knowledge comes from by itself: pages, folders, document services; and imports."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from knowledge.models.bases import KnowledgeBase
from knowledge.models.documents import Document


class Source(models.Model):
    """A place that is looked at again and again; its `kind` is a name in `settings.SOURCES`."""

    class State(models.TextChoices):
        IDLE = "idle", _("waiting for its time")
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("being fetched")
        FAILED = "failed", _("failed")

    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.CASCADE, related_name="sources", verbose_name=_("knowledge base")
    )
    kind = models.CharField(_("kind"), max_length=30)
    name = models.CharField(_("name"), max_length=200)
    options = models.JSONField(_("options"), default=dict, blank=True)  # of the kind, no secrets
    secret = models.TextField(blank=True, editable=False)  # tokens, sealed: opsdesk.sealing
    memory = models.JSONField(default=dict, editable=False)  # what the kind keeps between runs
    every = models.PositiveIntegerField(
        _("every (minutes)"), default=1440, help_text=_("0: only when asked.")
    )
    approve = models.BooleanField(
        _("answers at once"),
        default=True,
        help_text=_("Otherwise what it brings waits for approval."),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    state = models.CharField(
        _("state"), max_length=20, choices=State, default=State.IDLE, editable=False
    )
    error = models.TextField(_("error"), blank=True, editable=False)  # a sentence for a person
    next_at = models.DateTimeField(_("next"), null=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("source")
        verbose_name_plural = _("sources")
        ordering = ["name"]
        indexes = [
            models.Index(fields=["next_at"], condition=Q(enabled=True), name="source_due"),
        ]

    def __str__(self) -> str:
        return self.name


class SourceItem(models.Model):
    """One page or file of a source, as it was seen last."""

    source = models.ForeignKey(Source, models.CASCADE, related_name="items")
    key = models.TextField()  # its address or path
    document = models.ForeignKey(Document, models.SET_NULL, null=True, related_name="+")
    etag = models.CharField(max_length=500, blank=True)
    modified = models.CharField(max_length=200, blank=True)  # as the other side says it
    sha256 = models.CharField(max_length=64, blank=True)
    missing = models.PositiveSmallIntegerField(default=0)  # runs in a row that did not find it
    error = models.TextField(_("error"), blank=True)
    seen_at = models.DateTimeField(_("seen"), null=True)  # in a listing, or as a link
    waiting = models.BooleanField(default=False)  # to be fetched in the run that is under way
    data = models.JSONField(default=dict)  # what was said of it where it was found

    class Meta:
        verbose_name = _("page or file")
        verbose_name_plural = _("pages and files")
        ordering = ["key"]
        constraints = [
            models.UniqueConstraint(fields=["source", "key"], name="source_item_once"),
        ]
        indexes = [
            models.Index(fields=["source"], condition=Q(waiting=True), name="source_item_waiting"),
        ]

    def __str__(self) -> str:
        return self.key


class SourceRun(models.Model):
    """What one look at a source brought."""

    source = models.ForeignKey(Source, models.CASCADE, related_name="runs")
    started_at = models.DateTimeField(_("started"), auto_now_add=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    listed = models.BooleanField(default=False)  # all there is to fetch has been written down
    complete = models.BooleanField(default=True)  # else what was not found may still be there
    added = models.PositiveIntegerField(_("new"), default=0)
    changed = models.PositiveIntegerField(_("changed"), default=0)
    unchanged = models.PositiveIntegerField(_("unchanged"), default=0)
    retired = models.PositiveIntegerField(_("retired"), default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    error = models.TextField(_("error"), blank=True)

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.source_id} {self.started_at:%Y-%m-%d %H:%M}"
