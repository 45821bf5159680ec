"""A page of a document beside the passages that were made of it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import F, Func, IntegerField, Q, QuerySet
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from knowledge import pages
from knowledge.models import Chunk, Document, Revision
from knowledge.snapshots import version

AT_ONCE = 50  # passages; a sheet may have many thousands
SEARCHED = 2000  # passages of a page asked which blocks they hold
WORDS = 160  # shown of a block that no passage holds


@dataclass
class Held:
    """A passage on a page."""

    chunk: Chunk
    html: SafeString
    regions: list[dict[str, Any]]  # those on the page
    seen: str  # `curating.version`

    @property
    def boxes(self) -> list[list[float]]:
        return [_rectangle(region["box"]) for region in self.regions if region.get("box")]

    @property
    def marks(self) -> str:
        """For the script: which blocks, and of a table which rows."""
        return json.dumps(
            [{"block": region["block"], "rows": region["rows"]} for region in self.regions]
        )


@dataclass
class Left:
    """A block that was read, and is in no passage."""

    index: int
    why: str
    text: str
    box: list[float] | None  # x, y, width, height


@dataclass
class Leaf:
    document: Document
    revision: Revision
    page: int
    of: int
    name: str  # of a sheet
    as_picture: bool
    held: list[Held]
    left: list[Left]
    start: int  # the first position that was asked for
    next: int | None  # the position with which the page goes on

    @property
    def original(self) -> SafeString:
        """What was parsed of it; of a long table the rows about the first passage shown."""
        rows = next((r["rows"] for held in self.held for r in held.regions if r["rows"]), [0])
        return pages.html(self.revision, self.page, rows[0] if self.start else 0)


def leaf(document: Document, page: int, start: int = 0) -> Leaf | None:
    """Page `page`, from 1, with its passages from position `start`; None when nothing was read.

    A page beyond the last one is the last.
    """
    shown = _shown(document)
    if shown is None:
        return None
    revision, names, blocks = shown
    of = revision.pages or max(1, -(-blocks // pages.BLOCKS))
    page = min(max(page, 1), of)
    passages = on_page(revision, page)
    rows = list(
        passages.filter(position__gte=start)
        .order_by("position")
        .prefetch_related("attachments")[: AT_ONCE + 1]
    )
    more = rows[AT_ONCE].position if len(rows) > AT_ONCE else None
    whole = [row.regions for row in rows]
    if more or start:
        whole = list(passages.values_list("regions", flat=True)[:SEARCHED])
    return Leaf(
        document=document,
        revision=revision,
        page=page,
        of=of,
        name=names[page - 1] if page <= len(names) else "",
        as_picture=pages.has_pictures(revision) and bool(revision.file),
        held=[_held(row, revision, page) for row in rows[:AT_ONCE]],
        left=list(_left(revision, page, whole)),
        start=start,
        next=more,
    )


def on_page(revision: Revision, page: int) -> QuerySet[Chunk]:
    """The passages that have a part on a page; those of no page stand on the first."""
    if revision.pages:
        here, none = Q(page__lte=page, page_end__gte=page), Q(page=None)
    else:
        first = (page - 1) * pages.BLOCKS
        here = Q(regions__0__block__lt=first + pages.BLOCKS)
        here &= Q(**{"regions__-1__block__gte": first})
        none = Q(regions=[])
    return Chunk.objects.filter(here | none if page == 1 else here, revision=revision)


def page_of(chunk: Chunk) -> int:
    """On which page a passage begins."""
    if chunk.page:
        return chunk.page
    return (chunk.regions[0]["block"] if chunk.regions else 0) // pages.BLOCKS + 1


def _shown(document: Document) -> tuple[Revision, list[str], int] | None:
    """The revision that answers, else the last that was read; the names of its sheets, and how
    many blocks it has, without loading these."""
    revisions = Revision.objects.filter(parsed__isnull=False).defer("parsed")
    pk = document.current_id or document.latest_id
    row = revisions.annotate(
        page_names=F("parsed__page_names"),
        blocks=Func(
            F("parsed__blocks"), function="jsonb_array_length", output_field=IntegerField()
        ),
    ).filter(pk=pk or 0)
    found = row.first()
    return (found, found.page_names or [], found.blocks or 0) if found else None


def _held(chunk: Chunk, revision: Revision, page: int) -> Held:
    here = [
        region for region in chunk.regions if not revision.pages or region["page"] in (page, None)
    ]
    return Held(chunk, pages.markdown(chunk.text), here, version(chunk))


def _left(revision: Revision, page: int, held: Sequence[list[dict[str, Any]]]) -> Iterator[Left]:
    """What no passage holds. Headings are not missed: they are in the trails of passages."""
    inside = {region["block"] for regions in held for region in regions}
    for index, kind, hidden, text, box in _blocks(revision, page):
        if index in inside or (kind == "heading" and not hidden):
            continue
        if hidden:
            why = _("running header or footer")
        elif kind == "picture" and not text:
            why = _("picture without words")
        else:
            why = _("in no chunk")
        yield Left(index, why, text, _rectangle(box) if box else None)


def _blocks(revision: Revision, page: int) -> list[tuple[int, str, bool, str, Any]]:
    first = (page - 1) * pages.BLOCKS
    if revision.pages:
        where, values = "(block->>'page')::int = %s", [page]
    else:
        where, values = "number > %s AND number <= %s", [first, first + pages.BLOCKS]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT number - 1, block->>'kind', coalesce((block->>'hidden')::bool, false),
                left(coalesce(block->>'text', ''), %s), block->'box'
            FROM knowledge_revision, jsonb_array_elements(parsed->'blocks')
                WITH ORDINALITY AS held (block, number)
            WHERE id = %s AND {where} ORDER BY number
            """,  # noqa: S608 - one of two conditions
            [WORDS, revision.pk, *values],
        )
        return [(*row[:4], json.loads(row[4] or "null")) for row in cursor.fetchall()]


def _rectangle(box: Sequence[float]) -> list[float]:
    """Corners as x, y, width and height, in shares of the page."""
    left, top, right, bottom = box
    return [round(n, 4) for n in (left, top, right - left, bottom - top)]
