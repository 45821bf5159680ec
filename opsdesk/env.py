"""Settings from environment variables, strictly parsed.

A value that does not parse never stops the import of the settings: the default
is used and the problem is kept in `problems`, which `opsdesk.checks` turns into
system checks with a hint, so that `manage.py check` can say all of them at once.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

T = TypeVar("T")

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}


@dataclass(frozen=True)
class Problem:
    name: str
    message: str
    hint: str


@dataclass
class Environment:
    """Reads variables and remembers those that are wrong or unknown."""

    values: Mapping[str, str] = field(default_factory=lambda: os.environ)
    problems: list[Problem] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def _read(self, name: str, default: T, parse: Callable[[str], T], hint: str) -> T:
        self.known.add(name)
        raw = self.values.get(name, "").strip()
        if not raw:
            return default
        try:
            return parse(raw)
        except ValueError:
            self.problems.append(Problem(name, f"{name} is {raw!r}.", hint))
            return default

    def text(self, name: str, default: str = "") -> str:
        return self._read(name, default, str, "")

    def flag(self, name: str, default: bool) -> bool:
        def parse(raw: str) -> bool:
            if raw.lower() in TRUE | FALSE:
                return raw.lower() in TRUE
            raise ValueError(raw)

        return self._read(name, default, parse, "Use true or false.")

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        def parse(raw: str) -> int:
            if low <= int(raw) <= high:
                return int(raw)
            raise ValueError(raw)

        return self._read(name, default, parse, f"Use a whole number from {low} to {high}.")

    def number(self, name: str, default: float, low: float, high: float) -> float:
        def parse(raw: str) -> float:
            if low <= float(raw) <= high:
                return float(raw)
            raise ValueError(raw)

        return self._read(name, default, parse, f"Use a number from {low} to {high}.")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        def parse(raw: str) -> str:
            if raw in choices:
                return raw
            raise ValueError(raw)

        return self._read(name, default, parse, f"Use one of: {', '.join(choices)}.")

    def words(self, name: str, default: str = "") -> list[str]:
        """A comma-separated list."""
        return [word.strip() for word in self.text(name, default).split(",") if word.strip()]

    def database(self, name: str) -> dict[str, object]:
        """A PostgreSQL URL as Django's connection settings; {} when it is not set."""

        def parse(raw: str) -> dict[str, object]:
            url = urlsplit(raw)
            if url.scheme not in {"postgres", "postgresql"} or not url.path.strip("/"):
                raise ValueError(raw)
            query = dict(parse_qsl(url.query))
            return {
                "NAME": unquote(url.path[1:]),
                "USER": unquote(url.username or ""),
                "PASSWORD": unquote(url.password or ""),
                "HOST": unquote(url.hostname or query.pop("host", "")),
                "PORT": str(url.port or ""),
            }

        return self._read(name, {}, parse, "Use postgresql://user:password@host:5432/name.")
