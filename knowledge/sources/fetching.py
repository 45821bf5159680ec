"""Fetching over HTTP: politely towards the server, safely for this network."""

import random
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import unquote, urljoin, urlsplit

import httpx
from django.conf import settings
from django.core.cache import cache
from django.utils import timezone
from django.utils.translation import gettext as _
from protego import Protego

from knowledge import uploading
from knowledge.sources.addresses import Transport
from opsdesk.errors import FetchError

AGENT = "OpsDeskBot"  # what robots.txt calls us
SECONDS = 60  # for one answer, all its redirects and bytes
STEP_SECONDS = 15  # for the next byte
REDIRECTS = 5
TRIES = 3
PAUSES = 1, 30  # seconds before the next try: first; longest we wait for a server that asks us to
CRAWL_DELAY = 30  # longest that a robots.txt may ask for
ROBOTS_BYTES = 512 * 1024
CALL_BYTES = 10 * 1024**2  # of an API's answer
ROBOTS_SECONDS = 3600
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


class Gone(FetchError):
    """The server says that there is nothing at this address (any more)."""


@dataclass
class Fetched:
    """What came of an address; `file` is None when it is as it was."""

    url: str  # where it was in the end
    file: IO[bytes] | None
    headers: httpx.Headers

    def content(self) -> IO[bytes]:
        """The file, where nothing was asked about an earlier one."""
        if self.file is None:
            raise FetchError(_("The server says that nothing changed."), permanent=False)
        return self.file

    @property
    def etag(self) -> str:
        return _sent_back(self.headers.get("etag", ""))[:500]

    @property
    def modified(self) -> str:
        return _sent_back(self.headers.get("last-modified", ""))[:200]

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def name(self) -> str:
        """The file's name: as the server says it, or the last part of the address."""
        said = Message()
        said["content-disposition"] = self.headers.get("content-disposition", "")
        try:
            name = said.get_filename() or ""
        except (LookupError, UnicodeError):
            name = ""
        return name or PurePosixPath(unquote(urlsplit(self.url).path)).name


@dataclass
class Fetcher:
    """Fetches, one address after the other. `sleep` and `tries` are for tests and trials.

    `private`: hosts and networks of the intranet that it may connect to, OPSDESK_FETCH_PRIVATE
    when None.
    """

    tries: int = TRIES
    seconds: float = SECONDS
    sleep: Callable[[float], None] = time.sleep
    private: list[str] | None = None
    _next: dict[str, float] = field(default_factory=dict)  # when a host may be asked again
    _robots: dict[str, Protego | None] = field(default_factory=dict)

    def __enter__(self) -> "Fetcher":
        self._transport = Transport(self.private)
        self._client = httpx.Client(
            transport=self._transport,
            trust_env=False,
            timeout=STEP_SECONDS,
            headers={"User-Agent": f"{AGENT}/1.0", "Accept-Encoding": "gzip"},
        )
        return self

    def __exit__(self, *failure: object) -> None:
        self._client.close()

    def get(
        self,
        url: str,
        *,
        etag: str = "",
        modified: str = "",
        robots: bool = True,
        limit: int = 0,
        headers: dict[str, str] | None = None,
    ) -> Fetched:
        """What is at `url`, unless it is as `etag` and `modified` say it was.

        Asks robots.txt first, when `robots`. Raises FetchError; Gone when the server knows
        that nothing is there. `limit` is in bytes, unpacked; an upload's when it is 0.
        """
        asked = dict(headers or {})
        if etag:
            asked["If-None-Match"] = etag
        if modified:
            asked["If-Modified-Since"] = modified
        limit = limit or settings.UPLOAD_MAX_BYTES
        return self._retried(lambda: self._follow(url, asked, robots, limit))

    def call(
        self, method: str, url: str, *, limit: int = CALL_BYTES, **options: Any
    ) -> httpx.Response:
        """A call of an API, which may fail: the caller looks at its status. Redirects are not
        followed; of more than `limit` bytes comes a FetchError."""
        self._check(url)
        self._transport.guard.deadline = time.monotonic() + self.seconds
        with self._exchange(method, url, **options) as response:
            content = b"".join(_unpacked(response, limit))
            headers = {k: v for k, v in response.headers.items() if k != "content-encoding"}
            return httpx.Response(response.status_code, headers=headers, content=content)

    def _retried(self, attempt: Callable[[], Fetched]) -> Fetched:
        for left in reversed(range(self.tries)):
            try:
                return attempt()
            except _Later as later:
                if not left or later.pause > PAUSES[1]:
                    raise
                doubled = PAUSES[0] * 2 ** (self.tries - 1 - left)
                self.sleep(max(later.pause, doubled * random.uniform(0.5, 1)))  # noqa: S311
        raise AssertionError("at least one try")

    def _follow(self, url: str, asked: dict[str, str], robots: bool, limit: int) -> Fetched:
        self._transport.guard.deadline = time.monotonic() + self.seconds
        for _hop in range(REDIRECTS + 1):
            self._check(url)
            if robots and not self.may(url):
                raise FetchError(
                    _("The robots.txt of %(host)s asks not to fetch this page.")
                    % {"host": urlsplit(url).hostname},
                    permanent=True,
                )
            self._pace(url)
            with self._exchange("GET", url, headers=asked) as response:
                if not response.has_redirect_location:
                    return _taken(url, response, limit)
                here, url = url, _led(url, response.headers["location"])
                if urlsplit(here)[:2] != urlsplit(url)[:2]:  # another server, or in the clear
                    asked = {k: v for k, v in asked.items() if k != "Authorization"}
        raise FetchError(_("The address is redirected again and again."), permanent=True)

    @contextmanager
    def _exchange(self, method: str, url: str, **options: Any) -> Iterator[httpx.Response]:
        host = urlsplit(url).hostname
        try:
            request = self._client.build_request(method, url, **options)
            response = self._client.send(request, stream=True)
            try:
                yield response
            finally:
                response.close()
        except httpx.TimeoutException as error:
            raise _Later(_("%(host)s does not answer in time.") % {"host": host}) from error
        except (httpx.TransportError, zlib.error) as error:
            raise _Later(
                _("%(host)s cannot be reached: %(reason)s") % {"host": host, "reason": error}
            ) from error
        except httpx.InvalidURL as error:
            raise FetchError(_("This is not a usable address."), permanent=True) from error

    def _check(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise FetchError(
                _("Only addresses that begin with http:// or https:// can be fetched."),
                permanent=True,
            )
        if parts.username or parts.password:
            raise FetchError(
                _("An address with a name and a password in it is not fetched."), permanent=True
            )

    def may(self, url: str) -> bool:
        """Whether the server's robots.txt lets us fetch `url`."""
        rules = self._rules(url)
        return rules is None or rules.can_fetch(url, AGENT)

    def _rules(self, url: str) -> Protego | None:
        """The server's robots.txt; None when there is none."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc.lower()}"
        if origin not in self._robots:
            key = f"robots:{origin}"
            text = cache.get(key)
            if text is None:
                text = self._ask_for_rules(origin)
                cache.set(key, text, ROBOTS_SECONDS)
            self._robots[origin] = Protego.parse(text) if text else None
        return self._robots[origin]

    def _ask_for_rules(self, origin: str) -> str:
        """As RFC 9309: a refusal means that there are no rules, a failure that all is forbidden."""
        try:
            fetched = self._follow(f"{origin}/robots.txt", {}, False, ROBOTS_BYTES)
        except FetchError as error:
            if error.permanent:
                return ""
            raise
        with fetched.content() as file:
            return file.read().decode("utf-8", "replace").replace("\0", "")

    def _pace(self, url: str) -> None:
        """Wait until the host may be asked again."""
        host = urlsplit(url).netloc.lower()
        if (wait := self._next.get(host, 0) - time.monotonic()) > 0:
            self.sleep(wait)
            self._transport.guard.deadline += wait
        delay = settings.FETCH_DELAY
        origin = f"{urlsplit(url).scheme}://{host}"
        if rules := self._robots.get(origin):
            delay = max(delay, min(rules.crawl_delay(AGENT) or 0, CRAWL_DELAY))
        self._next[host] = time.monotonic() + delay


class _Later(FetchError):
    """It may go better after a while: `pause` seconds, if the server says how many."""

    def __init__(self, message: str, pause: float = 0) -> None:
        super().__init__(message, permanent=False)
        self.pause = pause


def _led(here: str, location: str) -> str:
    try:
        return urljoin(here, location)
    except ValueError as error:
        raise FetchError(_("This is not a usable address."), permanent=True) from error


def _sent_back(value: str) -> str:
    """A header as it may be asked with the next time: those of requests are ASCII."""
    return value if value.isascii() else ""


def _taken(url: str, response: httpx.Response, limit: int) -> Fetched:
    status, host = response.status_code, urlsplit(url).hostname
    if status == 304:
        return Fetched(url, None, response.headers)
    if status in {404, 410}:
        raise Gone(_("There is nothing at this address (any more)."), permanent=True)
    if status in TEMPORARY:
        pause = retry_after(response.headers.get("retry-after", ""))
        said = {"host": host, "status": status}
        raise _Later(_("%(host)s cannot answer now (%(status)d).") % said, pause)
    if status in {401, 403}:
        raise FetchError(
            _("%(host)s lets only those in who sign in (%(status)d).")
            % {"host": host, "status": status},
            permanent=True,
        )
    if status != 200:
        raise FetchError(
            _("%(host)s answered with status %(status)d.") % {"host": host, "status": status},
            permanent=True,
        )
    with ExitStack() as undo:
        file = undo.enter_context(TemporaryFile(prefix="opsdesk-"))
        for piece in _unpacked(response, limit):
            file.write(piece)
        file.seek(0)
        undo.pop_all()
    return Fetched(url, file, response.headers)


def _unpacked(response: httpx.Response, limit: int) -> Iterator[bytes]:
    """The body piece by piece, unpacked; FetchError at the byte after `limit`."""
    size = 0
    for piece in _pieces(response):
        size += len(piece)
        if size > limit:
            problem = uploading.too_large(size) or _("This is too large to be read.")
            raise FetchError(problem, permanent=True)
        yield piece


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        yield from response.iter_raw()
    elif encoding in {"gzip", "x-gzip"}:  # all we ask for
        inflate = zlib.decompressobj(31)
        for packed in response.iter_raw():
            while packed:  # never more than a little at once, however well it was packed
                yield inflate.decompress(packed, 65536)
                packed = inflate.unconsumed_tail
    else:
        raise FetchError(_("The server packs its answer in an unknown way."), permanent=True)


def retry_after(value: str) -> float:
    """Seconds, of a number of them or a date."""
    if re.fullmatch(r"\d{1,6}", value.strip()):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - timezone.now()).total_seconds())
    except (TypeError, ValueError):
        return 0.0
