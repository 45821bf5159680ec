"""Headers that every response carries, errors included, and how large a request may be."""

import io
from collections.abc import Awaitable, Callable, MutableMapping
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.decorators import sync_and_async_middleware
from django.utils.translation import gettext as _

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'{sockets}; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
FORM_BYTES = 1024**2  # what a request may hold beside one file
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PERMISSIONS_POLICY = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"


def secure(request: HttpRequest, response: HttpResponseBase) -> None:
    # A view may be stricter still; none may be laxer, so the test compares.
    response.headers.setdefault("Content-Security-Policy", content_security_policy(request))
    response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)


def content_security_policy(request: HttpRequest) -> str:
    """The policy. WebSockets are named: older browsers leave them out of 'self'."""
    try:
        sockets = f" {'wss' if request.is_secure() else 'ws'}://{request.get_host()}"
    except DisallowedHost:
        sockets = ""
    return CONTENT_SECURITY_POLICY.format(sockets=sockets)


@sync_and_async_middleware
def security_headers(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            response = await get_response(request)
            secure(request, response)
            return response

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        secure(request, response)
        return response

    return synchronous


class BodyLimit:
    """An ASGI application in front of Django, which would store a body of any size on disk.

    A body that is too large is read to its end, so that the client hears why, or until it is
    ten times too large; nothing of it is kept.
    """

    def __init__(self, application: Callable[..., Awaitable[None]]) -> None:
        self.application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        limit = settings.UPLOAD_MAX_BYTES + FORM_BYTES
        received, more = 0, True

        async def counted() -> Message:
            nonlocal received, more
            message = await receive()
            received += len(message.get("body", b""))
            more = message.get("more_body", False)
            return message

        async def limited() -> Message:
            message = await counted()
            # To Django as if the client had gone: it drops what it has.
            return message if received <= limit else {"type": "http.disconnect"}

        declared = int(dict(scope["headers"]).get(b"content-length", b"0"))
        if declared <= limit:
            await self.application(scope, limited, send)
        if max(declared, received) <= limit:
            return
        while more and received <= 10 * limit:
            await counted()
        await _refuse(scope, send)


async def _refuse(scope: Message, send: Send) -> None:
    request = ASGIRequest(scope, io.BytesIO())
    with translation.override(translation.get_language_from_request(request)):
        limit = {"megabytes": settings.UPLOAD_MAX_BYTES // 1024**2}
        said = _("This request is larger than %(megabytes)d MB.") % limit
    response = JsonResponse({"detail": said}, status=413, headers={"Connection": "close"})
    secure(request, response)
    headers = [(name.encode(), value.encode()) for name, value in response.items()]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
