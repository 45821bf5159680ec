"""Prompts: content files of `chat/prompts`, known in a turn's trace by name and hash."""

import hashlib
from functools import cache
from pathlib import Path
from string import Template

_FOLDER = Path(__file__).parent / "prompts"


@cache
def prompt(name: str) -> Template:
    return Template((_FOLDER / f"{name}.md").read_text("utf-8"))


@cache
def digest(*names: str) -> str:
    """SHA-256, in hex, of what the prompts `names` hold."""
    held = "\0".join(prompt(name).template for name in names)
    return hashlib.sha256(held.encode()).hexdigest()
