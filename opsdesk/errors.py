"""Errors at the boundaries of OpsDesk. Each tells the caller whether trying again can help."""


class BoundaryError(Exception):
    """Something outside failed. `str(error)` is a sentence for the person who waits."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class ParseError(BoundaryError):
    """A file could not be read."""


class Locked(ParseError):
    """A file wants a password, or another one than was given."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


class ModelError(BoundaryError):
    """A language model, embedder or reranker did not give what was asked."""


class StoreError(BoundaryError):
    """A store beside PostgreSQL did not do what was asked."""


class FetchError(BoundaryError):
    """A page, a file or a document service did not give what was asked."""


class Conflict(Exception):
    """The row changed under the caller's feet: someone else was first."""
