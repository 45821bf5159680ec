"""Passages of a document as JSON and back: what an edit keeps of before and after.

Rows only: the words and vectors of what is written are left to the caller.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

from django.db import connection
from django.db.models import F

from knowledge.models import Attachment, Chunk

# Of a passage: "id" (None before it is a row), "attachments" (ids), and its columns.
Snapshot = dict[str, Any]
CONTENT = ["kind", "heading_path", "question", "text", "questions", "enabled"]
PLACE = ["page", "page_end", "locator", "regions"]
COLUMNS = [*CONTENT, *PLACE, "digest", "edited"]
EDGE = 24  # characters by which the beginning or end of a block is known again
_INK = re.compile(r"[\w$%+=<>]+")  # what stays of a block whichever way it is set in Markdown


class Parsed(Protocol):
    kind: str
    heading_path: list[str]
    question: str
    text: str


def digest(draft: Parsed) -> str:
    """Of what the parser made of a passage: the same passage has it in every revision."""
    parts = (draft.kind, *draft.heading_path, draft.question, draft.text)
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def version(chunk: Chunk) -> str:
    """Changes with everything that a form shows of a passage."""
    content = repr([getattr(chunk, name) for name in CONTENT])
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def snapshot(chunk: Chunk) -> Snapshot:
    attachments = [row.pk for row in chunk.attachments.all()]
    return {
        "id": chunk.pk,
        **{name: getattr(chunk, name) for name in COLUMNS},
        "attachments": attachments,
    }


def same(chunk: Chunk, taken: Snapshot) -> bool:
    """Whether a passage reads as it did."""
    return all(getattr(chunk, name) == taken[name] for name in CONTENT if name in taken)


def write(before: Sequence[Chunk], after: Sequence[Snapshot]) -> list[Chunk]:
    """Let passages that follow each other become `after`; the rows they are now.

    A row that is in both stays, one that is deleted comes back under its id; those behind
    move. Inside a transaction that holds the document.
    """
    first, last = before[0], before[-1]
    kept = {chunk.pk: chunk for chunk in before}
    Chunk.objects.filter(pk__in=kept.keys() - {taken["id"] for taken in after}).delete()
    if shift := len(after) - len(before):
        behind = Chunk.objects.filter(revision=first.revision_id, position__gt=last.position)
        behind.update(position=F("position") + shift)
    rows = []
    for position, taken in enumerate(after, first.position):
        row = kept.get(taken["id"]) or Chunk(
            pk=taken["id"],
            knowledge_base_id=first.knowledge_base_id,
            document_id=first.document_id,
            revision_id=first.revision_id,
        )
        for name in COLUMNS:
            setattr(row, name, taken[name])
        row.position = position
        row.save(force_insert=taken["id"] not in kept)
        row.attachments.set(taken["attachments"])
        rows.append(row)
    return rows


def place(parts: Sequence[Snapshot], sources: Sequence[Snapshot], revision_id: int) -> None:
    """Give passages that were made of `sources` their place: the regions whose words they
    hold, the pictures in those, and where no region fits all of them."""
    regions = joined(chain.from_iterable(source["regions"] for source in sources))
    found = blocks(revision_id, [region["block"] for region in regions])
    inks = [_ink(part["text"] + part["question"]) for part in parts]
    fits = [[_fit(region, found[region["block"]], ink) for region in regions] for ink in inks]
    homeless = [not any(row[number] for row in fits) for number in range(len(regions))]
    for part, row in zip(parts, fits, strict=True):
        part["regions"] = [
            fit or region
            for fit, region, alone in zip(row, regions, homeless, strict=True)
            if fit or alone
        ] or regions
        pages = [region["page"] for region in part["regions"] if region["page"]]
        part["page"] = min(pages, default=sources[0]["page"])
        part["page_end"] = max(pages, default=sources[-1]["page_end"])
        part["locator"] = locator(sources)
    _hang(parts, sources, found)


def locator(sources: Sequence[Snapshot]) -> str:
    first, last = sources[0]["locator"], sources[-1]["locator"]
    return first if first == last or not last else f"{first} – {last}"[:500]


def joined(regions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Regions in order, those of one block together."""
    together: dict[tuple[int, int | None], dict[str, Any]] = {}
    for region in regions:
        key = region["block"], region["page"]
        known = together.setdefault(key, dict(region))
        if known["rows"] and region["rows"]:
            top, bottom = known["rows"], region["rows"]
            known["rows"] = [min(top[0], bottom[0]), max(top[1], bottom[1])]
        else:
            known["rows"] = None
    return list(together.values())


def blocks(revision_id: int, indexes: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Blocks of a parsed document by their index, without loading the rest of it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH held AS MATERIALIZED"
            " (SELECT parsed->'blocks' AS blocks FROM knowledge_revision WHERE id = %s)"
            " SELECT jsonb_object_agg(number, coalesce(blocks->number, '{}'))"
            " FROM held, unnest(%s::int[]) AS number",
            [revision_id, sorted(set(indexes))],
        )
        (found,) = cursor.fetchone()
    return {int(number): block for number, block in json.loads(found or "{}").items()}


def _fit(region: dict[str, Any], block: dict[str, Any], ink: str) -> dict[str, Any] | None:
    """The region, of a table only the rows, whose words stand in a passage."""
    if region["rows"]:
        first, last = region["rows"]
        cells = (block.get("rows") or [])[first : last + 1]
        held = [n for n, row in enumerate(cells, first) if _ink("".join(row)) in ink]
        return {**region, "rows": [held[0], held[-1]]} if held else None
    words = _ink(block.get("text") or "")
    known = words and (words[:EDGE] in ink or words[-EDGE:] in ink or (ink and ink in words))
    return region if known else None


def _hang(
    parts: Sequence[Snapshot], sources: Sequence[Snapshot], found: dict[int, dict[str, Any]]
) -> None:
    """Deal out pictures and tables: each with the block that shows it."""
    ids = list(dict.fromkeys(chain.from_iterable(source["attachments"] for source in sources)))
    if not ids:
        for part in parts:
            part["attachments"] = []
        return
    positions = dict(Attachment.objects.filter(pk__in=ids).values_list("pk", "position"))
    shown = [{found[region["block"]].get("asset") for region in part["regions"]} for part in parts]
    everywhere = set().union(*shown)
    for part, assets in zip(parts, shown, strict=True):
        part["attachments"] = [
            pk for pk in ids if positions[pk] in assets or positions[pk] not in everywhere
        ]


def _ink(text: str) -> str:
    return "".join(_INK.findall(text))
