"""Who an anonymous visitor is: a random id in a signed cookie, set by the chat page."""

import secrets
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from chat.models import Citation, Conversation

COOKIE = "opsdesk_visitor"
YEAR = 365 * 24 * 3600
_signer = Signer(salt="visitor")


def visitor(cookies: Mapping[str, str]) -> str:
    """The 32 hex digits of the visitor who sent `cookies`; empty without a cookie we signed."""
    try:
        return _signer.unsign(cookies.get(COOKIE, ""))
    except BadSignature:
        return ""


def remember(request: HttpRequest, response: HttpResponse) -> None:
    """Make the browser that asked a visitor, unless it is one."""
    if visitor(request.COOKIES):
        return
    response.set_cookie(
        COOKIE,
        _signer.sign(secrets.token_hex(16)),
        max_age=YEAR,
        httponly=True,
        samesite="Lax",
        secure=settings.HTTPS or request.is_secure(),
    )


def conversations(user: Any, visitor: str) -> QuerySet[Conversation]:
    """Those that this person made: as `user`, or as `visitor` while nobody was signed in."""
    mine = Q(pk=None)
    if visitor:
        mine |= Q(visitor=visitor, user=None)
    if user.is_authenticated:
        mine |= Q(user=user)
    return Conversation.objects.filter(mine)


def cited(request: HttpRequest) -> QuerySet[Any]:
    """Ids of the revisions that answers in this person's conversations cite."""
    mine = conversations(request.user, visitor(request.COOKIES))
    return Citation.objects.filter(message__conversation__in=mine).values("revision")


def may_read(conversation: Conversation, user: Any, visitor: str) -> bool:
    """Whether it is theirs, or they are staff who read conversations."""
    if user.is_staff and user.has_perm("chat.view_conversation"):
        return True
    return conversations(user, visitor).filter(pk=conversation.pk).exists()
