"""Passages of the answering revisions, with their pictures and tables."""

from collections.abc import Sequence

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from knowledge.models.bases import KnowledgeBase
from knowledge.models.documents import Document, Revision


def attachment_path(attachment: "Attachment", name: str) -> str:
    return f"attachments/{attachment.revision_id}/{name}"


class Attachment(models.Model):
    """A picture or a table of a revision, shown under the answers that cite its place."""

    class Kind(models.TextChoices):
        PICTURE = "picture", _("picture")
        TABLE = "table", _("table")

    class Description(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DONE = "done", _("described")
        FAILED = "failed", _("failed")

    revision = models.ForeignKey(Revision, models.CASCADE, related_name="attachments")
    kind = models.CharField(max_length=10, choices=Kind)
    position = models.PositiveIntegerField()  # reading order within the revision
    number = models.CharField(max_length=50, blank=True)  # "图 3", "Table 2-1"
    caption = models.TextField(blank=True)
    page = models.PositiveIntegerField(null=True)
    box = models.JSONField(null=True)  # [x0, y0, x1, y1], 0–1 from the top left of the page
    file = models.FileField(upload_to=attachment_path, blank=True, max_length=300)  # pictures
    digest = models.CharField(max_length=64, blank=True, db_index=True)  # SHA-256 of the picture
    media_type = models.CharField(max_length=100, blank=True)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    html = models.TextField(blank=True)  # tables, cleaned
    text = models.TextField(blank=True)  # what OCR read in a picture
    # What a vision model says of the picture; it counts for search like its text.
    description = models.TextField(_("description"), blank=True)
    described_by = models.CharField(max_length=200, blank=True)  # the model's name
    description_state = models.CharField(max_length=10, choices=Description, blank=True)
    description_attempts = models.PositiveSmallIntegerField(default=0)
    description_error = models.TextField(blank=True)

    class Meta:
        verbose_name = _("attachment")
        verbose_name_plural = _("attachments")
        ordering = ["revision", "position"]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(description_state="waiting"),
                name="attachment_undescribed",
            ),
        ]

    def __str__(self) -> str:
        return self.number or self.caption or f"{self.kind} {self.position}"


class ChunkQuerySet(models.QuerySet["Chunk"]):
    def bulk_copy(self, chunks: Sequence["Chunk"]) -> None:
        """As `bulk_create`, which takes three times as long, most of it to make its statement."""
        fields = self.model._meta.concrete_fields
        columns = ", ".join(str(field.column) for field in fields)
        # Django does not see to errors of `copy`.
        with connection.wrap_database_errors, connection.cursor() as cursor:
            cursor.execute(
                "SELECT nextval(pg_get_serial_sequence('knowledge_chunk', 'id'))"
                " FROM generate_series(1, %s)",
                [len(chunks)],
            )
            for chunk, (pk,) in zip(chunks, cursor.fetchall(), strict=True):
                chunk.pk = pk
            with cursor.copy(f"COPY knowledge_chunk ({columns}) FROM STDIN") as copy:
                for chunk in chunks:
                    values = ((field, getattr(chunk, field.attname)) for field in fields)
                    copy.write_row(
                        [field.get_db_prep_save(value, connection) for field, value in values]
                    )


class Chunk(models.Model):
    """A passage: found, cited, shown. Only the current revision of a document has chunks."""

    class Kind(models.TextChoices):
        TEXT = "text", _("text")
        TABLE = "table", _("table")
        CODE = "code", _("code")
        QA = "qa", _("question and answer")

    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.CASCADE, related_name="chunks", verbose_name=_("knowledge base")
    )
    document = models.ForeignKey(
        Document, models.CASCADE, related_name="chunks", verbose_name=_("document")
    )
    revision = models.ForeignKey(Revision, models.CASCADE, related_name="chunks")
    position = models.PositiveIntegerField()
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, default=Kind.TEXT)
    heading_path = ArrayField(
        models.TextField(), verbose_name=_("headings"), default=list, blank=True
    )
    question = models.TextField(_("question"), blank=True)  # of a question-and-answer chunk
    text = models.TextField(_("text"))  # Markdown; of a question-and-answer chunk the answer
    # Asked in other words: they count for search, and are not shown.
    questions = ArrayField(
        models.TextField(), verbose_name=_("other questions"), default=list, blank=True
    )
    # Of what the parser made, before anyone edited it: an edit finds its passage again by it
    # when the document is replaced.
    digest = models.CharField(max_length=32, blank=True, editable=False)
    edited = models.BooleanField(_("edited"), default=False, editable=False)
    page = models.PositiveIntegerField(_("page"), null=True)
    page_end = models.PositiveIntegerField(_("last page"), null=True)
    locator = models.CharField(
        _("place"), max_length=500, blank=True
    )  # "第3节 › 安装", "Sheet1!A12:F12"
    regions = models.JSONField(default=list, blank=True)  # [{"page": 3, "box": [x0, y0, x1, y1]}]
    attachments = models.ManyToManyField(Attachment, related_name="chunks", blank=True)
    enabled = models.BooleanField(_("enabled"), default=True)

    objects = ChunkQuerySet.as_manager()

    class Meta:
        verbose_name = _("chunk")
        verbose_name_plural = _("chunks")
        ordering = ["document", "position"]
        constraints = [
            # Deferred: a split moves those after it.
            models.UniqueConstraint(
                fields=["revision", "position"],
                name="chunk_position_once",
                deferrable=models.Deferrable.DEFERRED,
            ),
        ]
        indexes = [
            models.Index(
                fields=["knowledge_base"], condition=Q(enabled=False), name="chunk_disabled"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.document_id}#{self.position}"


class ChunkEdit(models.Model):
    """One change that a curator made to passages of a document, and what undoes it."""

    class Kind(models.TextChoices):
        EDIT = "edit", _("edited")
        SPLIT = "split", _("split")
        MERGE = "merge", _("merged")
        ENABLE = "enable", _("enabled")
        DISABLE = "disable", _("disabled")
        # Of an earlier revision: the passage it changed is not in this one.
        LOST = "lost", _("not carried over")

    document = models.ForeignKey(
        Document, models.CASCADE, related_name="edits", verbose_name=_("document")
    )
    revision = models.ForeignKey(Revision, models.CASCADE, related_name="edits")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    before = models.JSONField()  # the passages as they were, see `knowledge.curating`
    after = models.JSONField()  # and what they became
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(_("when"), auto_now_add=True)
    undone_at = models.DateTimeField(_("undone"), null=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        verbose_name = _("edit")
        verbose_name_plural = _("edits")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.document_id}"
