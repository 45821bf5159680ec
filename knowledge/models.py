"""What the team knows: bases, documents and their revisions, chunks, and the indexes over them."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from pgvector.django import HalfVectorField, SparseVectorField


class KnowledgeBaseQuerySet(models.QuerySet["KnowledgeBase"]):
    def readable_by(self, user: Any) -> "KnowledgeBaseQuerySet":
        """Those that `user` (a User or AnonymousUser) may be answered from."""
        if user.is_active and user.is_superuser:
            return self
        readable = Q(audience=KnowledgeBase.Audience.VISITORS)
        if user.is_authenticated and user.is_active:
            readable |= Q(audience=KnowledgeBase.Audience.SIGNED_IN)
            readable |= Q(audience=KnowledgeBase.Audience.GROUPS, groups__user=user)
        return self.filter(readable).distinct()


class KnowledgeBase(models.Model):
    class Audience(models.TextChoices):
        VISITORS = "visitors", _("Every visitor")
        SIGNED_IN = "signed_in", _("Signed-in users")
        GROUPS = "groups", _("Members of the groups below")

    slug = models.SlugField(_("slug"), unique=True)
    name = models.CharField(_("name"), max_length=200)
    description = models.TextField(_("description"), blank=True)
    audience = models.CharField(
        _("who may read"), max_length=20, choices=Audience, default=Audience.SIGNED_IN
    )
    groups = models.ManyToManyField(Group, verbose_name=_("groups"), blank=True)
    # Raised by every change of what the base answers; caches are keyed by it.
    version = models.PositiveBigIntegerField(_("version"), default=0, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = KnowledgeBaseQuerySet.as_manager()

    class Meta:
        verbose_name = _("knowledge base")
        verbose_name_plural = _("knowledge bases")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Status(models.TextChoices):
    QUEUED = "queued", _("queued")
    PROCESSING = "processing", _("processing")
    READY = "ready", _("ready")
    FAILED = "failed", _("failed")


class Document(models.Model):
    """Something the team knows, under one title, through all its revisions.

    `current` answers questions; `latest` is the last one uploaded, whose status the
    document shows. They differ while a replacement is processed, or after it failed.
    """

    class Origin(models.TextChoices):
        UPLOAD = "upload", _("uploaded")
        API = "api", _("API")
        INGEST = "ingest", _("folder or archive")
        COLLECTED = "collected", _("collected")

    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.CASCADE, related_name="documents", verbose_name=_("knowledge base")
    )
    title = models.CharField(_("title"), max_length=500)
    external_id = models.CharField(_("external id"), max_length=500, blank=True)
    origin = models.CharField(_("origin"), max_length=20, choices=Origin, default=Origin.UPLOAD)
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
        ]

    def __str__(self) -> str:
        return self.title


def revision_path(revision: "Revision", name: str) -> str:
    return (
        f"documents/{revision.document.knowledge_base_id}/{revision.sha256[:2]}/{revision.sha256}"
    )


class RevisionQuerySet(models.QuerySet["Revision"]):
    def unfinished(self) -> "RevisionQuerySet":
        return self.filter(status__in=[Status.QUEUED, Status.PROCESSING])


class Revision(models.Model):
    """One upload of a document: the original file, and how far its processing came.

    A file that was refused at the door (of a type nobody can read, empty, encrypted) is not
    kept: its revision has failed, with the reason and without a file.
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
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
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

    def wait(self, error: str = "") -> None:
        """Back to the queue, from the beginning."""
        self._set(status=Status.QUEUED, stage="", progress=0, error=error)

    def fail(self, error: str) -> None:
        """`error` is a sentence for a person."""
        self._set(status=Status.FAILED, stage="", error=error, finished_at=timezone.now())

    def _set(self, **values: Any) -> None:
        Revision.objects.filter(pk=self.pk).update(**values)
        for name, value in values.items():
            setattr(self, name, value)


def attachment_path(attachment: "Attachment", name: str) -> str:
    return f"attachments/{attachment.revision_id}/{name}"


class Attachment(models.Model):
    """A picture or a table of a revision, shown under the answers that cite its place."""

    class Kind(models.TextChoices):
        PICTURE = "picture", _("picture")
        TABLE = "table", _("table")

    revision = models.ForeignKey(Revision, models.CASCADE, related_name="attachments")
    kind = models.CharField(max_length=10, choices=Kind)
    position = models.PositiveIntegerField()  # reading order within the revision
    number = models.CharField(max_length=50, blank=True)  # "图 3", "Table 2-1"
    caption = models.TextField(blank=True)
    page = models.PositiveIntegerField(null=True)
    box = models.JSONField(null=True)  # [x0, y0, x1, y1], 0–1 from the top left of the page
    file = models.FileField(upload_to=attachment_path, blank=True, max_length=300)  # pictures
    media_type = models.CharField(max_length=100, blank=True)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    html = models.TextField(blank=True)  # tables, cleaned
    text = models.TextField(blank=True)  # what OCR read in a picture

    class Meta:
        verbose_name = _("attachment")
        verbose_name_plural = _("attachments")
        ordering = ["revision", "position"]

    def __str__(self) -> str:
        return self.number or self.caption or f"{self.kind} {self.position}"


class Chunk(models.Model):
    """A passage: found, cited, shown. Only the current revision of a document has chunks."""

    class Kind(models.TextChoices):
        TEXT = "text", _("text")
        TABLE = "table", _("table")
        CODE = "code", _("code")
        QA = "qa", _("question and answer")

    knowledge_base = models.ForeignKey(KnowledgeBase, models.CASCADE, related_name="chunks")
    document = models.ForeignKey(Document, models.CASCADE, related_name="chunks")
    revision = models.ForeignKey(Revision, models.CASCADE, related_name="chunks")
    position = models.PositiveIntegerField()
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, default=Kind.TEXT)
    heading_path = ArrayField(
        models.TextField(), verbose_name=_("headings"), default=list, blank=True
    )
    question = models.TextField(_("question"), blank=True)  # of a question-and-answer chunk
    text = models.TextField(_("text"))  # Markdown; of a question-and-answer chunk the answer
    page = models.PositiveIntegerField(_("page"), null=True)
    page_end = models.PositiveIntegerField(_("last page"), null=True)
    locator = models.CharField(
        _("place"), max_length=500, blank=True
    )  # "第3节 › 安装", "Sheet1!A12:F12"
    regions = models.JSONField(default=list, blank=True)  # [{"page": 3, "box": [x0, y0, x1, y1]}]
    attachments = models.ManyToManyField(Attachment, related_name="chunks", blank=True)
    enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("chunk")
        verbose_name_plural = _("chunks")
        ordering = ["document", "position"]
        constraints = [
            models.UniqueConstraint(fields=["revision", "position"], name="chunk_position_once"),
        ]
        indexes = [
            models.Index(
                fields=["knowledge_base"], condition=Q(enabled=False), name="chunk_disabled"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.document_id}#{self.position}"


class EmbeddingIndex(models.Model):
    """The vectors of one model over all chunks. A new one is built beside the one that answers."""

    class State(models.TextChoices):
        BUILDING = "building", _("building")
        READY = "ready", _("ready")  # complete, kept for going back
        ACTIVE = "active", _("answering")
        FAILED = "failed", _("failed")

    embedder = models.CharField(_("embedder"), max_length=100)  # name in the settings
    model = models.CharField(_("model"), max_length=300)
    dimensions = models.PositiveIntegerField(_("dimensions"))
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.BUILDING)
    total = models.PositiveIntegerField(_("chunks"), default=0)
    done = models.PositiveIntegerField(_("embedded"), default=0)
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    activated_at = models.DateTimeField(_("activated"), null=True)

    class Meta:
        verbose_name = _("embedding index")
        verbose_name_plural = _("embedding indexes")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["state"], condition=Q(state="active"), name="embedding_index_one_active"
            ),
        ]

    def __str__(self) -> str:
        return self.model


class Embedding(models.Model):
    index = models.ForeignKey(EmbeddingIndex, models.CASCADE, related_name="embeddings")
    chunk = models.ForeignKey(Chunk, models.CASCADE, related_name="embeddings")
    knowledge_base = models.ForeignKey(KnowledgeBase, models.CASCADE, related_name="+")
    # Of the index's dimensions; the HNSW index is partial, one for each EmbeddingIndex.
    vector = HalfVectorField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["index", "chunk"], name="embedding_once"),
        ]

    def __str__(self) -> str:
        return f"chunk {self.chunk_id} in {self.index_id}"


class Lexicon(models.Model):
    """What ranking by words needs to know of a whole knowledge base; written by `lexical` only."""

    knowledge_base = models.OneToOneField(
        KnowledgeBase, models.CASCADE, primary_key=True, related_name="lexicon"
    )
    chunks = models.PositiveBigIntegerField(default=0)
    # Terms in all chunks by view, in the order of terms.VIEWS.
    lengths = ArrayField(models.BigIntegerField(), size=3)
    # The mean lengths that the weights of the chunks were reckoned with: renewed by
    # `indexing.reindex` when the true means have moved away from them.
    means = ArrayField(models.FloatField(), size=3)

    def __str__(self) -> str:
        return str(self.knowledge_base)


class TermCount(models.Model):
    """In how many chunks of a knowledge base a term stands."""

    pk = models.CompositePrimaryKey("knowledge_base_id", "term")
    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.CASCADE, related_name="+", db_index=False
    )
    term = models.IntegerField()  # lexical.key
    chunks = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.term}: {self.chunks}"


class ChunkTerms(models.Model):
    """The terms of a chunk, weighed: score of a question = inner product with its terms' idf."""

    chunk = models.OneToOneField(Chunk, models.CASCADE, primary_key=True, related_name="terms")
    knowledge_base = models.ForeignKey(KnowledgeBase, models.CASCADE, related_name="+")
    weights = SparseVectorField(dimensions=1_000_000_000)
    words = ArrayField(models.IntegerField())  # keys of the word view, to find candidates by
    lengths = ArrayField(models.IntegerField(), size=3)  # terms by view

    class Meta:
        indexes = [GinIndex(fields=["words"], name="chunkterms_words")]

    def __str__(self) -> str:
        return f"terms of chunk {self.chunk_id}"
