"""Any file → the same `ParsedDocument`.

`parse` and `media_type` are the only doors. The parsing subprocess imports this package as
well, and must not load Django: so the doors open the rooms behind them only when called.
"""

from pathlib import Path

from knowledge.parsing.document import ParsedDocument


def parse(path: Path, name: str, password: str | None = None) -> ParsedDocument:
    """What is in the file at `path`, which its owner calls `name`.

    Raises opsdesk.errors.ParseError with a sentence for the person who uploaded it.
    """
    from knowledge.parsing import reading

    return reading.parse(path, name, password)


def media_type(path: Path, name: str) -> str:
    """The media type by content; the name only decides among kinds of text.

    Raises opsdesk.errors.ParseError when no parser reads such a file.
    """
    from knowledge.parsing import reading

    return reading.media_type(path, name)


__all__ = ["ParsedDocument", "media_type", "parse"]
