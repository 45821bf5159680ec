"""Documents and their revisions: the originals, and how far their processing came."""

from typing import Any

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from knowledge.models.bases import KnowledgeBase, Originals, Scoped, Tier
from opsdesk.sealing import seal, unseal


class Status(models.TextChoices):
    QUEUED = "queued", _("queued")
    PROCESSING = "processing", _("processing")
    READY = "ready", _("ready")
    FAILED = "failed", _("failed")
    HELD = "held", _("held back")  # read, and a gate refuses it


class Document(Scoped):
    """Something the team knows, under one title, through all its revisions.

    `current` answers questions; `latest` is the last one uploaded, whose status the
    document shows. They differ while a replacement is processed, or after it failed.
    """

    class Origin(models.TextChoices):
        UPLOAD = "upload", _("uploaded")
        API = "api", _("API")
        INGEST = "ingest", _("folder or archive")
        COLLECTED = "collected", _("collected")
        SOURCE = "source", _("source")
        FAQ = "faq", _("FAQ entry")

    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.CASCADE, related_name="documents", verbose_name=_("knowledge base")
    )
    title = models.CharField(_("title"), max_length=500)
    external_id = models.CharField(_("external id"), max_length=500, blank=True)
    origin = models.CharField(_("origin"), max_length=20, choices=Origin, default=Origin.UPLOAD)
    source = models.ForeignKey(
        "Source",
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="documents",
        verbose_name=_("source"),
    )
    url = models.URLField(_("address"), max_length=2000, blank=True)  # where readers find it
    tier = models.CharField(
        _("way of reading"),
        max_length=20,
        choices=Tier,
        blank=True,
        help_text=_("How it is read; empty: as its knowledge base says."),
    )
    originals = models.CharField(
        _("original file"),
        max_length=20,
        choices=Originals,
        blank=True,
        help_text=_("Whether answers offer it; empty: as its knowledge base says."),
    )
    # What its source no longer has; it answers no more, until it comes back.
    retired_at = models.DateTimeField(_("retired"), null=True, editable=False)
    retired_reason = models.CharField(max_length=300, blank=True, editable=False)
    current = models.ForeignKey(
        "Revision",
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("answering revision"),
    )
    latest = models.ForeignKey(
        "Revision",
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("latest revision"),
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("created by"),
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("approved by"),
    )
    approved_at = models.DateTimeField(_("approved"), null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("document")
        verbose_name_plural = _("documents")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["knowledge_base", "external_id"],
                condition=~Q(external_id=""),
                name="document_external_id_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["knowledge_base"], condition=Q(approved_at=None), name="document_unapproved"
            ),
            models.Index(
                fields=["knowledge_base"],
                condition=Q(retired_at__isnull=False),
                name="document_retired",
            ),
            models.Index(
                fields=["knowledge_base", "expires_on"],
                condition=Q(expires_on__isnull=False),
                name="document_expiring",
            ),
            GinIndex(fields=["tags"], name="document_tags"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def reading(self) -> str:
        """The tier by which it is read."""
        return self.tier or self.knowledge_base.tier or settings.PARSE_TIER

    @property
    def hands_out(self) -> bool:
        """Whether its readers may have the file, not only see its pages."""
        return (self.originals or self.knowledge_base.originals) == Originals.GIVEN


def revision_path(revision: "Revision", name: str) -> str:
    return (
        f"documents/{revision.document.knowledge_base_id}/{revision.sha256[:2]}/{revision.sha256}"
    )


class RevisionQuerySet(models.QuerySet["Revision"]):
    def unfinished(self) -> "RevisionQuerySet":
        return self.filter(status__in=[Status.QUEUED, Status.PROCESSING])


class Revision(models.Model):
    """One upload of a document: the original file, and how far its processing came.

    A file that was refused at the door (of a type nobody can read, empty) is not kept: its
    revision has failed, with the reason and without a file. One that wants a password is kept.
    """

    class Stage(models.TextChoices):
        READING = "reading", _("reading")
        INDEXING = "indexing", _("indexing")

    document = models.ForeignKey(
        Document, models.CASCADE, related_name="revisions", verbose_name=_("document")
    )
    file = models.FileField(_("file"), upload_to=revision_path, blank=True, max_length=300)
    name = models.CharField(_("file name"), max_length=500)
    media_type = models.CharField(_("media type"), max_length=200)  # by content, not by name
    size = models.PositiveBigIntegerField(_("bytes"))
    sha256 = models.CharField(max_length=64, db_index=True)
    status = models.CharField(_("status"), max_length=20, choices=Status, default=Status.QUEUED)
    stage = models.CharField(_("stage"), max_length=20, choices=Stage, blank=True)
    progress = models.PositiveSmallIntegerField(_("progress"), default=0)  # percent
    error = models.TextField(_("error"), blank=True)  # a sentence for a person
    # The file is encrypted and wants a password; the one that was given, sealed.
    locked = models.BooleanField(_("password-protected"), default=False)
    password = models.TextField(blank=True, editable=False)  # opsdesk.sealing
    # Of its pages and pictures, while it is read in parts.
    parts_done = models.PositiveIntegerField(default=0, editable=False)
    parts_total = models.PositiveIntegerField(default=0, editable=False)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    released = models.BooleanField(default=False, editable=False)  # whatever the gates say
    parser = models.CharField(_("parser"), max_length=100, blank=True)
    pages = models.PositiveIntegerField(_("pages"), null=True)
    parsed = models.JSONField(null=True, editable=False)  # ParsedDocument.to_json(), without assets
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    objects = RevisionQuerySet.as_manager()

    class Meta:
        verbose_name = _("revision")
        verbose_name_plural = _("revisions")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name

    @property
    def unfinished(self) -> bool:
        return self.status in {Status.QUEUED, Status.PROCESSING}

    def start(self) -> None:
        """A worker takes it up."""
        self._set(
            status=Status.PROCESSING,
            attempts=self.attempts + 1,
            started_at=timezone.now(),
            finished_at=None,
            error="",
        )

    def report(self, stage: str, progress: int) -> None:
        """Say how far processing is, in percent."""
        self._set(stage=stage, progress=progress)

    def report_parts(self, done: int, total: int) -> None:
        """Say how many of its pages and pictures are read."""
        progress = 5 + 85 * done // max(total, 1)
        self._set(stage=self.Stage.READING, progress=progress, parts_done=done, parts_total=total)

    @property
    def where(self) -> str:
        """How far its reading came, for a person; empty where there is nothing to count."""
        if self.stage != self.Stage.READING or self.parts_total < 2:
            return ""
        sentence = _("page or picture %(done)s of %(total)s")
        return str(sentence % {"done": self.parts_done, "total": self.parts_total})

    def wait(self, error: str = "") -> None:
        """Back to the queue; what of it was read is kept."""
        self._set(status=Status.QUEUED, stage="", progress=0, error=error)

    def progressed(self) -> None:
        """A part is read: attempts count only while nothing comes of them."""
        if self.attempts != 1:
            self._set(attempts=1)

    def pause(self) -> None:
        """It goes on with the next task."""
        self._set(attempts=0)

    def fail(self, error: str) -> None:
        """`error` is a sentence for a person."""
        self._set(status=Status.FAILED, stage="", error=error, finished_at=timezone.now())
        self.forget_parts()

    def hold(self, reason: str) -> None:
        """A gate refuses it; what it would replace goes on answering."""
        self._set(status=Status.HELD, stage="", error=reason, finished_at=timezone.now())
        self.forget_parts()

    def lock(self, error: str) -> None:
        """It wants a password, or another one: what was given is forgotten."""
        self._set(locked=True, password="")
        self.fail(error)

    def unlock(self, password: str) -> None:
        """Keep the password, sealed, for as long as the file is kept."""
        self._set(password=seal(password))

    @property
    def opened_with(self) -> str | None:
        """The password that was given for the file."""
        return unseal(self.password) if self.password else None

    def forget_parts(self) -> None:
        """Nothing of what was read in parts is needed any more."""
        self.parts.all().delete()
        self._set(parts_done=0, parts_total=0)

    def _set(self, **values: Any) -> None:
        Revision.objects.filter(pk=self.pk).update(**values)
        for name, value in values.items():
            setattr(self, name, value)


class RevisionPart(models.Model):
    """Pages or pictures of a revision that are read, kept until all of it is."""

    revision = models.ForeignKey(Revision, models.CASCADE, related_name="parts")
    name = models.CharField(max_length=1000)
    data = models.BinaryField()  # knowledge.parsing.parts.dump()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["revision", "name"], name="revision_part_once")
        ]

    def __str__(self) -> str:
        return self.name


class Similarity(models.Model):
    """Two documents of a base that say the same in some of their passages."""

    knowledge_base = models.ForeignKey(KnowledgeBase, models.CASCADE, related_name="similarities")
    first = models.ForeignKey(
        Document, models.CASCADE, related_name="+", verbose_name=_("document")
    )
    second = models.ForeignKey(
        Document, models.CASCADE, related_name="+", verbose_name=_("other document")
    )
    passages = models.PositiveIntegerField(_("similar passages"))
    share = models.FloatField(_("share"))  # of the smaller document's passages, 0–1
    examples = models.JSONField(default=list)  # [{"first": chunk, "second": chunk, "score": 0–1}]
    found_at = models.DateTimeField(_("found"), auto_now=True)
    dismissed_at = models.DateTimeField(_("dismissed"), null=True)
    dismissed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        verbose_name = _("duplicate")
        verbose_name_plural = _("duplicates")
        ordering = ["-share", "-passages"]
        constraints = [
            models.UniqueConstraint(fields=["first", "second"], name="similarity_once"),
            models.CheckConstraint(condition=Q(first__lt=F("second")), name="similarity_ordered"),
        ]

    def __str__(self) -> str:
        return f"{self.first_id} ~ {self.second_id}"

    @property
    def percent(self) -> int:
        return round(self.share * 100)
