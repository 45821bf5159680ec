"""Telling who asked what was taken for a slip: they see it when it was none."""

from collections.abc import Sequence

from django.utils.translation import gettext as _


def noted(mended: Sequence[tuple[str, str]], text: str) -> str:
    """An answer, Markdown, under a quiet line about the words that were read otherwise."""
    if not mended:
        return text
    said = (_("Read “%(written)s” as “%(read)s”.") % {"written": a, "read": b} for a, b in mended)
    return f"> {' '.join(said)}\n\n{text}"
