"""Limits on trying: places in a fixed number of slots, each of which falls free again by itself."""

import hashlib
import unicodedata
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest


class Slots:
    """`count` places for what `parts` name; a taken one is free again after `seconds`.

    Taking is one `cache.add` a place, so simultaneous takers never get more than `count`.
    """

    def __init__(self, *parts: str, count: int, seconds: int) -> None:
        name = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        self.keys = [f"slots:{name}:{n}" for n in range(count)]
        self.seconds = seconds

    def take(self) -> str | None:
        """The key of a place, or None when all are taken."""
        return next((key for key in self.keys if cache.add(key, 1, self.seconds)), None)

    def free(self) -> None:
        cache.delete_many(self.keys)


class ThrottledModelBackend(ModelBackend):
    """Checks no password for an account and address, or an address, that failed too often.

    It fails like a wrong password does, so a stranger learns nothing from it.
    """

    def authenticate(  # type: ignore[override]  # as in Django's own, whose stub says **kwargs
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        if request is None:  # a program, not a person at a form
            return super().authenticate(request, username, password, **kwargs)
        address = request.META.get("REMOTE_ADDR", "")
        account = unicodedata.normalize("NFKC", username or "").casefold()
        seconds = settings.LOGIN_SECONDS
        mine = Slots("login", address, account, count=settings.LOGIN_TRIES, seconds=seconds)
        everyone = Slots("login", address, count=settings.LOGIN_TRIES * 6, seconds=seconds)
        if mine.take() is None or (place := everyone.take()) is None:
            raise PermissionDenied
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            mine.free()
            cache.delete(place)
        return user

    async def aauthenticate(  # type: ignore[override]
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        return await sync_to_async(self.authenticate)(request, username, password, **kwargs)
