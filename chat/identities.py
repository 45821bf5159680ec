"""Who an embedding site says its visitor is: a JWT that the site signs, good for minutes.

The widget hands it over, it lies in a cookie of the frame and is checked again with everything
that comes: `docs/widget.md`.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import jwt

from chat.models import WidgetSite
from opsdesk.errors import BoundaryError

COOKIE = "opsdesk_identity"
LONGEST = 15 * 60  # seconds that a token may be good for
LEEWAY = 30  # seconds that the site's clock may be wrong
LENGTH = 200  # characters of an identity


class Unverified(BoundaryError):
    """The token is not the site's, is expired, or says nothing. The text is for its developers."""


@dataclass(frozen=True)
class Known:
    """A visitor whom a site vouches for."""

    site: int
    identity: str


def verify(site: WidgetSite, token: str) -> Known:
    """Whom `token` is about. Raises Unverified."""
    key = site.signing_key
    if not key or not site.enabled:
        raise Unverified("the site is off, or has no secret", permanent=True)
    try:
        claims = jwt.decode(
            token, key, algorithms=["HS256"], leeway=LEEWAY,
            options={"require": ["exp", "sub"], "verify_aud": False},
        )  # fmt: skip
    except jwt.InvalidTokenError as error:
        raise Unverified(str(error), permanent=True) from error
    if claims["exp"] - time.time() > LONGEST + LEEWAY:
        raise Unverified(f"exp is more than {LONGEST // 60} minutes away", permanent=True)
    identity = claims["sub"].strip()
    if not 0 < len(identity) <= LENGTH or "\0" in identity:
        raise Unverified(f"sub must have 1 to {LENGTH} characters", permanent=True)
    return Known(site.pk, identity)


def pack(site: WidgetSite, token: str) -> str:
    return f"{site.key}:{token}"


def known(cookies: Mapping[str, str]) -> Known | None:
    """The visitor whom `cookies` prove to be somebody now."""
    key, _colon, token = cookies.get(COOKIE, "").partition(":")
    site = WidgetSite.objects.filter(key=key, enabled=True).first() if token else None
    if site is None:
        return None
    try:
        return verify(site, token)
    except Unverified:
        return None
