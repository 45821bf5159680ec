"""Web pages: one with what it links to, or all of a sitemap. Their main content, as Markdown."""

import fnmatch
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import quote, urldefrag, urljoin, urlsplit, urlunsplit
from xml.etree.ElementTree import ParseError as XMLError

import defusedxml.ElementTree as ElementTree
import lxml.html
import trafilatura
from defusedxml import DefusedXmlException
from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from lxml import etree
from trafilatura.settings import use_config

from knowledge.models import SourceItem
from knowledge.parsing.detection import decode
from knowledge.parsing.unreadable import Unreadable
from knowledge.sources.base import AddressField, Backend, Content, Found, Options
from knowledge.sources.fetching import Fetched, Fetcher
from opsdesk.errors import FetchError

PAGE_BYTES = 5 * 1024**2
SITEMAP_BYTES = 20 * 1024**2
SITEMAPS = 500  # in an index
LINKS = 1000  # of a page
HURRY_SECONDS = 15
# Pictures, films, sounds, archives, programs and what pages are made of.
NOT_FOLLOWED = re.compile(
    r"\.(png|jpe?g|gif|webp|svg|ico|bmp|tiff?|mp[34]|avi|mov|webm|wav|ogg|flv|zip|t?gz|bz2|xz|7z|rar"
    r"|tar|exe|msi|dmg|deb|rpm|apk|iso|jar|war|bin|css|m?js|map|json|xml|rss|atom|woff2?|ttf|eot)$",
    re.IGNORECASE,
)
SAFE_QUERY = "/?%:@!$&'()*+,;=~[]"
HTML = {"text/html", "application/xhtml+xml"}


class Web(Backend):
    """What the kinds that speak HTTP share: the fetcher, and a page as a document."""

    robots = True

    @contextmanager
    def opened(self, *, hurried: bool = False) -> Iterator[None]:
        fetcher = Fetcher()
        if hurried:
            fetcher = Fetcher(tries=1, seconds=HURRY_SECONDS, sleep=lambda seconds: None)
        with fetcher as self.fetcher:
            yield

    def get(self, url: str, item: SourceItem | None = None, limit: int = 0) -> Fetched:
        """`url`, unless it is as `item` has it."""
        etag, modified = (item.etag, item.modified) if item and item.sha256 else ("", "")
        return self.fetcher.get(url, etag=etag, modified=modified, robots=self.robots, limit=limit)

    def content(self, fetched: Fetched, file: IO[bytes]) -> Content:
        """A page's main content, or a file as it is."""
        values: dict[str, Any] = {
            "url": fetched.url,
            "etag": fetched.etag,
            "modified": fetched.modified,
        }
        if not is_html(fetched, file):
            return Content(file=file, name=file_name(fetched), **values)
        with file:
            raw = file.read(PAGE_BYTES + 1)
        if len(raw) > PAGE_BYTES:  # it is read in this process
            raise FetchError(_("This page is too large to be read."), permanent=True)
        html = text_of(raw, fetched.headers.get("content-type", ""))
        title, text = readable(html, fetched.url)
        return Content.text(text, name=f"{title[:150]}.md", title=title, **values)


class PageOptions(Options):
    address = AddressField(label=gettext_lazy("address"), max_length=2000)
    depth = forms.IntegerField(
        label=gettext_lazy("links followed"),
        min_value=0,
        max_value=5,
        initial=0,
        help_text=gettext_lazy("0: this page alone; 1: and the pages it links to; and so on."),
    )
    below = forms.CharField(
        label=gettext_lazy("only below"),
        required=False,
        max_length=500,
        help_text=gettext_lazy("A path like /docs/. Empty: the folder of the address."),
    )
    pages = forms.IntegerField(
        label=gettext_lazy("pages at most"), min_value=1, max_value=20_000, initial=200
    )

    def clean_address(self) -> str:
        return normal(self.cleaned_data["address"])


class Page(Web):
    """A page, and, to a depth, the pages it links to below a path of the same server."""

    label = gettext_lazy("web page")
    about = gettext_lazy("One page, and if you like the pages that it links to.")
    options_form = PageOptions

    def __init__(self, source: Any) -> None:
        super().__init__(source)
        self.address: str = self.options["address"]
        self.crawls = self.options["depth"] > 0
        self.max_items = self.options["pages"] if self.crawls else 1

    def items(self) -> Iterator[Found]:
        yield Found(self.address, data={"depth": 0})

    def fetch(self, item: SourceItem) -> Content | None:
        fetched = self.get(item.key, item)
        if fetched.file is None:
            return None
        depth = item.data.get("depth", 0)
        arrived = normal(fetched.url)
        if arrived != item.key and depth:
            fetched.file.close()
            return self._moved(arrived, depth)
        if not is_html(fetched, fetched.file):
            return self.content(fetched, fetched.file)
        raw = fetched.file.read(PAGE_BYTES)
        fetched.file.seek(0)
        content = self.content(fetched, fetched.file)
        if depth < self.options["depth"]:
            html = text_of(raw, fetched.headers.get("content-type", ""))
            below = [link for link in links(html, fetched.url) if self._wanted(link)]
            content.links = [Found(link, data={"depth": depth + 1}) for link in below[:LINKS]]
        return content

    def _moved(self, arrived: str, depth: int) -> Content:
        """A link that leads on to another address: that is the page, if it is one of ours."""
        if not self._wanted(arrived):
            raise FetchError(
                _("It leads on to %(address)s.") % {"address": arrived[:200]}, permanent=True
            )
        return Content(file=None, links=[Found(arrived, data={"depth": depth})])

    def _wanted(self, url: str) -> bool:
        start, parts = urlsplit(self.address), urlsplit(url)
        below = self.options["below"] or start.path.rpartition("/")[0] + "/"
        same = (parts.scheme, parts.netloc) == (start.scheme, start.netloc)
        return same and parts.path.startswith(below)


class SitemapOptions(Options):
    address = AddressField(
        label=gettext_lazy("address"),
        max_length=2000,
        help_text=gettext_lazy("Of the sitemap, like https://docs.example.com/sitemap.xml"),
    )
    include = forms.CharField(
        label=gettext_lazy("only"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("Paths, one a line, * for anything, like /docs/*. Empty: all."),
    )
    exclude = forms.CharField(
        label=gettext_lazy("but not"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("Paths, one a line, like /docs/old/*."),
    )
    pages = forms.IntegerField(
        label=gettext_lazy("pages at most"), min_value=1, max_value=20_000, initial=1000
    )


class Sitemap(Web):
    """All pages that a sitemap names, or the sitemaps of an index."""

    label = gettext_lazy("sitemap")
    about = gettext_lazy("All pages of a site of documentation, as its sitemap lists them.")
    options_form = SitemapOptions

    def __init__(self, source: Any) -> None:
        super().__init__(source)
        self.max_items = self.options["pages"]
        self.include = self.options["include"].split()
        self.exclude = self.options["exclude"].split()

    def items(self) -> Iterator[Found]:
        self.incomplete, failed = "", []
        address = self.options["address"]
        inner, pages = self._read(address)
        yield from self._wanted(pages)
        for sitemap in inner[:SITEMAPS]:
            try:
                yield from self._wanted(self._read(sitemap)[1])
            except FetchError as error:
                failed.append(str(error))
        if len(inner) > SITEMAPS:
            self.incomplete = _("There are more than %(n)d; the rest was not fetched.") % {
                "n": SITEMAPS
            }
        if failed:
            text = ngettext(
                "%(n)d sitemap of the index could not be read: %(reason)s",
                "%(n)d sitemaps of the index could not be read: %(reason)s",
                len(failed),
            )
            self.incomplete = text % {"n": len(failed), "reason": failed[0]}

    def fetch(self, item: SourceItem) -> Content | None:
        fetched = self.get(item.key, item)
        if fetched.file is None:
            return None
        if urlsplit(fetched.url).netloc != urlsplit(item.key).netloc:  # a sign-in, most likely
            fetched.file.close()
            raise FetchError(
                _("It leads on to %(address)s.") % {"address": fetched.url[:200]}, permanent=True
            )
        return self.content(fetched, fetched.file)

    def _read(self, url: str) -> tuple[list[str], list[tuple[str, str]]]:
        """The sitemaps, and the pages with their dates, that the sitemap at `url` names."""
        fetched = self.get(url, limit=SITEMAP_BYTES)
        with fetched.content() as file:
            try:
                root = ElementTree.fromstring(_gunzipped(file))
            except (XMLError, DefusedXmlException, ValueError, zlib.error) as error:
                raise _no_sitemap(url) from error
        # One that is empty, or a page that happens to be XML, would say that all is gone.
        if _tag(root) not in {"urlset", "sitemapindex"} or not len(root):
            raise _no_sitemap(url)
        inner, pages = [], []
        for entry in root:
            said = (entry.findtext("{*}loc") or "").strip()
            try:
                address = normal(urljoin(url, said))
            except ValueError:  # no address at all
                continue
            if said and _tag(entry) == "sitemap":
                inner.append(address)
            elif said:
                changed = (entry.findtext("{*}lastmod") or "").strip()
                pages.append((address, changed))
        return inner, pages

    def _wanted(self, pages: list[tuple[str, str]]) -> Iterator[Found]:
        # A date that is never renewed must not hide a change for ever: once a week all are asked.
        week = timezone.now().strftime("%G-%V")
        host = urlsplit(self.options["address"]).hostname
        for url, changed in pages:
            parts = urlsplit(url)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            if parts.hostname != host or not self._passes(path):
                continue
            yield Found(url, version=f"{changed} {week}" if changed else "")

    def _passes(self, path: str) -> bool:
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in self.exclude):
            return False
        return not self.include or any(fnmatch.fnmatchcase(path, p) for p in self.include)


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _no_sitemap(url: str) -> FetchError:
    message = _("%(address)s is not a sitemap, or an empty one.") % {"address": url[:200]}
    return FetchError(message, permanent=True)


def _gunzipped(file: IO[bytes]) -> bytes:
    data = file.read()
    if not data.startswith(b"\x1f\x8b"):
        return data
    inflate = zlib.decompressobj(31)
    unpacked = inflate.decompress(data, SITEMAP_BYTES)
    if inflate.unconsumed_tail:
        raise ValueError("too large")
    return unpacked


def normal(url: str) -> str:
    """The address as it is compared: without a fragment, the server in lower case."""
    parts = urlsplit(urldefrag(url).url)
    netloc = parts.netloc.lower()
    for scheme, port in (("http", ":80"), ("https", ":443")):
        if parts.scheme == scheme:
            netloc = netloc.removesuffix(port)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    return urlunsplit((parts.scheme, netloc, path, quote(parts.query, safe=SAFE_QUERY), ""))


def is_html(fetched: Fetched, file: IO[bytes]) -> bool:
    start = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    file.seek(0)
    if fetched.media_type in HTML:
        return not start.startswith((b"%pdf-", b"pk\x03\x04"))
    return start.startswith((b"<!doctype html", b"<html"))


def file_name(fetched: Fetched) -> str:
    """With a suffix that says what a text file is: its bytes do not."""
    name = fetched.name or urlsplit(fetched.url).hostname or "file"
    suffixes = {
        "text/csv": (".csv",),
        "text/tab-separated-values": (".tsv",),
        "text/markdown": (".md", ".markdown"),
    }.get(fetched.media_type, ())
    if suffixes and PurePosixPath(name).suffix.lower() not in suffixes:
        return name + suffixes[0]
    return name


def text_of(raw: bytes, content_type: str) -> str:
    """A page's text: in the charset of its header, of itself, or what it can be."""
    found = re.search(r"charset=[\"']?([\w-]+)", content_type, re.I) or re.search(
        rb"<meta[^>]+charset=[\"']?([\w-]+)", raw[:4096], re.I
    )
    named = found[1] if found else ""
    charset = named.decode() if isinstance(named, bytes) else named
    if charset.lower() in {"gbk", "gb2312"}:
        charset = "gb18030"
    try:
        return raw.decode(charset) if charset else decode(raw)
    except (UnicodeDecodeError, LookupError, Unreadable):
        return raw.decode("utf-8", "replace")


def readable(html: str, url: str) -> tuple[str, str]:
    """The title of a page, and its main content as Markdown."""
    text = trafilatura.extract(
        html,
        url=url,
        output_format="markdown",
        include_formatting=True,
        include_tables=True,
        include_links=True,
        include_images=True,
        include_comments=False,
        config=_EXTRACTION,
    )
    if not text or not text.strip():
        raise FetchError(
            _("There is no text to read on this page. It may be made by scripts in the browser."),
            permanent=True,
        )
    about = trafilatura.extract_metadata(html, default_url=url)
    title = " ".join(((about and about.title) or "").split())
    if not title:
        title = PurePosixPath(urlsplit(url).path).stem or urlsplit(url).hostname or url
    return title.replace("/", "／"), text


def links(html: str, url: str) -> list[str]:
    """Where a page leads, in its order, each once, but for pictures, films and the like."""
    try:
        root = lxml.html.document_fromstring(html.encode(), parser=_PARSER)
    except etree.ParserError:
        return []
    if "nofollow" in " ".join(root.xpath("//meta[@name='robots']/@content")).lower():
        return []
    found: dict[str, None] = {}
    for link in root.xpath("//a[@href][not(contains(@rel, 'nofollow'))]/@href"):
        try:
            address = normal(urljoin(url, link.strip()))
            path = urlsplit(address).path
        except ValueError:
            continue
        if address.startswith(("http://", "https://")) and not NOT_FOLLOWED.search(path):
            found[address] = None
    return list(found)


# Below its own 250 characters it takes a whole page, menus and all; a page in Chinese is shorter.
_EXTRACTION = use_config()
_EXTRACTION.set("DEFAULT", "MIN_EXTRACTED_SIZE", "40")
_PARSER = lxml.html.HTMLParser(encoding="utf-8")
