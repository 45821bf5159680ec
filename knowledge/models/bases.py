"""Knowledge bases, who may do what with them, and their words."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Tier(models.TextChoices):
    """How much effort reading a file takes: our own parsers, or MinerU with its models."""

    NATIVE = "native", _("native, without models")
    BASIC = "basic", _("MinerU basic")
    STANDARD = "standard", _("MinerU standard")
    ADVANCED = "advanced", _("MinerU advanced")


class Originals(models.TextChoices):
    """Whether who may read an answer also gets the files that it cites."""

    GIVEN = "given", _("handed out")
    KEPT = "kept", _("shown by the page only")


class Scoped(models.Model):
    """What it holds for; empty: for all. A search with a scope leaves out what differs."""

    product = models.CharField(_("product"), max_length=100, blank=True)
    version = models.CharField(_("product version"), max_length=100, blank=True)
    environment = models.CharField(_("environment"), max_length=100, blank=True)
    tags = ArrayField(
        models.CharField(max_length=50), verbose_name=_("tags"), default=list, blank=True
    )
    expires_on = models.DateField(
        _("expires on"), null=True, blank=True, help_text=_("From this day on it answers no more.")
    )

    class Meta:
        abstract = True


class KnowledgeBaseQuerySet(models.QuerySet["KnowledgeBase"]):
    def readable_by(self, user: Any) -> "KnowledgeBaseQuerySet":
        """Those that `user` (a User or AnonymousUser) may be answered from."""
        if user.is_active and user.is_superuser:
            return self
        readable = Q(audience=KnowledgeBase.Audience.VISITORS)
        if user.is_authenticated and user.is_active:
            readable |= Q(audience=KnowledgeBase.Audience.SIGNED_IN)
            readable |= Q(audience=KnowledgeBase.Audience.GROUPS, groups__user=user)
        return self.filter(readable).distinct()

    def raise_version(self) -> None:
        """What they answer changes: in that transaction, the last of its locks."""
        self.update(version=F("version") + 1)


class KnowledgeBase(models.Model):
    class Audience(models.TextChoices):
        VISITORS = "visitors", _("Every visitor")
        SIGNED_IN = "signed_in", _("Signed-in users")
        GROUPS = "groups", _("Members of the groups below")

    slug = models.SlugField(_("slug"), unique=True)
    name = models.CharField(_("name"), max_length=200)
    description = models.TextField(_("description"), blank=True)
    audience = models.CharField(
        _("who may read"), max_length=20, choices=Audience, default=Audience.SIGNED_IN
    )
    groups = models.ManyToManyField(Group, verbose_name=_("groups"), blank=True)
    tier = models.CharField(
        _("way of reading"),
        max_length=20,
        choices=Tier,
        blank=True,
        help_text=_("How its documents are read, unless a document says otherwise."),
    )
    originals = models.CharField(
        _("original files"),
        max_length=20,
        choices=Originals,
        default=Originals.GIVEN,
        help_text=_("Whether answers offer the files they cite, unless a document says otherwise."),
    )
    # Which vectors answer for it; none: those of the active index. Set by `embedding` only.
    index = models.ForeignKey(
        "EmbeddingIndex",
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="bases",
        verbose_name=_("embedding index"),
    )
    index_before = models.ForeignKey(
        "EmbeddingIndex", models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    learns = models.BooleanField(
        _("learns"),
        default=True,
        help_text=_("Questions that people confirmed count when it is searched."),
    )
    gated = models.BooleanField(
        _("documents wait for the gate"),
        default=False,
        help_text=_(
            "New and replaced documents are tried on golden questions first; what makes answers "
            "worse is held back. Else they answer at once and are replayed then. Edited passages, "
            "FAQ entries, terms and what is retired answer at once in any case."
        ),
    )
    # Confirmed questions when it learned last, and the latest of them, whatever came of it.
    learned_from = models.PositiveIntegerField(default=0, editable=False)
    learned_until = models.DateTimeField(null=True, editable=False)
    # Raised by every change of what the base answers; caches are keyed by it.
    version = models.PositiveBigIntegerField(_("version"), default=0, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = KnowledgeBaseQuerySet.as_manager()

    class Meta:
        verbose_name = _("knowledge base")
        verbose_name_plural = _("knowledge bases")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Role(models.Model):
    """What the members of a group may do in the administration with one base.

    Who has Django's own permissions on knowledge has them on every base; roles are for
    those who have not. See `knowledge.permissions`.
    """

    class Kind(models.TextChoices):
        VIEWER = "viewer", _("viewer: sees everything of it")
        CURATOR = "curator", _("curator: uploads, edits, approves and deletes")

    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.CASCADE, related_name="roles", verbose_name=_("knowledge base")
    )
    group = models.ForeignKey(
        Group, models.CASCADE, related_name="knowledge_roles", verbose_name=_("group")
    )
    kind = models.CharField(_("role"), max_length=20, choices=Kind, default=Kind.CURATOR)

    class Meta:
        verbose_name = _("role")
        verbose_name_plural = _("roles")
        constraints = [
            models.UniqueConstraint(fields=["knowledge_base", "group"], name="role_once"),
        ]

    def __str__(self) -> str:
        return f"{self.group}: {self.get_kind_display()}"


class Term(models.Model):
    """A word of a base and the other words that mean it; each finds what the others find."""

    knowledge_base = models.ForeignKey(
        KnowledgeBase,
        models.CASCADE,
        related_name="synonyms",
        verbose_name=_("knowledge base"),
    )
    canonical = models.CharField(_("term"), max_length=100)
    variants = ArrayField(
        models.CharField(max_length=100), verbose_name=_("also called"), default=list, blank=True
    )
    note = models.CharField(_("note"), max_length=300, blank=True)
    enabled = models.BooleanField(_("enabled"), default=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("term")
        verbose_name_plural = _("terms")
        ordering = ["canonical"]
        constraints = [
            models.UniqueConstraint(fields=["knowledge_base", "canonical"], name="term_once"),
        ]

    def __str__(self) -> str:
        return self.canonical


class Calibration(models.Model):
    """How sure one base must be, and what tells it: a model fitted to staff's labels.

    Rows are never changed but for which one is in use; without one in use the shipped model and
    `settings.CONFIDENCE` hold. The shares are of answers on labels held out, 0–1.
    """

    knowledge_base = models.ForeignKey(
        KnowledgeBase,
        models.CASCADE,
        related_name="calibrations",
        verbose_name=_("knowledge base"),
    )
    target = models.FloatField(_("wanted share of right answers"))
    threshold = models.FloatField(_("threshold"))
    intercept = models.FloatField()
    coefficients = models.JSONField()  # by feature of knowledge.confidence
    base_rate = models.FloatField(_("share of questions it can answer"))
    labels = models.PositiveIntegerField(_("labels"))
    precision = models.FloatField(_("right answers"))
    precision_low = models.FloatField()  # 95 % interval
    precision_high = models.FloatField()
    coverage = models.FloatField(_("answered"))
    active = models.BooleanField(_("in use"), default=False)
    waiting = models.BooleanField(_("waits for the gate"), default=False)
    used_at = models.DateTimeField(_("put to use"), null=True, editable=False)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("by"),
    )
    at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        verbose_name = _("calibration")
        verbose_name_plural = _("calibrations")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["knowledge_base"], condition=Q(active=True), name="calibration_one_in_use"
            ),
            models.CheckConstraint(
                condition=Q(threshold__gte=0, threshold__lte=1, target__gte=0, target__lte=1),
                name="calibration_shares",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.knowledge_base}: {self.target:.0%}"
