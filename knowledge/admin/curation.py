"""The document page's parts and what is done on it: passages beside the page they are from."""

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from knowledge import curating, leaves, pages, permissions
from knowledge.models import Chunk, ChunkEdit, Document
from opsdesk.errors import Conflict

EDITS = 20  # of the history at once
NEAR = 60  # characters shown beside a change
TRAIL = "›"  # between headings, in a form
_WORD = re.compile(r"[A-Za-z0-9_]+|\s+|.", re.DOTALL)


def urls(site: admin.AdminSite) -> list[URLPattern]:
    """Below the documents' list."""
    views: list[tuple[str, Callable[..., HttpResponse], str]] = [
        ("<int:pk>/leaf/<int:page>/", leaf, "leaf"),
        ("<int:pk>/edits/", history, "edits"),
        ("edits/<int:pk>/undo/", undo, "undo"),
        ("edits/<int:pk>/redo/", redo, "redo"),
        ("edits/<int:pk>/dismiss/", dismiss, "dismiss"),
        ("edits/<int:pk>/likely/", likely, "likely"),
        ("chunks/<int:pk>/edit/", edit, "chunk_edit"),
        ("chunks/<int:pk>/split/", split, "chunk_split"),
        ("chunks/merge/", merge, "chunk_merge"),
        ("chunks/<int:pk>/enabled/", enabled, "chunk_enabled"),
        ("chunks/preview/", preview, "chunk_preview"),
    ]
    return [
        path(route, site.admin_view(view), name=f"knowledge_document_{name}")
        for route, view, name in views
    ]


def opened(request: HttpRequest, document: Document) -> leaves.Leaf | None:
    """The page that the address asks for, by its number or by a passage on it."""
    if chunk := document.chunks.filter(pk=_number(request.GET.get("chunk"))).first():
        return leaves.leaf(document, leaves.page_of(chunk), _start(chunk))
    return leaves.leaf(
        document, _number(request.GET.get("page"), 1), _number(request.GET.get("from"))
    )


def _start(chunk: Chunk) -> int:
    """Where to start so that a passage is in sight: at it, where its page has many."""
    page = leaves.on_page(chunk.revision, leaves.page_of(chunk))
    before = page.filter(position__lt=chunk.position).order_by("position")[: leaves.AT_ONCE]
    return chunk.position if len(before) == leaves.AT_ONCE else 0


# --- What is shown ------------------------------------------------------------------
@require_GET
def leaf(request: HttpRequest, pk: int, page: int) -> HttpResponse:
    document = _document(request, pk, "view")
    made = leaves.leaf(document, page, _number(request.GET.get("from")))
    if made is None:
        raise Http404
    may = permissions.may(request.user, "change", document.knowledge_base_id)
    context = {"leaf": made, "may_change": may}
    return render(request, "admin/knowledge/document/leaf.html", context)


@require_GET
def history(request: HttpRequest, pk: int) -> HttpResponse:
    """Changes to the passages of a document, or to the one that `chunk` names."""
    document = _document(request, pk, "view")
    chunk = _number(request.GET.get("chunk")) or None
    shown = Paginator(curating.history(document, chunk), EDITS)
    page = shown.get_page(request.GET.get("page"))
    can = set()
    if permissions.may(request.user, "change", document.knowledge_base_id):
        can = curating.open_edits(document)
    context = {
        "page": page,
        "chunk": chunk,
        "document": document,
        "edits": [(row, row.pk in can, list(_changes(row))) for row in page],
    }
    return render(request, "admin/knowledge/document/edits.html", context)


@require_GET
def likely(request: HttpRequest, pk: int) -> JsonResponse:
    """Where a lost change may belong: the passage, its page, and the text to put there."""
    change = _change(request, pk)
    chunk = curating.likely(change)
    return JsonResponse(
        {
            "chunk": chunk and chunk.pk,
            "page": chunk and leaves.page_of(chunk),
            "from": chunk and _start(chunk),
            "text": "\n\n".join(row["text"] for row in change.after),
            "questions": [one for row in change.after for one in row["questions"]],
        }
    )


# --- What is done ---------------------------------------------------------------------
def answered(view: Callable[..., Document]) -> Callable[..., HttpResponse]:
    """A POST whose outcome the page is told: what can be undone now, or what is wrong where."""

    @require_POST
    @wraps(view)
    def answering(request: HttpRequest, *args: Any, **kwargs: Any) -> JsonResponse:
        try:
            document = view(request, *args, **kwargs)
        except ValidationError as error:
            said = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
            return JsonResponse({"errors": said}, status=400)
        except Conflict as error:
            return JsonResponse({"errors": {"": [str(error)]}}, status=409)
        last = document.edits.filter(undone_at=None).exclude(kind=ChunkEdit.Kind.LOST).first()
        return JsonResponse({"edit": last and last.pk, "said": last and last.get_kind_display()})

    return answering


@answered
def edit(request: HttpRequest, pk: int) -> Document:
    document = _of_chunks(request, [pk])
    post = request.POST
    path = post["headings"].split(TRAIL) if "headings" in post else None
    curating.edit(
        pk,
        text=post.get("text", ""),
        question=post.get("question", ""),
        questions=post.get("questions", "").splitlines(),
        heading_path=path,
        user=request.user,  # type: ignore[arg-type]
        seen=post.get("seen"),
    )
    if lost := _number(post.get("lost")):
        curating.dismiss(_change(request, lost).pk, request.user)  # type: ignore[arg-type]
    return document


@answered
def split(request: HttpRequest, pk: int) -> Document:
    document = _of_chunks(request, [pk])
    texts = request.POST.getlist("text")
    curating.split(pk, texts=texts, user=request.user, seen=request.POST.get("seen"))  # type: ignore[arg-type]
    return document


@answered
def merge(request: HttpRequest) -> Document:
    """The passages `chunk`; or one and the passage `beside` it, which another page shows."""
    ids = [_number(value) for value in request.POST.getlist("chunk")]
    document = _of_chunks(request, ids)
    if beside := request.POST.get("beside"):
        ids = _with_neighbour(ids[0], 1 if beside == "next" else -1)
    curating.merge(ids, user=request.user, seen=request.POST.getlist("seen"))  # type: ignore[arg-type]
    return document


def _with_neighbour(pk: int, step: int) -> list[int]:
    chunk = Chunk.objects.get(pk=pk)
    other = Chunk.objects.filter(revision=chunk.revision_id, position=chunk.position + step)
    return [pk, *other.values_list("pk", flat=True)]


@answered
def enabled(request: HttpRequest, pk: int) -> Document:
    document = _of_chunks(request, [pk])
    chunks = Chunk.objects.filter(pk=pk)
    curating.set_enabled(chunks, request.POST.get("enabled") == "1", request.user)  # type: ignore[arg-type]
    return document


@answered
def undo(request: HttpRequest, pk: int) -> Document:
    return curating.undo(_change(request, pk).pk, request.user).document  # type: ignore[arg-type]


@answered
def redo(request: HttpRequest, pk: int) -> Document:
    return curating.redo(_change(request, pk).pk, request.user).document  # type: ignore[arg-type]


@answered
def dismiss(request: HttpRequest, pk: int) -> Document:
    change = _change(request, pk)
    curating.dismiss(change.pk, request.user)  # type: ignore[arg-type]
    return change.document


@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """Markdown as readers will see it."""
    return HttpResponse(pages.markdown(request.POST.get("text", "")[: 10 * curating.LIMIT]))


# --- Whose, and what changed ------------------------------------------------------------
def _document(request: HttpRequest, pk: int, right: permissions.Right) -> Document:
    document = get_object_or_404(Document, pk=pk)
    if not permissions.may(request.user, right, document.knowledge_base_id):
        raise PermissionDenied
    return document


def _of_chunks(request: HttpRequest, ids: Sequence[int]) -> Document:
    """The document of passages that the user may change; Conflict when they are gone."""
    held = set(Document.objects.filter(chunks__in=ids).values_list("pk", flat=True))
    # Of those that are gone the history knows, and `curating` tells who took them.
    gone = held or set(
        ChunkEdit.objects.filter(before__contains=[{"id": ids[0] if ids else 0}]).values_list(
            "document", flat=True
        )
    )
    if len(gone) != 1:
        raise Conflict(_("This passage was merged, split or replaced meanwhile."))
    return _document(request, gone.pop(), "change")


def _change(request: HttpRequest, pk: int) -> ChunkEdit:
    change = get_object_or_404(ChunkEdit.objects.select_related("document"), pk=pk)
    _document(request, change.document_id, "change")
    return change


def _number(value: str | None, default: int = 0) -> int:
    return int(value) if value and value.isdecimal() and len(value) < 10 else default


def _changes(change: ChunkEdit) -> Iterator[list[tuple[str, str]]]:
    """What an edit put in and took out, a list of ("", "ins" or "del", text) a passage."""
    if change.kind in (ChunkEdit.Kind.ENABLE, ChunkEdit.Kind.DISABLE):
        return
    before, after = ([_reads(row) for row in rows] for rows in (change.before, change.after))
    if len(before) == len(after):
        for old, new in zip(before, after, strict=True):
            yield list(_difference(old, new))
    else:
        yield [("del" if len(before) == 1 else "", text + "\n\n") for text in before]
        yield [("ins" if len(after) == 1 else "", text + "\n\n") for text in after]


def _reads(row: dict[str, Any]) -> str:
    path = f" {TRAIL} ".join(row["heading_path"])
    return "\n".join(filter(None, [path, row["question"], *row["questions"], row["text"]]))


def _difference(old: str, new: str) -> Iterator[tuple[str, str]]:
    ours, theirs = _WORD.findall(old), _WORD.findall(new)
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield "", _shortened("".join(ours[a:b]), first=a == 0, last=b == len(ours))
            continue
        if b > a:
            yield "del", "".join(ours[a:b])
        if d > c:
            yield "ins", "".join(theirs[c:d])


def _shortened(text: str, *, first: bool, last: bool) -> str:
    """What did not change, only beside what did."""
    if len(text) <= 2 * NEAR:
        return text
    return ("" if first else text[:NEAR]) + " … " + ("" if last else text[-NEAR:])
