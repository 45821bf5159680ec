"""The curators' pages, a module a subject."""

from knowledge.admin import bases, chunks, documents, embeddings, terms

__all__ = ["bases", "chunks", "documents", "embeddings", "terms"]
