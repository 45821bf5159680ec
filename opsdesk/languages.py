"""Which language a socket speaks."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import get_language_from_request


def language_of(scope: dict[str, Any], asked: str = "") -> str:
    """What the page asks for; else the page's: of its cookie, or of what the browser wants."""
    if asked in dict(settings.LANGUAGES):
        return asked
    request = HttpRequest()
    request.COOKIES = scope.get("cookies", {})
    headers = dict(scope.get("headers", []))
    request.META["HTTP_ACCEPT_LANGUAGE"] = headers.get(b"accept-language", b"").decode("latin-1")
    return get_language_from_request(request)
