"""The door for what customers send with a message, of the page and of the API.

The page: `POST /uploads/` (multipart, field `file`, the CSRF token in the header X-CSRFToken; in
the frame of a site with its key, `?site=`) →
201 and the shape of `uploads.as_json`; its `id` goes into the message's `uploads`. What is
refused comes as {"error": code, "detail": sentence}. `GET /uploads/<id>/` gives it back,
`DELETE` takes back what was not sent yet. The API: `POST /api/v1/uploads/`, the same shapes.
"""

import uuid
from typing import Any

from django.db.models import Q
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import uploads, visitors
from chat.limits import allow
from chat.models import Upload
from chat.serializers import UploadSerializer

A_MINUTE, A_DAY = 10, 100  # of one person
A_MINUTE_ADDRESS = 100  # of one address: a whole company may share it
INERT = "default-src 'none'; sandbox"  # whatever it is, a browser must not run it in our name


@never_cache
@require_POST
def upload(request: HttpRequest) -> JsonResponse:
    framed = "site" in request.GET  # where nobody is signed in, whoever is beside it
    user = request.user if request.user.is_authenticated and not framed else None
    visitor = visitors.visitor(request.COOKIES)
    try:
        if not user and not visitor:
            sentence = _("Cookies are needed to send files. Please reload the page.")
            raise uploads.Refused("nobody", 403, sentence)
        _limit(request, user.pk if user else visitor)
        kept = _receive(request, user, visitor)
    except uploads.Refused as refused:
        told = {"error": refused.code, "detail": str(refused)}
        return JsonResponse(told, status=refused.status)
    return JsonResponse(uploads.as_json(kept), status=201)


def _limit(request: HttpRequest | Request, who: Any) -> None:
    address = request.META.get("REMOTE_ADDR", "?")
    if not (
        allow(f"upload:{who}", A_MINUTE)
        and allow(f"upload-day:{who}", A_DAY, 24 * 3600)
        and allow(f"upload:{address}", A_MINUTE_ADDRESS)
    ):
        raise uploads.Refused("too_many", 429, _("Too many files. Please wait a moment."))


def _receive(request: HttpRequest | Request, user: Any, visitor: str) -> Upload:
    file = request.FILES.get("file")
    if file is None:
        raise uploads.Refused("empty", 400, _("There is no file."))
    return uploads.receive(file, file.name or "", user=user, visitor=visitor)


@never_cache
@require_http_methods(["GET", "HEAD", "DELETE"])
def one(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    visitor = visitors.visitor(request.COOKIES)
    if request.method == "DELETE":
        mine = uploads.owned(request.user, visitor).filter(pk=pk, message=None).first()
        if mine is None:
            raise Http404
        uploads.forget(mine)
        return HttpResponse(status=204)
    return _inert(_readable(request, visitor, pk))


def _readable(request: HttpRequest, visitor: str, pk: uuid.UUID) -> Upload:
    """Who sent it reads it, and whoever may read the conversation that it was sent in."""
    found = Upload.objects.select_related("message__conversation").filter(Q(pk=pk)).first()
    if found is None:
        raise Http404
    if found.message:
        readable = visitors.may_read(found.message.conversation, request, found.message.public)
    else:
        readable = uploads.owned(request.user, visitor).filter(pk=pk).exists()
    if not readable:
        raise Http404
    return found


def _inert(upload: Upload) -> HttpResponseBase:
    response: HttpResponseBase
    if upload.kind == Upload.Kind.PICTURE:
        try:
            response = FileResponse(upload.file.open("rb"), content_type=upload.media_type)
        except FileNotFoundError as error:
            raise Http404 from error
    else:
        response = HttpResponse(upload.text, content_type="text/plain; charset=utf-8")
    # A text opens in the browser as well: as text, whatever it holds.
    response["Content-Disposition"] = content_disposition_header(False, upload.name) or "inline"
    response["Content-Security-Policy"] = INERT
    response["X-Content-Type-Options"] = "nosniff"
    return response


class FileSerializer(serializers.Serializer[Any]):
    file = serializers.FileField()


class UploadView(APIView):
    """Send a screenshot or a log, for a question to come."""

    token_scope = "read"  # noqa: S105
    parser_classes = [MultiPartParser]

    @extend_schema(
        summary="Send a file with a question",
        request=FileSerializer,
        responses={201: UploadSerializer},
    )
    def post(self, request: Request) -> Response:
        try:
            _limit(request, request.user.pk)
            kept = _receive(request, request.user, "")
        except uploads.Refused as refused:
            told = {"error": refused.code, "detail": str(refused)}
            return Response(told, status=refused.status)
        return Response(uploads.as_json(kept), status=201)
