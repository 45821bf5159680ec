"""Prompts: content files of `chat/prompts`, known in a turn's trace by name and hash.

A configuration may have other texts in their place (`chat.configurations`).
"""

import hashlib
from functools import cache
from pathlib import Path
from string import Template

from opsdesk import tuning

PREFIX = "prompt:"  # of their names among what `opsdesk.tuning` gives
_FOLDER = Path(__file__).parent / "prompts"


@cache
def shipped(name: str) -> Template:
    """As the file says."""
    return Template((_FOLDER / f"{name}.md").read_text("utf-8"))


def prompt(name: str) -> Template:
    """As it holds here."""
    text = tuning.given().get(f"{PREFIX}{name}")
    return shipped(name) if text is None else Template(text)


def digest(*names: str) -> str:
    """SHA-256, in hex, of what the prompts `names` hold."""
    held = "\0".join(prompt(name).template for name in names)
    return hashlib.sha256(held.encode()).hexdigest()
