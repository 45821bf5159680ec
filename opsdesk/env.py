"""Settings from environment variables, strictly parsed.

A value that does not parse never stops the import of the settings: the default
is used and the problem is kept in `problems`, which `opsdesk.checks` turns into
system checks with a hint, so that `manage.py check` can say all of them at once.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

T = TypeVar("T")

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}
PREFIX = "OPSDESK_"
DATABASE_HINT = "Use postgresql://user:password@host:5432/name."
# Read by the tests alone.
FOR_TESTS = {"OPSDESK_DATA", "OPSDESK_REQUIRE_BROWSER", "OPSDESK_REQUIRE_BGE"}


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
    known: set[str] = field(default_factory=lambda: set(FOR_TESTS))

    def unknown(self) -> list[str]:
        """Variables with our prefix that nothing reads: slips of the pen."""
        return sorted(
            name for name in self.values if name.startswith(PREFIX) and name not in self.known
        )

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
            if re.fullmatch("-?[0-9]+", raw) and low <= int(raw) <= high:
                return int(raw)
            raise ValueError(raw)

        return self._read(name, default, parse, f"Use a whole number from {low} to {high}.")

    def number(self, name: str, default: float, low: float, high: float) -> float:
        def parse(raw: str) -> float:
            if re.fullmatch(r"-?[0-9]*\.?[0-9]+", raw) and low <= float(raw) <= high:
                return float(raw)
            raise ValueError(raw)

        return self._read(name, default, parse, f"Use a number from {low} to {high}.")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        def parse(raw: str) -> str:
            if raw in choices:
                return raw
            raise ValueError(raw)

        return self._read(name, default, parse, f"Use one of: {', '.join(filter(None, choices))}.")

    def words(self, name: str, default: str = "") -> list[str]:
        """A comma-separated list."""
        return [word.strip() for word in self.text(name, default).split(",") if word.strip()]

    def time_zone(self, name: str, default: str) -> str:
        def parse(raw: str) -> str:
            try:
                return ZoneInfo(raw).key
            except (ZoneInfoNotFoundError, OSError) as error:  # "Asia" is a folder
                raise ValueError(raw) from error

        return self._read(name, default, parse, "Use a name like Asia/Shanghai or UTC.")

    def url(self, name: str, default: str = "") -> str:
        """An address of an HTTP service, without a slash at its end."""

        def parse(raw: str) -> str:
            url = urlsplit(raw)
            if url.scheme in {"http", "https"} and url.hostname and url.port != 0:
                return raw.rstrip("/")
            raise ValueError(raw)

        return self._read(name, default, parse, "Use an address like https://host:8000/v1.")

    def database(self, name: str) -> dict[str, Any]:
        """A PostgreSQL URL as Django's connection settings; {} when it is not set."""
        return self._read(name, {}, _database, DATABASE_HINT)

    def databases(self, name: str) -> list[dict[str, Any]]:
        """Several of them, with spaces or commas between."""

        def parse(raw: str) -> list[dict[str, Any]]:
            return [_database(url) for url in re.split(r"[\s,]+", raw) if url]

        return self._read(name, [], parse, DATABASE_HINT)

    def mail(self, name: str) -> dict[str, Any]:
        """smtp://user:password@host:587 (STARTTLS with a user), or smtps:// for TLS at once."""
        here = {"HOST": "localhost", "PORT": 25, "USER": "", "PASSWORD": ""}
        plain = {**here, "TLS": False, "SSL": False}
        return self._read(name, plain, _mail, "Use smtp://user:password@host:587.")

    def _read(self, name: str, default: T, parse: Callable[[str], T], hint: str) -> T:
        self.known.add(name)
        raw = self.values.get(name, "").strip()
        if not raw:
            return default
        try:
            return parse(raw)
        except ValueError:
            # A URL may hold a password, and checks end up in logs.
            shown = "not a usable address" if "://" in raw else repr(raw)
            self.problems.append(Problem(name, f"{name} is {shown}.", hint))
            return default


def _database(raw: str) -> dict[str, Any]:
    """What follows the question mark (sslmode=require, connect_timeout=5 …) goes to OPTIONS."""
    url = urlsplit(raw)
    if url.scheme not in {"postgres", "postgresql"} or not url.path.strip("/"):
        raise ValueError(raw)
    options = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
    return {
        "NAME": unquote(url.path[1:]),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": unquote(url.hostname or options.pop("host", "")),
        "PORT": str(url.port or options.pop("port", "")),
        "OPTIONS": options,
    }


def _mail(raw: str) -> dict[str, Any]:
    url = urlsplit(raw)
    if url.scheme not in {"smtp", "smtps"} or not url.hostname:
        raise ValueError(raw)
    return {
        "HOST": url.hostname,
        "PORT": url.port or (465 if url.scheme == "smtps" else 25),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "TLS": url.scheme == "smtp" and bool(url.username),
        "SSL": url.scheme == "smtps",
    }
