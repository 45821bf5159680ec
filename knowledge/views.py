"""Originals and what is in them, for those who may read their knowledge base."""

from typing import Any

from django.conf import settings
from django.db.models import F, Q
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.module_loading import import_string
from django.views.decorators.cache import cache_control
from django.views.decorators.http import etag, require_safe

from knowledge import pages, permissions, scope
from knowledge.models import Attachment, KnowledgeBase, Revision
from opsdesk.errors import ParseError

# Whatever a file is, a browser must not run it in our name.
INERT = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
SHOWN = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"}
private = cache_control(private=True, max_age=3600)


def _readable(request: HttpRequest) -> Q:
    """Curators read everything of their bases. Others read what may answer: the revision that
    does, while there is one, and those that an answer to them cites (`settings.CITED`)."""
    curated = permissions.bases(request.user, "view")
    readable = KnowledgeBase.objects.readable_by(request.user)
    shown = Q(document__current=F("pk")) | Q(document__current=None)
    for name in settings.CITED:
        shown |= Q(pk__in=import_string(name)(request))
    return Q(document__knowledge_base__in=curated) | (
        Q(document__knowledge_base__in=readable) & scope.answering("document__") & shown
    )


def _revision(request: HttpRequest, pk: int) -> Revision:
    # What was parsed is large, and pictures of pages do without it.
    revisions = Revision.objects.defer("parsed").filter(_readable(request))
    revisions = revisions.select_related("document__knowledge_base")
    return get_object_or_404(revisions, pk=pk)


def _attachment(request: HttpRequest, pk: int) -> Attachment:
    revisions = Revision.objects.filter(_readable(request))
    return get_object_or_404(Attachment, pk=pk, revision__in=revisions)


def _tag(request: HttpRequest, pk: int, page: int = 0, **kwargs: Any) -> str | None:
    """A revision never changes once it is ready; before that, nothing is worth keeping."""
    finished = Revision.objects.filter(_readable(request), pk=pk).values_list("finished_at").first()
    if not finished or not finished[0]:
        return None
    return f'"{pk}-{page}-{finished[0].timestamp():.0f}-{request.GET.get("row", "")}"'


@require_safe
@private
def revision(request: HttpRequest, pk: int) -> JsonResponse:
    row = _revision(request, pk)
    return JsonResponse(
        {
            "title": row.document.title,
            "name": row.name,
            "kind": "image" if pages.has_pictures(row) and row.file else "html",
            "pages": pages.number(row),
            "page_names": pages.names(row),
            "blocks": pages.BLOCKS,  # on a page of a format that has none
            "original": reverse("revision-original", args=[pk]) if _given(request, row) else None,
            "address": _address(row.document.url),
        }
    )


def _given(request: HttpRequest, row: Revision) -> bool:
    """Whether the file itself is there for this person; curators always get it."""
    if not row.file or row.document.hands_out:
        return bool(row.file)
    return permissions.may(request.user, "view", row.document.knowledge_base)


def _address(url: str) -> str | None:
    """Where readers find it themselves; whoever uploads may say anything."""
    return url if url.startswith(("https://", "http://")) else None


@require_safe
@private
@etag(_tag)
def original(request: HttpRequest, pk: int) -> FileResponse:
    row = _revision(request, pk)
    if not _given(request, row):
        raise Http404
    response = FileResponse(row.file.open("rb"), as_attachment=True, filename=row.name)
    # Never a type that a browser would open as a page of ours.
    response["Content-Type"] = "application/octet-stream"
    return _inert(response)


@require_safe
@private
@etag(_tag)
def page_picture(request: HttpRequest, pk: int, page: int) -> FileResponse:
    try:
        path = pages.picture(_revision(request, pk), page)
    except (pages.NoSuchPage, ParseError) as error:
        raise Http404(str(error)) from error
    return _inert(FileResponse(path.open("rb"), content_type="image/png"))


@require_safe
@private
@etag(_tag)
def page_html(request: HttpRequest, pk: int, page: int) -> HttpResponse:
    row = request.GET.get("row", "")
    try:
        fragment = pages.html(
            _revision(request, pk), page, int(row) if row.isdecimal() and len(row) < 9 else 0
        )
    except pages.NoSuchPage as error:
        raise Http404 from error
    return HttpResponse(fragment)


@require_safe
@private
def attachment(request: HttpRequest, pk: int) -> HttpResponse | FileResponse:
    row = _attachment(request, pk)
    if not row.file:
        return HttpResponse(pages.clean_table(row.html))
    shown = row.media_type in SHOWN
    response = FileResponse(
        row.file.open("rb"),
        as_attachment=not shown,
        content_type=row.media_type if shown else "application/octet-stream",
    )
    return _inert(response)


def _inert(response: FileResponse) -> FileResponse:
    response["Content-Security-Policy"] = INERT
    response["X-Content-Type-Options"] = "nosniff"
    return response
