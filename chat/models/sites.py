"""Sites that show the chat in a widget of theirs."""

import re
import secrets

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from knowledge.models import KnowledgeBase
from opsdesk.sealing import seal, unseal

_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::\d{1,5})?")


def _key() -> str:
    return secrets.token_urlsafe(12)


def validate_origins(lines: str) -> None:
    for origin in lines.split():
        if not _ORIGIN.fullmatch(origin):
            sentence = _("“%(origin)s” is no origin: https://, a name and perhaps a port.")
            raise ValidationError(sentence, params={"origin": Truncator(origin).chars(60)})


class WidgetSite(models.Model):
    name = models.CharField(_("name"), max_length=100)
    # Stands in the page of the site: tells which it is, and is no secret.
    key = models.CharField(max_length=40, unique=True, default=_key, editable=False)
    origins = models.TextField(
        _("origins"), validators=[validate_origins],
        help_text=_(
            "One a line, as https://portal.example.com, without a path. Only their pages may show"
            " the chat."
        ),
    )  # fmt: skip
    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.SET_NULL, null=True, blank=True, related_name="+",
        verbose_name=_("knowledge base"),
        help_text=_("Empty: all that visitors may read."),
    )  # fmt: skip
    title = models.CharField(
        _("title"), max_length=60, blank=True, help_text=_("Above the chat. Empty: OpsDesk.")
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    secret = models.TextField(editable=False)  # sealed; what the site signs identities with
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("site with the widget")
        verbose_name_plural = _("sites with the widget")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def allows(self, origin: str) -> bool:
        return origin in self.origins.split()

    def renew_secret(self) -> str:
        """Give it a new secret, which is returned. The caller saves."""
        raw = secrets.token_urlsafe(32)
        self.secret = seal(raw)
        return raw

    @property
    def signing_key(self) -> str:
        """The secret; "" when it cannot be opened any more."""
        return unseal(self.secret) or ""
