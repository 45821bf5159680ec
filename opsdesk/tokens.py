"""Signing in to the API with a token: `Authorization: Bearer <token>`, or `Token <token>`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext_lazy as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from opsdesk.models import ApiToken, digest

if TYPE_CHECKING:  # it imports the classes named in the settings, so this module
    from rest_framework.views import APIView


class TokenAuthentication(BaseAuthentication):
    keywords = (b"bearer", b"token")

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, ApiToken] | None:
        words = get_authorization_header(request).split()
        if not words or words[0].lower() not in self.keywords:
            return None
        raw = words[1].decode("ascii", "replace") if len(words) == 2 else ""
        token = ApiToken.objects.valid().select_related("user").filter(digest=digest(raw)).first()
        if token is None:
            raise AuthenticationFailed(_("This token is wrong, expired or revoked."))
        token.used()
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="opsdesk"'


class HasScope(BasePermission):
    """A reading token only reads. A view that reads by POST says `token_scope = "read"`."""

    message = _("This token may only read.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.auth, ApiToken) or request.auth.scope == ApiToken.Scope.WRITE:
            return True
        reads = request.method in SAFE_METHODS or getattr(view, "token_scope", "") == "read"
        return reads


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
