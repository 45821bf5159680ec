"""Headers that every response carries, static files and errors included."""

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'{sockets}; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
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
