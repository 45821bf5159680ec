"""What search reads: words and vectors of every chunk. Written by `indexing` only."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from pgvector.django import HalfVectorField, SparseVectorField

from knowledge.models.bases import KnowledgeBase
from knowledge.models.chunks import Chunk


class EmbeddingIndex(models.Model):
    """The vectors of one model over the chunks of all bases, or of the one base it was made for.

    The active one answers for every base that names no other (`KnowledgeBase.index`). A new one
    is built beside those that answer.
    """

    class State(models.TextChoices):
        BUILDING = "building", _("building")
        READY = "ready", _("ready")  # complete: to be named, or kept for going back
        ACTIVE = "active", _("answering")
        FAILED = "failed", _("failed")

    embedder = models.CharField(_("embedder"), max_length=100)  # name in the settings
    model = models.CharField(_("model"), max_length=300)
    dimensions = models.PositiveIntegerField(_("dimensions"))
    sparse = models.BooleanField(_("learned weights of words"), default=False)
    knowledge_base = models.ForeignKey(
        KnowledgeBase,
        models.CASCADE,
        null=True,
        related_name="own_indexes",
        verbose_name=_("only of this knowledge base"),
    )
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
            models.CheckConstraint(
                condition=Q(knowledge_base=None) | ~Q(state="active"),
                name="embedding_index_active_of_all",
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
    # What a model learned each token of the chunk is worth, by the token's number; null where
    # the index has none.
    weights = SparseVectorField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["index", "chunk"], name="embedding_once"),
        ]

    def __str__(self) -> str:
        return f"chunk {self.chunk_id} in {self.index_id}"


class StoreChange(models.Model):
    """The outbox of another store: a chunk whose rows came, went or are others."""

    knowledge_base = models.ForeignKey(KnowledgeBase, models.CASCADE, related_name="+")
    chunk_id = models.BigIntegerField()  # may be gone

    def __str__(self) -> str:
        return f"chunk {self.chunk_id}"


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
    term = models.IntegerField()  # weighing.key
    chunks = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.term}: {self.chunks}"


class ChunkTerms(models.Model):
    """The terms of a chunk, weighed: score of a question = inner product with its terms' idf."""

    chunk = models.OneToOneField(Chunk, models.CASCADE, primary_key=True, related_name="terms")
    knowledge_base = models.ForeignKey(KnowledgeBase, models.CASCADE, related_name="+")
    weights = SparseVectorField(dimensions=1_000_000_000)
    lengths = ArrayField(models.IntegerField(), size=3)  # terms by view

    def __str__(self) -> str:
        return f"terms of chunk {self.chunk_id}"


class PendingTerms(models.Model):
    """A chunk whose terms came after the last segment was made; it may be gone."""

    knowledge_base = models.ForeignKey(KnowledgeBase, models.CASCADE, related_name="+")
    chunk_id = models.BigIntegerField()

    def __str__(self) -> str:
        return f"terms of chunk {self.chunk_id}"


class PostingSegment(models.Model):
    """Chunks whose terms stand in posting lists; written by `postings` only, never changed."""

    knowledge_base = models.ForeignKey(KnowledgeBase, models.CASCADE, related_name="+")
    chunks = models.BinaryField()  # their ids by place, 8 bytes each; some may be gone
    size = models.PositiveIntegerField()  # how many that is

    def __str__(self) -> str:
        return f"{self.size} chunks of {self.knowledge_base_id}"


class Posting(models.Model):
    """In which chunks of a segment a term stands, and what it weighs there."""

    pk = models.CompositePrimaryKey("segment_id", "term")
    segment = models.ForeignKey(PostingSegment, models.CASCADE, related_name="+", db_index=False)
    term = models.IntegerField()  # weighing.key
    packed = models.BinaryField()  # places, 2 bytes each, then weights, 1 byte each

    def __str__(self) -> str:
        return f"{self.term} in {self.segment_id}"


class Vocabulary(models.Model):
    """The words that stand in the passages of a knowledge base; written by `vocabulary` only.

    It may lag behind the passages for a while. How often a word stands there `TermCount` knows.
    """

    knowledge_base = models.OneToOneField(
        KnowledgeBase, models.CASCADE, primary_key=True, related_name="vocabulary"
    )
    words = models.TextField(blank=True)  # one a line, a Chinese one with a tab and its sound
    upto = models.DateTimeField(null=True)  # documents that changed until then are read
    version = models.PositiveBigIntegerField(default=0)  # of the base that is read wholly
    renewed_at = models.DateTimeField(null=True)  # `words`, for who keeps them in memory

    def __str__(self) -> str:
        return f"words of {self.knowledge_base_id}"
