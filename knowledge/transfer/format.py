"""What an export holds of each row, and what both ways share."""

from collections.abc import Callable

from opsdesk.errors import BoundaryError

FORMAT = 1
BATCH = 200
PIECE = 1024 * 1024  # bytes
MANIFEST = "manifest.json"
ROWS = ("documents", "chunks", "entries", "terms", "sources")
LATER = ("pairs",)  # rows that earlier exports have not

ADDED = ("originals",)  # fields that earlier exports have not
BASE = ("slug", "name", "description", "audience", "tier", "originals")
SCOPE = ("product", "version", "environment", "tags")
DOCUMENT = ("title", "external_id", "origin", "url", "tier", "originals", *SCOPE, "retired_reason")
REVISION = ("name", "media_type", "size", "sha256", "locked", "parser", "pages", "parsed")
ATTACHMENT = (
    "kind", "position", "number", "caption", "page", "box", "media_type", "width", "height",
    "html", "text", "description", "described_by", "description_state", "description_attempts",
    "description_error",
)  # fmt: skip
CHUNK = (
    "position", "kind", "heading_path", "question", "text", "questions", "digest", "edited",
    "page", "page_end", "locator", "regions", "enabled",
)  # fmt: skip
ENTRY = (
    "key", "question", "variants", "answer", "category", *SCOPE, "state", "origin", "reference",
    "context",
)  # fmt: skip
TERM = ("canonical", "variants", "note", "enabled")
PAIR = ("question", "key", "digest", "origin", "dropped")
SOURCE = ("kind", "name", "options", "every", "approve")

Report = Callable[[int, int], None]  # done, total


class TransferError(BoundaryError):
    """A sentence for the person who exports or imports."""


def silent(done: int, total: int) -> None:
    """Nobody watches."""
