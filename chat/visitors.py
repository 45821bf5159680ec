"""Who an anonymous visitor is: a random id in a signed cookie, set by the chat page."""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from chat import identities
from chat.identities import Known
from chat.models import Citation, Conversation

COOKIE = "opsdesk_visitor"
YEAR = 365 * 24 * 3600
_signer = Signer(salt="visitor")
_LOCAL = re.compile(r"(?:localhost|127\.[\d.]+|\[::1\])(?::\d+)?$")


def visitor(cookies: Mapping[str, str]) -> str:
    """The 32 hex digits of the visitor who sent `cookies`; empty without a cookie we signed."""
    try:
        return _signer.unsign(cookies.get(COOKIE, ""))
    except BadSignature:
        return ""


def remember(request: HttpRequest, response: HttpResponse, framed: bool = False) -> None:
    """Make the browser that asked a visitor, unless it is one; `framed`: in another's page."""
    if not visitor(request.COOKIES):
        keep(request, response, COOKIE, _signer.sign(secrets.token_hex(16)), YEAR, framed)


def keep(
    request: HttpRequest, response: HttpResponse, name: str, value: str, seconds: int, framed: bool
) -> None:
    """Set a cookie that only the server reads. In a frame of another site browsers keep one
    only for that site's pages ("partitioned"), and only over https or on this machine."""
    secure = settings.HTTPS or request.is_secure()
    framed = framed and (secure or bool(_LOCAL.match(request.get_host())))
    response.set_cookie(
        name, value, max_age=seconds, httponly=True, samesite="Lax", secure=secure or framed
    )
    if framed:  # Python's cookies do not know the attribute before 3.14
        response.cookies[name]["samesite"] = "None; Partitioned"


def conversations(user: Any, visitor: str, known: Known | None = None) -> QuerySet[Conversation]:
    """Those that this person made: as `user`, as whom a site vouches for, or as `visitor`
    while nobody was signed in and no site said who it is."""
    mine = Q(pk=None)
    if visitor:
        mine |= Q(visitor=visitor, user=None, identity="")
    if known:
        mine |= Q(site=known.site, identity=known.identity)
    if user.is_authenticated:
        mine |= Q(user=user)
    return Conversation.objects.filter(mine)


def whose(conversation: Conversation) -> list[Any]:
    """What `conversations` looks at, of one that is in no site's frame."""
    return [conversation.user_id, conversation.visitor, conversation.identity]


def owns(user: Any, visitor: str, whose: list[Any]) -> bool:
    """As `conversations`, by `whose`, of a page of ours."""
    owner, made_by, identity = whose
    if user.is_authenticated and owner == user.pk:
        return True
    return bool(visitor) and (owner, made_by, identity) == (None, visitor, "")


def cited(request: HttpRequest) -> QuerySet[Any]:
    """Ids of the revisions that answers in this person's conversations cite."""
    return Citation.objects.filter(message__conversation__in=of(request)).values("revision")


def of(request: HttpRequest) -> QuerySet[Conversation]:
    """The conversations of whoever asks."""
    cookies = request.COOKIES
    return conversations(request.user, visitor(cookies), identities.known(cookies))


def may_read(conversation: Conversation, request: HttpRequest, public: bool = True) -> bool:
    """Whether it is theirs, or they are staff who read or serve conversations. What is not
    `public` in it is for staff alone."""
    user = request.user
    if user.is_staff and user.has_perm("chat.view_conversation"):
        return True
    if any(import_string(name)(user, conversation) for name in settings.CONVERSATION_READERS):
        return True
    return public and of(request).filter(pk=conversation.pk).exists()
