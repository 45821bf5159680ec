"""Turns drawn by lot, what raters say of them, and the passages that might have answered."""

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform
from django.utils.translation import gettext_lazy as _

from chat.models import Turn
from evaluation.models.verdicts import Verdict
from knowledge.models import Chunk, Document

RATERS = 2
MOST = 5000  # items of a sample


class Design(models.TextChoices):
    SIMPLE = "simple", _("simple random")
    STRATIFIED = "stratified", _("stratified")


class SamplingPlan(models.Model):
    """A sample that is drawn again and again."""

    class Every(models.TextChoices):
        WEEK = "week", _("every week, of the week before")
        MONTH = "month", _("every month, of the month before")

    name = models.CharField(_("name"), max_length=200)
    every = models.CharField(_("drawn"), max_length=10, choices=Every)
    # What `evaluation.sampling.Wish` keeps: frame, design, axes, size, raters.
    wish = models.JSONField(default=dict)
    active = models.BooleanField(_("active"), default=True)
    next_at = models.DateTimeField(_("drawn next"))
    said = models.TextField(_("last time"), blank=True)  # why nothing was drawn
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("by"),
    )

    class Meta:
        verbose_name = _("sampling plan")
        verbose_name_plural = _("sampling plans")
        ordering = ["name"]
        indexes = [
            models.Index(fields=["next_at"], condition=Q(active=True), name="plan_due"),
        ]

    def __str__(self) -> str:
        return self.name


class Sample(models.Model):
    """Turns drawn by lot from a frame. Once drawn it never changes; only labels are added."""

    name = models.CharField(_("name"), max_length=200)
    seed = models.BigIntegerField(_("seed"))  # the same seed and frame give the same turns
    design = models.CharField(_("design"), max_length=12, choices=Design)
    # {"from": ISO, "to": ISO, "bases": [id], "channels", "outcomes", "bands", "configuration"};
    # an empty list: all.
    frame = models.JSONField(_("frame"), default=dict)
    axes = ArrayField(
        models.CharField(max_length=20), verbose_name=_("stratified by"), default=list
    )
    # Passages that the answerer was shown when the sample was drawn: recall is at k.
    k = models.PositiveSmallIntegerField(_("passages shown"))
    raters = models.PositiveSmallIntegerField(
        _("raters an item"),
        default=RATERS,
        validators=[MinValueValidator(1), MaxValueValidator(RATERS)],
    )
    half_width = models.FloatField(null=True)  # the wanted half of the interval, 0–1
    expected = models.FloatField(null=True)  # the accuracy by which the size was reckoned
    population = models.PositiveIntegerField(_("population"))  # turns of the frame
    excluded = models.JSONField(_("excluded"), default=dict)  # by reason, how many
    size = models.PositiveIntegerField(_("items"))
    drawn_at = models.DateTimeField(_("drawn"), auto_now_add=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("by"),
    )
    plan = models.ForeignKey(
        SamplingPlan,
        models.SET_NULL,
        null=True,
        related_name="samples",
        verbose_name=_("sampling plan"),
    )

    class Meta:
        verbose_name = _("sample")
        verbose_name_plural = _("samples")
        ordering = ["-drawn_at"]
        permissions = [
            ("label_sample", _("Can label items of samples")),
            ("adjudicate_sample", _("Can decide where raters disagree")),
        ]
        constraints = [
            # What a plan draws again after it was killed is drawn once.
            models.UniqueConstraint(
                models.F("plan"),
                KeyTextTransform("from", "frame"),
                name="sample_of_plan_once",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Stratum(models.Model):
    """A part of a sample's frame. An item stands for `population / drawn` turns."""

    sample = models.ForeignKey(Sample, models.CASCADE, related_name="strata")
    # Of {"base": id, "channel", "outcome", "band"} the axes of the sample.
    key = models.JSONField(default=dict)
    population = models.PositiveIntegerField()
    drawn = models.PositiveIntegerField()

    class Meta:
        verbose_name = _("stratum")
        verbose_name_plural = _("strata")
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.sample_id}: {self.key}"

    @property
    def weight(self) -> float:
        """How many turns of the population an item stands for."""
        return self.population / self.drawn if self.drawn else 0.0


class Item(models.Model):
    """A turn of a sample. It outlives its turn, whose conversation may have to go."""

    sample = models.ForeignKey(Sample, models.CASCADE, related_name="items")
    stratum = models.ForeignKey(Stratum, models.CASCADE, related_name="items")
    turn = models.ForeignKey(Turn, models.SET_NULL, null=True, related_name="sampled")
    position = models.PositiveIntegerField()  # 1, 2, 3 …, by lot
    answered = models.BooleanField()  # else a person was called
    # Bases whose passages stand in it: who labels it may see all of them.
    bases = ArrayField(models.BigIntegerField(), default=list)
    pooled_at = models.DateTimeField(null=True)
    # None until its verdict is settled, then a value of Verdict.Kind.
    kind = models.CharField(max_length=20, null=True)  # noqa: DJ001 - "" would be a verdict
    # Raters differ, and nobody has decided.
    disputed = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("item")
        verbose_name_plural = _("items")
        ordering = ["sample", "position"]
        constraints = [
            models.UniqueConstraint(fields=["sample", "position"], name="item_position_once"),
        ]
        indexes = [
            models.Index(
                fields=["sample", "position"], condition=Q(disputed=True), name="item_disputed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sample_id}/{self.position}"


class LabelQuerySet(models.QuerySet["Label"]):
    def done(self) -> "LabelQuerySet":
        return self.filter(done_at__isnull=False)


class Label(models.Model):
    """What a rater says of an item; a claim and a draft until `done_at`."""

    item = models.ForeignKey(Item, models.CASCADE, related_name="labels")
    rater = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("rater")
    )
    adjudicates = models.BooleanField(default=False)  # decides where others disagree
    kind = models.CharField(_("verdict"), max_length=20, choices=Verdict.Kind, blank=True)
    # [{"n": 1, "supported": true}, …] in the order of the answer, with "again" where an earlier
    # sentence says the same.
    sentences = models.JSONField(default=list)
    note = models.CharField(_("note"), max_length=500, blank=True)
    seconds = models.PositiveIntegerField(_("seconds"), default=0)  # looked at, not only open
    # Of a draft: {"relevant": {key: bool}}, kept when the page is closed.
    draft: Any = models.JSONField(default=dict)
    lease_until = models.DateTimeField(null=True)
    done_at = models.DateTimeField(_("labelled"), null=True)

    objects = LabelQuerySet.as_manager()

    class Meta:
        verbose_name = _("label")
        verbose_name_plural = _("labels")
        constraints = [
            models.UniqueConstraint(fields=["item", "rater", "adjudicates"], name="label_once"),
            models.UniqueConstraint(
                fields=["item"],
                condition=Q(adjudicates=True, done_at__isnull=False),
                name="label_adjudicated_once",
            ),
            models.CheckConstraint(
                condition=Q(done_at__isnull=True) | ~Q(kind=""), name="label_says_something"
            ),
        ]
        indexes = [models.Index(fields=["rater", "-done_at"], name="label_of_rater")]

    def __str__(self) -> str:
        return f"{self.item}: {self.kind}"


class PooledPassage(models.Model):
    """A passage that might answer an item's question: shown, found by any method, or looked up."""

    item = models.ForeignKey(Item, models.CASCADE, related_name="pool")
    key = models.CharField(max_length=32)  # digest of its document and text
    chunk = models.ForeignKey(Chunk, models.SET_NULL, null=True, related_name="+")
    document = models.ForeignKey(Document, models.SET_NULL, null=True, related_name="+")
    title = models.CharField(max_length=500)
    locator = models.CharField(max_length=500, blank=True)
    text = models.TextField()  # as it stood when it was pooled, Markdown
    # "shown", "words", "dense", "sparse", "fused", "ranked", "reworded", "search"
    methods = ArrayField(models.CharField(max_length=20), default=list)
    rank = models.PositiveSmallIntegerField(null=True)  # among what the answerer was shown, from 1

    class Meta:
        verbose_name = _("pooled passage")
        verbose_name_plural = _("pooled passages")
        ordering = ["item", models.F("rank").asc(nulls_last=True), "pk"]
        constraints = [models.UniqueConstraint(fields=["item", "key"], name="pooled_once")]

    def __str__(self) -> str:
        return self.title


class Relevance(models.Model):
    """Whether a passage answers the question, or part of it, as a rater says."""

    passage = models.ForeignKey(PooledPassage, models.CASCADE, related_name="judged")
    rater = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    relevant = models.BooleanField()
    adjudicates = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("relevance")
        verbose_name_plural = _("relevances")
        constraints = [
            models.UniqueConstraint(
                fields=["passage", "rater", "adjudicates"], name="relevance_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.passage_id}: {self.relevant}"
