"""Tokens that programs sign in with, and services that failed."""

import hashlib
import secrets
from datetime import timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

USED_RESOLUTION = timedelta(minutes=1)  # a busy token writes its last use no more often


def digest(raw: str) -> str:
    # Unsalted and fast is right here: a token has 256 random bits, and is looked up by its digest.
    return hashlib.sha256(raw.encode()).hexdigest()


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def valid(self) -> Self:
        alive = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.filter(alive, user__is_active=True)

    def revoke(self) -> int:
        """End those that still live; the count of them."""
        return self.valid().update(expires_at=timezone.now())


class ApiToken(models.Model):
    """A key to the API. Only its digest is kept: the token itself is shown once, when issued."""

    class Scope(models.TextChoices):
        READ = "read", _("search and ask")
        WRITE = "write", _("everything the user may do")

    PREFIX = "opsdesk_"
    raw = ""  # the token itself, in the instance that generated it and nowhere else

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens", verbose_name=_("user")
    )
    name = models.CharField(_("name"), max_length=100, help_text=_("What will use it."))
    scope = models.CharField(_("scope"), max_length=10, choices=Scope, default=Scope.READ)
    prefix = models.CharField(_("begins with"), max_length=20, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    expires_at = models.DateTimeField(
        _("expires"), null=True, blank=True, help_text=_("Empty: when it is revoked.")
    )

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def generate(self) -> str:
        """Give it a new secret, which is returned and not kept. The caller saves."""
        self.raw = self.PREFIX + secrets.token_urlsafe(32)
        self.prefix, self.digest = self.raw[: len(self.PREFIX) + 4], digest(self.raw)
        return self.raw

    def used(self) -> None:
        now = timezone.now()
        if self.last_used_at is None or self.last_used_at < now - USED_RESOLUTION:
            ApiToken.objects.filter(pk=self.pk).update(last_used_at=now)


class OutageQuerySet(models.QuerySet["Outage"]):
    def stale(self) -> Self:
        return self.filter(seen_at__lt=timezone.now() - Outage.STALE)

    def failing(self) -> Self:
        return self.filter(ended_at=None, seen_at__gte=timezone.now() - Outage.STALE)


class Outage(models.Model):
    """A time in which a service outside failed and was left alone, as some process saw it."""

    # Since then nobody asked it: whether it answers is not known.
    STALE = timedelta(minutes=15)
    # Breakers' names; of a tool it is "tool:" and the tool's.
    LABELS: ClassVar = {
        "model": _("the language model"),
        "embedder": _("the embedding model"),
        "reranker": _("the reranker"),
        "vision": _("the vision model"),
        "tool": _("the tool"),
    }

    service = models.CharField(_("service"), max_length=100)
    reason = models.TextField(_("reason"), blank=True)
    began_at = models.DateTimeField(_("began"), default=timezone.now)
    seen_at = models.DateTimeField(_("last failure"), default=timezone.now, db_index=True)
    ended_at = models.DateTimeField(_("ended"), null=True)
    told = models.BooleanField(_("reported"), default=False)

    objects = OutageQuerySet.as_manager()

    class Meta:
        verbose_name = _("outage")
        verbose_name_plural = _("outages")
        ordering = ["-began_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["service"], condition=Q(ended_at=None), name="outage_one_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """What it is called on pages."""
        kind, _colon, name = self.service.partition(":")
        return f"{self.LABELS.get(kind, kind)} {name}".strip()

    @property
    def lasts(self) -> bool:
        return self.ended_at is None and self.seen_at > timezone.now() - self.STALE
