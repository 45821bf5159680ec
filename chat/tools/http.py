"""A tool that asks a service over HTTP, as staff set it up.

What a customer says fills places that staff left for it, and never changes the shape of a
request: a value is quoted where it stands in the address, is a text (or a number) of its own in
a JSON body, and is in no header. Of the result only what the answer's template names is said.
"""

import json
import math
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from django.conf import settings
from django.utils.translation import gettext as _

from chat.models import HttpTool
from chat.tools.base import Context, Result, Tool, ToolError
from knowledge.sources.fetching import TEMPORARY, Fetcher
from opsdesk.errors import FetchError
from opsdesk.sealing import unseal

PLACE = re.compile(r"\{([A-Za-z_*][\w.*-]*)\}")
USER = "user"  # the place for who asks, as it is known; no argument is called so
BYTES = 1024 * 1024  # of an answer
VALUE = 300  # characters of a value in an answer
VALUES = 20  # of a list
PATHS = 60  # of a result, on the trial page
PORTS = {80, 443}  # of a host that is allowed without naming one
_UNFIT_IN_PATH = re.compile(r"[/\\%\x00-\x1f\x7f]")
_MARKUP = re.compile(r"([\\`*\[\]<>|~&!]|(?<![^\W_])_|_(?![^\W_]))")
_LINE_MARKUP = re.compile(r"^(\d{0,9})(#{1,6}(?=\s)|[+\-=](?=\s|$)|-{3}|={3}|[.)])")


class HttpBackend(Tool):
    """The tool that a row describes."""

    def __init__(self, row: HttpTool) -> None:
        self.row = row
        self.name, self.title, self.description = row.name, row.title, row.description
        self.schema, self.timeout, self.sensitive = row.schema, float(row.timeout), row.sensitive
        self.repeatable = row.repeatable or row.method == HttpTool.Method.GET
        self.version = row.updated_at.isoformat()
        self.identified = USER in places(row)

    def allows(self, context: Context) -> bool:
        groups = {group.pk for group in self.row.groups.all()}
        bases = {base.pk for base in self.row.bases.all()}
        if groups and not (context.user and context.user.groups.filter(pk__in=groups).exists()):
            return False
        return not bases or any(base.pk in bases for base in context.bases)

    def knows(self, context: Context) -> bool:
        if context.user:
            return self.row.users
        sites = {site.pk for site in self.row.sites.all()}
        return bool(context.identity) and context.site in sites

    def bound(self, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        return {**arguments, USER: context.identity} if self.identified else arguments

    def run(self, arguments: dict[str, Any], context: Context) -> Result:
        values = self.bound(arguments, context)
        status, found = self._ask(values, context.deadline)
        nothing = fill(self.row.nothing, arguments, None)[0] or _("Nothing was found for this.")
        if status == 404:
            return Result(nothing, data=found)
        text, count = fill(self.row.answer, arguments, found)
        return Result(text if count or not _of_result(self.row) else nothing, data=found)

    def _ask(self, values: dict[str, Any], deadline: float) -> tuple[int, Any]:
        """Status, and the JSON that came."""
        url = address(self.row.url, values)
        host = urlsplit(url).hostname or ""
        if not reachable(url):
            raise ToolError(
                _("%(host)s is not among the hosts that OPSDESK_TOOL_HOSTS names.")
                % {"host": urlsplit(url).netloc},
                permanent=True,
            )
        headers = {"Accept": "application/json", **self._headers()}
        content = b""
        if self.row.body and self.row.method != HttpTool.Method.GET:
            content = json.dumps(filled(json.loads(self.row.body), values)).encode()
            headers = {"Content-Type": "application/json", **headers}
        left = min(deadline - time.monotonic(), self.timeout)
        if left <= 0:
            raise ToolError(_("There was no time left for it."), permanent=False)
        try:
            with Fetcher(tries=1, seconds=left, private=[host]) as fetcher:
                answer = fetcher.call(
                    self.row.method, url, limit=BYTES, headers=headers, content=content
                )
        except FetchError as error:
            raise ToolError(str(error), permanent=error.permanent) from error
        return answer.status_code, _read(answer.status_code, answer.content)

    def _headers(self) -> dict[str, str]:
        secret = unseal(self.row.secret) if self.row.secret else ""
        if secret is None:
            raise ToolError(
                _("Its secret headers were sealed with another key. Please enter them again."),
                permanent=True,
            )
        return headers_of(self.row.headers) | headers_of(secret)


def _read(status: int, content: bytes) -> Any:
    """The JSON of an answer; None of what is not there. Raises ToolError."""
    if 300 <= status < 400:
        raise ToolError(
            _("It answered with a redirect (%(status)d), which is not followed.")
            % {"status": status},
            permanent=True,
        )
    if status == 404:
        return None
    if not 200 <= status < 300:
        raise ToolError(
            _("It answered with status %(status)d.") % {"status": status},
            permanent=status < 500 and status not in TEMPORARY,
        )
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ToolError(_("Its answer is not JSON."), permanent=False) from error


def reachable(url: str) -> bool:
    """Whether `url` is of a host (and port) that OPSDESK_TOOL_HOSTS names."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for entry in settings.TOOL_HOSTS:
        named = urlsplit(f"//{entry.lower()}")
        name = named.hostname or ""
        fits = host == name or (name.startswith(".") and host.endswith(name))
        if fits and (port == named.port if named.port else port in PORTS):
            return True
    return False


# --- templates ----------------------------------------------------------------------------


def places(row: HttpTool) -> set[str]:
    """What the request's templates leave a place for."""
    return {name for text in (row.url, row.body) for name in PLACE.findall(text)}


def address(template: str, values: dict[str, Any]) -> str:
    """The URL with its places filled, of the same host and the same segments."""
    parts = urlsplit(template)
    if PLACE.search(parts.scheme + parts.netloc):
        raise ToolError(_("The host of an address is not filled in."), permanent=True)
    path = PLACE.sub(lambda place: _in_path(_value(values, place[1])), parts.path)
    if {".", ".."} & set(path.split("/")):
        raise ToolError(_("A value would lead to another address."), permanent=True)
    query = PLACE.sub(lambda place: quote(_value(values, place[1]), safe=""), parts.query)
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _in_path(value: str) -> str:
    # Some servers read what is quoted as if it stood there plainly.
    if not value or _UNFIT_IN_PATH.search(value):
        raise ToolError(_("A value does not fit into an address."), permanent=True)
    return quote(value, safe="")


def _value(values: dict[str, Any], name: str) -> str:
    return str(values.get(name, ""))


def filled(template: Any, values: dict[str, Any]) -> Any:
    """A JSON template with the places in its texts filled; one that is all of a text keeps its
    type, so that "{count}" becomes a number."""
    if isinstance(template, dict):
        return {key: filled(one, values) for key, one in template.items()}
    if isinstance(template, list):
        return [filled(one, values) for one in template]
    if not isinstance(template, str):
        return template
    if whole := PLACE.fullmatch(template):
        return values.get(whole[1], "")
    return PLACE.sub(lambda place: _value(values, place[1]), template)


def fill(template: str, arguments: dict[str, Any], result: Any) -> tuple[str, int]:
    """What is said, and how many of the result's values stand in it. Values are data: nothing
    in them is Markdown."""
    count = 0

    def put(place: re.Match[str]) -> str:
        nonlocal count
        if place[1] in arguments:
            return shown(arguments[place[1]])
        values = list(found(result, place[1].split(".")))
        count += bool(values)
        text = "、".join(filter(None, map(shown, values[:VALUES])))
        return text or "—"

    lines = [_plain_start(line, PLACE.sub(put, line)) for line in template.strip().splitlines()]
    return "\n".join(lines), count


def _plain_start(template: str, line: str) -> str:
    """`line`, which begins no heading or list unless its template does."""
    return _LINE_MARKUP.sub(r"\1\\\2", line) if PLACE.match(template) else line


def _of_result(row: HttpTool) -> bool:
    """Whether what is said names anything of the result."""
    told = set(row.schema.get("properties", {}))
    return any(name not in told for name in PLACE.findall(row.answer))


def found(result: Any, path: list[str]) -> Iterator[Any]:
    """The scalars at `path` ("data", "items", "0" or "*", "name"): "*" stands for all."""
    if not path:
        if isinstance(result, str | int | float | bool):
            yield result
        elif isinstance(result, list):
            yield from (one for one in result if isinstance(one, str | int | float | bool))
        return
    step, *rest = path
    if isinstance(result, dict):
        nexts = list(result.values()) if step == "*" else [result[step]] if step in result else []
    elif isinstance(result, list):
        at = [int(step)] if step.isdecimal() and len(step) < 5 else []
        nexts = result if step == "*" else [result[i] for i in at if i < len(result)]
    else:
        nexts = []
    for one in nexts:
        yield from found(one, rest)


def shown(value: Any) -> str:
    """One line of plain text, as Markdown."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, float) and (not math.isfinite(value) or value.is_integer()):
        value = int(value) if math.isfinite(value) else "—"
    line = " ".join(str(value).replace("\0", "").split())
    line = line.encode("utf-8", "ignore").decode()
    return _MARKUP.sub(r"\\\1", line if len(line) <= VALUE else line[: VALUE - 1] + "…")


def unescaped(text: str) -> str:
    """Markdown as its reader sees it, as far as `shown` hid what is none."""
    return re.sub(r"\\([^\w\s])", r"\1", text)


def paths(result: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The paths to what a template may name, with what stands there."""
    if isinstance(result, dict):
        for key, one in result.items():
            if re.fullmatch(r"[A-Za-z_][\w-]*", key):
                yield from paths(one, (*above, key))
    elif isinstance(result, list):
        for place, one in enumerate(result[:3]):
            yield from paths(one, (*above, str(place)))
    elif result is not None and above:
        yield ".".join(above), str(result)[:VALUE]


def headers_of(text: str) -> dict[str, str]:
    """Headers of lines "Name: value"."""
    pairs = (line.partition(":") for line in text.splitlines() if line.strip())
    return {name.strip(): value.strip() for name, _colon, value in pairs}
