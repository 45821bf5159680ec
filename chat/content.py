"""Words and patterns that are content, not code: `prompts/*.toml`.

Messages are anybody's, patterns try many ways: what takes too long to tell fits nothing.
"""

import logging
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import regex

logger = logging.getLogger(__name__)

SECONDS = 0.05  # for one pattern; they take well below a millisecond


@cache
def words(name: str) -> dict[str, Any]:
    """`prompts/<name>.toml`."""
    return tomllib.loads((Path(__file__).parent / "prompts" / f"{name}.toml").read_text("utf-8"))


class Pattern:
    """Any of some regular expressions, case ignored, matched within SECONDS or not at all."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._any = regex.compile("|".join(f"(?:{one})" for one in patterns), regex.IGNORECASE)

    def match(self, text: str) -> "regex.Match[str] | None":
        return self._try("match", text)

    def fullmatch(self, text: str) -> "regex.Match[str] | None":
        return self._try("fullmatch", text)

    def search(self, text: str) -> "regex.Match[str] | None":
        return self._try("search", text)

    def _try(self, way: Literal["match", "fullmatch", "search"], text: str) -> Any:
        try:
            return getattr(self._any, way)(text, timeout=SECONDS)
        except TimeoutError:
            logger.warning("Gave up a pattern: %.60s…", self._any.pattern)
            return None
