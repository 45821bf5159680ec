"""What the team knows: bases, documents and their revisions, chunks, and the indexes over them."""

from knowledge.models.bases import (
    Calibration,
    KnowledgeBase,
    KnowledgeBaseQuerySet,
    Originals,
    Role,
    Term,
    Tier,
)
from knowledge.models.chunks import Attachment, Chunk, ChunkEdit, attachment_path
from knowledge.models.documents import (
    Document,
    Revision,
    RevisionPart,
    RevisionQuerySet,
    Similarity,
    Status,
    revision_path,
)
from knowledge.models.entries import Entry, Import, import_path
from knowledge.models.indexes import (
    ChunkTerms,
    Embedding,
    EmbeddingIndex,
    Lexicon,
    PendingTerms,
    Posting,
    PostingSegment,
    StoreChange,
    TermCount,
    Vocabulary,
)
from knowledge.models.learning import (
    Adapter,
    AdapterVectors,
    ConfirmedPair,
    TermSuggestion,
)
from knowledge.models.sources import Source, SourceItem, SourceRun

__all__ = [
    "Adapter",
    "AdapterVectors",
    "Attachment",
    "Calibration",
    "Chunk",
    "ChunkEdit",
    "ChunkTerms",
    "ConfirmedPair",
    "Document",
    "Embedding",
    "EmbeddingIndex",
    "Entry",
    "Import",
    "KnowledgeBase",
    "KnowledgeBaseQuerySet",
    "Lexicon",
    "Originals",
    "PendingTerms",
    "Posting",
    "PostingSegment",
    "Revision",
    "RevisionPart",
    "RevisionQuerySet",
    "Role",
    "Similarity",
    "Source",
    "SourceItem",
    "SourceRun",
    "Status",
    "StoreChange",
    "Term",
    "TermCount",
    "TermSuggestion",
    "Tier",
    "Vocabulary",
    "attachment_path",
    "import_path",
    "revision_path",
]
