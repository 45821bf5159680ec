"""The curators' pages, a module a subject."""

from knowledge.admin import (
    bases,
    chunks,
    documents,
    duplicates,
    embeddings,
    entries,
    imports,
    learning,
    sources,
    terms,
)

__all__ = [
    "bases",
    "chunks",
    "documents",
    "duplicates",
    "embeddings",
    "entries",
    "imports",
    "learning",
    "sources",
    "terms",
]
