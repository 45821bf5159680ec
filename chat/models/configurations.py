"""What decides how questions are answered, as named versions: `chat.configurations`."""

import hashlib
import json
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class ConfigurationQuerySet(models.QuerySet["Configuration"]):
    def in_force(self) -> Self:
        """The one in use, and those that an experiment gives to some visitors."""
        return self.filter(Q(state=Configuration.State.ACTIVE) | Q(on_trial=True))


class Configuration(models.Model):
    """Settings and prompts that hold in the place of the environment's and the files'.

    Only drafts change; of what was ever in use another version is made.
    """

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        CHECKING = "checking", _("being replayed")
        ACTIVE = "active", _("in use")
        EARLIER = "earlier", _("used earlier")

    name = models.CharField(_("name"), max_length=100)
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    note = models.CharField(_("what it is for"), max_length=300, blank=True)
    # By the names of `chat.configurations.TUNABLE`, prompts as "prompt:<name>".
    overrides = models.JSONField(default=dict, blank=True)
    state = models.CharField(
        _("state"), max_length=20, choices=State, default=State.DRAFT, editable=False
    )
    on_trial = models.BooleanField(_("in an experiment"), default=False, editable=False)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    used_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("put to use by"),
    )
    # Also by an experiment, for a share of the visitors.
    used_at = models.DateTimeField(_("put to use"), null=True, editable=False)
    overruled = models.CharField(_("used in spite of the gate"), max_length=300, editable=False)

    objects = ConfigurationQuerySet.as_manager()

    class Meta:
        verbose_name = _("configuration")
        verbose_name_plural = _("configurations")
        ordering = ["-id"]
        permissions = [("overrule_gate", _("Can publish what a gate refuses"))]
        constraints = [
            models.UniqueConstraint(fields=["name", "version"], name="configuration_version_once"),
            models.UniqueConstraint(
                fields=["state"], condition=Q(state="active"), name="configuration_one_in_use"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    @property
    def digest(self) -> str:
        written = json.dumps(self.overrides, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(written.encode()).hexdigest()[:12]

    @property
    def editable(self) -> bool:
        return self.state == self.State.DRAFT and self.used_at is None
