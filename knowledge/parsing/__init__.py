"""Any file → the same `ParsedDocument`.

The only doors are `parse`, `media_type`, of long tables `portions`, of sheets of records `rows`
and of a single picture `recognise`. The parsing subprocess imports this package as well, and must
not load Django: so the doors open the rooms behind them only when called.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.unreadable import Unfinished

if TYPE_CHECKING:
    from knowledge.parsing.job import Store


def parse(
    path: Path,
    name: str,
    password: str | None = None,
    *,
    tier: str = "native",
    insist: bool = True,
    report: Callable[[int, int], None] | None = None,
    store: "Store | None" = None,
    seconds: float | None = None,
) -> ParsedDocument:
    """What is in the file at `path`, which its owner calls `name`.

    A long file is read in parts: `report(done, total)` is told of pages and pictures, `store`
    keeps what is finished. When `seconds` are over before the end, Unfinished is raised; the
    next call with that store goes on from there. Without `seconds` all is read.

    When a `tier` of MinerU cannot be had for now, a ParseError that is not permanent says so;
    unless you `insist`, the file is then read natively, with a warning.

    Raises opsdesk.errors.ParseError with a sentence for the person who uploaded it.
    """
    from knowledge.parsing import job, reading

    work = job.Job(store, report, seconds)
    return reading.parse(path, name, password, tier=tier, insist=insist, job=work)


def media_type(path: Path, name: str) -> str:
    """The media type by content; the name only decides among kinds of text.

    Raises opsdesk.errors.ParseError when no parser reads such a file.
    """
    from knowledge.parsing import reading

    return reading.media_type(path, name)


def is_long(path: Path, media_type: str) -> bool:
    """Whether a file is read by `portions`, because it may be too long to be held as a whole."""
    from knowledge.parsing import longtable

    return longtable.long(path, media_type)


def portions(path: Path) -> Iterator[ParsedDocument]:
    """A long table, some of its rows at a time, see `knowledge.parsing.longtable`.

    Raises opsdesk.errors.ParseError.
    """
    from knowledge.parsing import reading

    return reading.parts(path)


def rows(path: Path) -> ParsedDocument:
    """The cells of a workbook as they are: a table a sheet, see `knowledge.parsing.records`.

    Raises opsdesk.errors.ParseError.
    """
    from knowledge.parsing import reading

    return reading.rows(path)


def recognise(picture: bytes, seconds: float) -> list[Block]:
    """Paragraphs and tables that stand in a picture, with their boxes as shares of it; behind
    them, hidden, what may be letters that nobody could recognise.

    Raises opsdesk.errors.ParseError, also when `seconds` are over.
    """
    from knowledge.parsing import reading

    return reading.recognise(picture, seconds)


__all__ = [
    "ParsedDocument",
    "Unfinished",
    "is_long",
    "media_type",
    "parse",
    "portions",
    "recognise",
    "rows",
]
