"""A message as a page or a program gets it."""

import re
from functools import cache
from typing import Any

import nh3
from django.db.models import Exists, OuterRef, Prefetch, QuerySet, prefetch_related_objects
from django.urls import reverse
from markdown_it import MarkdownIt

from chat import degrading, uploads
from chat.formulas import formulas
from chat.models import Citation, Figure, Message, Turn, Upload
from chat.originals import originals
from knowledge import addressed, pages
from knowledge.models import Chunk

TAGS = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre",
    "code", "strong", "em", "s", "a", "table", "thead", "tbody", "tr", "th", "td", "span", "div",
}  # fmt: skip
ATTRIBUTES = {
    "a": {"href", "class", "data-n"}, "code": {"class"}, "ol": {"start"},
    "span": {"class"}, "div": {"class"},
}  # fmt: skip
_MARK = re.compile(r"\[(\d{1,3})\](?![(:]|\[(?!\d{1,3}\]))")
_NOTHING: dict[str, Any] = {"citations": (), "figures": (), "uploads": ()}


@cache
def _markdown() -> MarkdownIt:
    renderer = MarkdownIt("commonmark", {"html": False, "breaks": True})
    renderer.enable(["table", "strikethrough"]).disable("image")
    renderer.use(formulas)
    # Before escaped signs are text like any other: `[1\]` is no mark.
    renderer.core.ruler.before("text_join", "citations", _cite)
    return renderer


def _cite(state: Any) -> None:
    """Turn the marks in running text, never those in code, into links to their citation."""
    count = state.env.get("citations", 0)
    for block in state.tokens:
        if block.type != "inline":
            continue
        children = []
        for child in block.children:
            children += _split(child, count) if child.type == "text" else [child]
        block.children = children


def _split(token: Any, count: int) -> list[Any]:
    pieces = []
    end = 0
    for mark in _MARK.finditer(token.content):
        if not 1 <= int(mark[1]) <= count:
            continue
        before, link = token.copy(), token.copy()
        before.content = token.content[end : mark.start()]
        link.type, link.content = "html_inline", f'<a class="cite" data-n="{mark[1]}">{mark[1]}</a>'
        pieces += [before, link]
        end = mark.end()
    rest = token.copy()
    rest.content = token.content[end:]
    return [*pieces, rest]


def html(text: str, citations: int = 0) -> str:
    """Markdown as safe HTML: no raw HTML, no pictures, marks [1] … [`citations`] as links."""
    return nh3.clean(
        _markdown().render(text, {"citations": citations}),
        tags=TAGS,
        attributes=ATTRIBUTES,
        link_rel="noopener nofollow",
        url_schemes={"http", "https", "mailto"},
    )


def shown(messages: QuerySet[Message]) -> list[Message]:
    """`messages` with all that `message_json` shows of them: one query, and a few more when
    something belongs to one of them, which it does to few."""
    of = {"message": OuterRef("pk")}
    has = Exists(Citation.objects.filter(**of)) | Exists(Upload.objects.filter(**of))
    rows: Any = list(messages.select_related("author", "rating").annotate(has=has))
    citations = Citation.objects.select_related("revision__document__knowledge_base")
    prefetch_related_objects(
        [row for row in rows if row.has],
        Prefetch("citations", citations.defer("revision__parsed")),
        "figures__attachment",
        "figures__citation",
        "uploads",
    )
    for row in rows:
        if not row.has:  # a figure belongs to a citation
            alone(row)
    return rows


def alone(message: Message) -> Message:
    """`message`, to which nothing belongs, as `shown` gives it."""
    message._prefetched_objects_cache = dict(_NOTHING)  # type: ignore[attr-defined]
    message._state.fields_cache.setdefault("rating", None)
    return message


def message_json(message: Message) -> dict[str, Any]:
    """The public shape of a message; a system message and a customer's are plain text."""
    citations = list(message.citations.all())
    formatted = message.role in (Message.Role.ASSISTANT, Message.Role.AGENT)
    offered = message.data.get("outcome") == Turn.Outcome.CLARIFYING  # a choice is no answer
    return {
        "seq": message.seq,
        "id": message.client_msg_id,
        "role": message.role,
        "author": _name(message.author) if message.author else None,
        "text": message.text,
        "html": html(message.text, len(citations)) if formatted else "",
        "event": message.data.get("event"),
        "options": message.data.get("options", []),
        "choices": [
            {"id": f"{message.seq}-{one['n']}", **one} for one in message.data.get("choices", ())
        ],
        "outcome": message.data.get("outcome"),
        "confidence": message.data.get("confidence"),
        "mode": message.data.get("mode", ""),
        "degraded": degrading.sentence(message.data.get("degraded", [])),
        "citations": [citation_json(citation) for citation in citations],
        "figures": [figure_json(figure) for figure in message.figures.all()],
        "uploads": [uploads.as_json(upload) for upload in message.uploads.all()],
        "exports": _exports(message) if citations and not offered else None,
        "originals": originals(citations),
        "rating": _rating(message),
        "created_at": message.created_at.isoformat(),
    }


def _name(user: Any) -> str:
    return user.get_full_name() or user.get_username()


def citation_json(citation: Citation) -> dict[str, Any]:
    return {
        "n": citation.n,
        "title": citation.title,
        "document": citation.document_id,
        "external_id": citation.external_id,
        "revision": citation.revision_id,
        "page": citation.page,
        "locator": citation.locator,
        "quote": citation.quote,
        "regions": citation.regions,
        "url": reverse("revision", args=[citation.revision_id]) if citation.revision_id else None,
    }


def passages_json(chunks: list[int]) -> list[dict[str, Any]]:
    """Passages that an answer in the making cites, by their ids, as its citations will be: at
    most as long, for what was asked is not known here."""
    found = Chunk.objects.select_related("document").in_bulk(chunks)
    return [
        citation_json(
            Citation(
                n=n, title=addressed.blanked(chunk.document.title), document_id=chunk.document_id,
                external_id=chunk.document.external_id, revision_id=chunk.revision_id,
                page=chunk.page, locator=addressed.blanked(chunk.locator),
                quote=_quote(chunk), regions=chunk.regions,
            )
        )
        for n, pk in enumerate(chunks, 1)
        if (chunk := found.get(pk))
    ]  # fmt: skip


def _quote(chunk: Chunk) -> str:
    about = [chunk.document.title, *chunk.heading_path, chunk.question]
    return addressed.cleaned(chunk.text, " ".join(map(addressed.blanked, about)))


def figure_json(figure: Figure) -> dict[str, Any]:
    attachment = figure.attachment
    return {
        "n": figure.citation.n,
        "kind": attachment.kind,
        "number": attachment.number,
        "caption": attachment.caption,
        "page": attachment.page,
        "url": reverse("attachment", args=[attachment.pk]),
        # Cleaned by its parser, too; but that was a stranger.
        "html": pages.clean_table(attachment.html),
        "width": attachment.width,
        "height": attachment.height,
    }


def _rating(message: Message) -> dict[str, Any] | None:
    rating = getattr(message, "rating", None)
    if rating is None:
        return None
    return {"helpful": rating.helpful, "reason": rating.reason, "comment": rating.comment}


def _exports(message: Message) -> dict[str, str]:
    return {
        "pdf": reverse("export_pdf", args=[message.pk]),
        "docx": reverse("export_docx", args=[message.pk]),
    }
