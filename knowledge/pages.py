"""Originals as a person reads them: pages as pictures, and what was parsed as HTML."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import BoundedSemaphore
from typing import Any

import nh3
from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt

from knowledge import drawing
from knowledge.models import Revision
from knowledge.parsing import longtable, sandbox
from knowledge.parsing.document import Block, ParsedDocument
from opsdesk.errors import ParseError

BLOCKS = 200  # on one page of a format that has none
ROWS = 500  # of a table shown at once
TAGS = {
    "a",
    "b",
    "blockquote",
    "br",
    "code",
    "del",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
}
TABLE_TAGS = {"table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "br"}
SPANS = {"td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}}
RENDER_SECONDS = 30
# Rendering waits its turn, so that readers never take the processor from answering.
_turns = BoundedSemaphore(2)


class NoSuchPage(Exception):
    pass


def has_pictures(revision: Revision) -> bool:
    """Whether the pages of the original can be shown as they look."""
    return revision.media_type == "application/pdf" or revision.media_type.startswith("image/")


def number(revision: Revision) -> int:
    """How many pages `html` (and `picture`) can show, at least 1."""
    if revision.pages:
        return revision.pages
    return max(1, -(-len((revision.parsed or {}).get("blocks", [])) // BLOCKS))


def names(revision: Revision) -> list[str]:
    """Of the sheets of a workbook."""
    return (revision.parsed or {}).get("page_names", [])


def picture(revision: Revision, page: int) -> Path:
    """A PNG of a page, from 1; NoSuchPage, or ParseError when it cannot be rendered."""
    if not has_pictures(revision) or not revision.file:
        raise NoSuchPage
    target = _folder(revision.pk) / f"{page}.png"
    if not target.exists():
        with _turns:
            _render(revision, page, target)
    return target


def html(revision: Revision, page: int, row: int = 0) -> SafeString:
    """What was parsed of a page, from 1, in reading order; of a long table the rows from `row`."""
    if not 1 <= page <= number(revision):
        raise NoSuchPage
    if revision.parsed is None:
        return mark_safe("")
    parsed = ParsedDocument.from_json(revision.parsed)
    if parsed.parser == longtable.PARSER and revision.file:
        return render_to_string("knowledge/blocks.html", {"blocks": [_long(revision, row)]})
    attachments = dict(revision.attachments.values_list("position", "pk"))
    blocks = [
        _context(index, block, parsed, attachments, row) for index, block in _on_page(parsed, page)
    ]
    return render_to_string("knowledge/blocks.html", {"blocks": blocks})


def clean_table(table: str) -> SafeString:
    """A table from a file, safe to show: cells and their spans only."""
    return mark_safe(  # noqa: S308
        nh3.clean(table, tags=TABLE_TAGS, attributes=SPANS)
    )


def forget(revision_ids: Iterable[int]) -> None:
    """Drop the rendered pages of revisions that are gone."""
    for pk in revision_ids:
        shutil.rmtree(_folder(pk), ignore_errors=True)


def _folder(revision_id: int) -> Path:
    return Path(settings.MEDIA_ROOT) / "pages" / str(revision_id)


def _render(revision: Revision, page: int, target: Path) -> None:
    user = sandbox.unprivileged()
    try:
        with Path(revision.file.path).open("rb") as source:
            done = subprocess.run(  # noqa: S603
                [sys.executable, "-I", drawing.__file__, str(page)],
                stdin=source,
                capture_output=True,
                timeout=RENDER_SECONDS,
                check=False,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", drawing.PASSWORD: revision.opened_with or ""},
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
    except subprocess.TimeoutExpired as error:
        raise ParseError(_("This page takes too long to draw."), permanent=True) from error
    if done.returncode == drawing.NO_SUCH_PAGE:
        raise NoSuchPage
    if done.returncode or not done.stdout:
        raise ParseError(_("This page cannot be drawn."), permanent=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=target.parent, delete=False) as unfinished:
        unfinished.write(done.stdout)
    Path(unfinished.name).rename(target)


def _on_page(parsed: ParsedDocument, page: int) -> list[tuple[int, Block]]:
    numbered = list(enumerate(parsed.blocks))
    if parsed.pages:
        return [(index, block) for index, block in numbered if block.page == page]
    return numbered[(page - 1) * BLOCKS : page * BLOCKS]


def _context(
    index: int, block: Block, parsed: ParsedDocument, attachments: dict[int, int], row: int
) -> dict[str, Any]:
    context: dict[str, Any] = {"index": index, "block": block}
    if block.kind in {"heading", "paragraph", "list"}:
        context["html"] = markdown(block.text, inline=block.kind == "heading")
        context["tag"] = f"h{min(6, (block.level or 1) + 1)}"
    elif block.kind == "table":
        context |= _table(block, parsed, row)
    elif block.kind == "picture" and block.asset is not None:
        context["asset"] = parsed.assets[block.asset]
        context["attachment"] = attachments.get(block.asset)
    return context


def _table(block: Block, parsed: ParsedDocument, row: int) -> dict[str, Any]:
    """The cells with their spans where the parser kept them, else plain rows, a window of them."""
    spanned = parsed.assets[block.asset].html if block.asset is not None else ""
    if len(block.rows) <= ROWS and len(re.findall(r"<tr\b", spanned)) == len(block.rows):
        numbers = count()
        rows = re.sub(r"<tr\b", lambda _: f'<tr data-row="{next(numbers)}"', clean_table(spanned))
        return {"html": mark_safe(rows)}  # noqa: S308
    # A cited row stands a little below the top, after what leads to it.
    first = max(block.header_rows, min(row - ROWS // 10, len(block.rows) - ROWS))
    shown = list(enumerate(block.rows))[first : first + ROWS]
    return {
        "header": list(enumerate(block.rows))[: block.header_rows],
        "rows": shown,
        "first": first + 1,
        "last": first + len(shown),
        "of": len(block.rows) if len(block.rows) > ROWS else 0,
    }


def _long(revision: Revision, row: int) -> dict[str, Any]:
    """A window of a table of which only the beginning was kept, from its file."""
    path, first = Path(revision.file.path), max(1, row - ROWS // 10)
    rows = longtable.window(path, first, ROWS)
    return {
        "index": 0,
        "block": Block("table"),
        "header": list(enumerate(longtable.window(path, 0, 1))),
        "rows": list(enumerate(rows, first)),
        "first": first + 1,
        "last": first + len(rows),
        "of": "…",
    }


@cache
def _parser() -> MarkdownIt:
    return (
        MarkdownIt("commonmark", {"html": False, "breaks": True})
        .enable(["table", "strikethrough"])
        .disable("image")
    )


def markdown(text: str, *, inline: bool = False) -> SafeString:
    """Markdown as HTML that is safe to show."""
    rendered = _parser().renderInline(text) if inline else _parser().render(text)
    cleaned = nh3.clean(
        rendered, tags=TAGS, attributes={"a": {"href"}}, url_schemes={"http", "https", "mailto"}
    )
    return mark_safe(cleaned)  # noqa: S308
