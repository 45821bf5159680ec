"""Where chunks are searched by words and by vectors: `settings.BACKENDS["store"]`.

PostgreSQL is the truth, and searches itself unless another store is named: then that one
proposes chunks, and PostgreSQL says which of them may answer, and how well they do.
"""

from typing import TYPE_CHECKING

from opsdesk.backends import backend

if TYPE_CHECKING:
    from knowledge.stores.base import Store


def store() -> "Store":
    """The one that is named, else PostgreSQL itself."""
    from knowledge.stores.base import Store  # which knows those who tell it of changes

    chosen: Store | None = backend("store")
    return chosen or Store()
