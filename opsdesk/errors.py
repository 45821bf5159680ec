"""Errors at the boundaries of OpsDesk. Each tells the caller whether trying again can help."""


class BoundaryError(Exception):
    """Something outside failed. `str(error)` is a sentence for the person who waits."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class ParseError(BoundaryError):
    """A file could not be read."""


class ModelError(BoundaryError):
    """A language model, embedder or reranker did not give what was asked."""


class Conflict(Exception):
    """The row changed under the caller's feet: someone else was first."""
