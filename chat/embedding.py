"""The chat in other sites' pages: the script they include, the page of its frame, and who they
say their visitor is. `docs/widget.md` tells sites how."""

import json
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, render
from django.utils import translation
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from chat import identities, views, visitors
from chat.limits import allow
from chat.models import WidgetSite
from knowledge.models import KnowledgeBase
from opsdesk.security import content_security_policy

IDENTITIES_A_MINUTE = 60  # of one address: a whole company may share it
TOKEN_BYTES = 3000  # with the key it must fit into a cookie
NOBODY = "'none'"

# What the script says in the site's page; the rest is said inside the frame.
STRINGS = {
    "open": _("Open the chat"),
    "close": _("Close the chat"),
    "title": _("Help desk chat"),
    "unread": _("Open the chat, %(count)s new"),
    "missing": _("The chat cannot be opened here."),
}


@cache_control(public=True, max_age=300)
@require_safe
def script(request: HttpRequest) -> HttpResponse:
    """What sites include, in every language: their tag says which."""
    said = {}
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            said[language] = {key: str(sentence) for key, sentence in STRINGS.items()}
    context = {"strings": json.dumps(said, ensure_ascii=False)}
    response = render(request, "chat/widget.js", context, "text/javascript; charset=utf-8")
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


@never_cache
@xframe_options_exempt
@require_safe
def frame(request: HttpRequest, key: str) -> HttpResponse:
    """The chat page in a frame of a page of `?origin=`, which must be the site's."""
    site = get_object_or_404(WidgetSite, key=key, enabled=True)
    origin = request.GET.get("origin", "")
    allowed = site.allows(origin)
    language = request.GET.get("language", "")
    if language in dict(settings.LANGUAGES):
        translation.activate(language)
        request.LANGUAGE_CODE = language  # type: ignore[attr-defined]
    response = _page(request, site, origin) if allowed else _refused(request)
    policy = content_security_policy(request)
    response["Content-Security-Policy"] = policy.replace(
        f"frame-ancestors {NOBODY}", f"frame-ancestors {origin if allowed else NOBODY}"
    )
    return response


def _page(request: HttpRequest, site: WidgetSite, origin: str) -> HttpResponse:
    wanted = site.knowledge_base.slug if site.knowledge_base else request.GET.get("base", "")
    bases = KnowledgeBase.objects.readable_by(AnonymousUser())
    if wanted:
        bases = bases.filter(slug=wanted)
    embedded = {
        "site": site.key,
        "origin": origin,
        "base": wanted,
        "known": identities.known(request.COOKIES) is not None,
        "cookie": identities.COOKIE in request.COOKIES,
    }
    title = site.title or request.GET.get("title", "")[:60]
    response = views.show(request, list(bases), {"embedded": embedded, "title": title})
    visitors.remember(request, response, framed=True)
    get_token(request)
    if request.META.pop("CSRF_COOKIE_NEEDS_UPDATE", False):  # as the frame's cookie, not as usual
        secret, age = request.META["CSRF_COOKIE"], settings.CSRF_COOKIE_AGE
        visitors.keep(request, response, settings.CSRF_COOKIE_NAME, secret, age, framed=True)
    return response


def _refused(request: HttpRequest) -> HttpResponse:
    return render(request, "403.html", status=403)


@csrf_exempt  # what it takes is signed, and a page that is not ours cannot send JSON here
@never_cache
@require_POST
def identify(request: HttpRequest, key: str) -> JsonResponse:
    """Keep what the site says of its visitor: {"token": JWT}; "" forgets it."""
    site = get_object_or_404(WidgetSite, key=key, enabled=True)
    if request.content_type != "application/json" or len(request.body) > TOKEN_BYTES:
        return JsonResponse({"detail": "a JSON object with a token is wanted"}, status=400)
    if not allow(f"identify:{request.META.get('REMOTE_ADDR', '?')}", IDENTITIES_A_MINUTE):
        return JsonResponse({"detail": "too many"}, status=429)
    token = _token(request.body)
    try:
        identity = identities.verify(site, token).identity if token else ""
    except identities.Unverified as error:
        response = JsonResponse({"detail": str(error)}, status=403)
    else:
        response = JsonResponse({"identity": identity})
    if response.status_code == 200 and token:
        value = identities.pack(site, token)
        visitors.keep(request, response, identities.COOKIE, value, identities.LONGEST, framed=True)
    else:  # nobody stays who the last token said
        visitors.keep(request, response, identities.COOKIE, "", 0, framed=True)
    return response


def _token(body: bytes) -> str:
    try:
        content: Any = json.loads(body)
    except ValueError:
        return "?"
    token = content.get("token") if isinstance(content, dict) else None
    return token if isinstance(token, str) else "?"
