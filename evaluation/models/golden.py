"""Questions whose right answer is known, and what came of asking them."""

from typing import Any, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from chat.models import Configuration, Turn
from knowledge.models import Chunk, Document, KnowledgeBase


class GoldenQuerySet(models.QuerySet["GoldenQuestion"]):
    def approved(self) -> Self:
        return self.exclude(approved_at=None)

    def stale(self) -> Self:
        """Those with a passage or a document that is gone."""
        return self.filter(Exists(GoldenSource.objects.gone().filter(question=OuterRef("pk"))))


class GoldenQuestion(models.Model):
    """A question with what has to come of it. One that nobody approved is a proposal."""

    class Expected(models.TextChoices):
        ANSWERED = "answered", _("answered")
        REFUSED = "refused", pgettext_lazy("what has to come", "refused")
        CLARIFIED = "clarified", _("asked back")

    class Source(models.TextChoices):
        MANUAL = "manual", _("written by hand")
        LABEL = "label", _("labelled answer")
        HANDOFF = "handoff", _("handoff")
        GAP = "gap", _("gap")
        IMPORT = "import", _("import")

    knowledge_base = models.ForeignKey(
        KnowledgeBase,
        models.CASCADE,
        related_name="golden_questions",
        verbose_name=_("knowledge base"),
    )
    question = models.TextField(_("question"), max_length=2000)
    digest = models.CharField(max_length=32, editable=False)  # of the question as it is compared
    expected = models.CharField(
        _("what has to come"), max_length=20, choices=Expected, default=Expected.ANSWERED
    )
    facts = ArrayField(
        models.CharField(max_length=200),
        verbose_name=_("has to say"),
        default=list,
        blank=True,
        help_text=_("One a line: words, numbers or commands that the answer must show."),
    )
    must = models.BooleanField(
        _("must not be lost"),
        default=False,
        help_text=_("A change that loses it is refused, whatever else it wins."),
    )
    tags = ArrayField(
        models.CharField(max_length=50), verbose_name=_("tags"), default=list, blank=True
    )
    source = models.CharField(
        _("from"), max_length=20, choices=Source, default=Source.MANUAL, editable=False
    )
    reference = models.CharField(max_length=300, blank=True, editable=False)  # where it is from
    note = models.CharField(_("note"), max_length=500, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("approved by"),
    )
    approved_at = models.DateTimeField(_("approved"), null=True, editable=False)

    objects = GoldenQuerySet.as_manager()

    class Meta:
        verbose_name = _("golden question")
        verbose_name_plural = _("golden questions")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["knowledge_base", "digest"], name="golden_once"),
        ]

    def __str__(self) -> str:
        return self.question


class GoldenSourceQuerySet(models.QuerySet["GoldenSource"]):
    def gone(self) -> Self:
        there = Chunk.objects.filter(document=OuterRef("document"), digest=OuterRef("digest"))
        lost = ~Q(digest="") & ~Exists(there)
        return self.filter(
            Q(document=None) | Q(document__current=None) | Q(document__retired_at__isnull=False)
            | lost
        )  # fmt: skip


class GoldenSource(models.Model):
    """A document, or a passage of it, that answers a golden question.

    The digest is of the passage as the parser made it, so that it is known again in the next
    revision; a deleted document is known again by its external id.
    """

    question = models.ForeignKey(GoldenQuestion, models.CASCADE, related_name="sources")
    document = models.ForeignKey(
        Document, models.SET_NULL, null=True, related_name="+", verbose_name=_("document")
    )
    external_id = models.CharField(max_length=500, blank=True)
    title = models.CharField(_("title"), max_length=500, blank=True)
    digest = models.CharField(max_length=32, blank=True)  # "": any passage of the document
    locator = models.CharField(_("place"), max_length=500, blank=True)
    excerpt = models.CharField(_("begins"), max_length=200, blank=True)

    objects = GoldenSourceQuerySet.as_manager()

    class Meta:
        verbose_name = _("source")
        verbose_name_plural = _("sources")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["question", "document", "digest"], name="golden_source_once"
            ),
        ]

    def __str__(self) -> str:
        return " · ".join(filter(None, [self.title, self.locator]))


class RunQuerySet(models.QuerySet["Run"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=[Run.State.QUEUED, Run.State.RUNNING])


class Run(models.Model):
    """Questions asked again, all with the same settings, and the versions that mattered."""

    class Kind(models.TextChoices):
        MANUAL = "manual", _("started by hand")
        GATE = "gate", _("before a change")
        WATCH = "watch", _("after a change")

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        CANCELLED = "cancelled", _("cancelled")

    class Verdict(models.TextChoices):
        PASSED = "passed", _("passed")
        REFUSED = "refused", _("worse")
        ACCEPTED = "accepted", _("worse, and meant to be so")

    kind = models.CharField(_("kind"), max_length=20, choices=Kind, default=Kind.MANUAL)
    name = models.CharField(_("name"), max_length=200, blank=True)
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.QUEUED)
    knowledge_base = models.ForeignKey(
        KnowledgeBase,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("knowledge base"),
    )  # empty: all
    configuration = models.ForeignKey(
        Configuration,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("configuration"),
    )
    overrides = models.JSONField(default=dict)  # `opsdesk.tuning` with which it is asked
    versions = models.JSONField(_("versions"), default=dict)  # `evaluation.running.versions`
    # Of the versions and the golden questions: `evaluation.running.fingerprint`.
    fingerprint = models.CharField(max_length=32, db_index=True)
    # What it was run for, as "configuration:<id>"; and what it is compared with.
    subject = models.CharField(max_length=100, blank=True, db_index=True)
    baseline = models.ForeignKey(
        "self", models.SET_NULL, null=True, related_name="+", verbose_name=_("compared with")
    )
    verdict = models.CharField(_("verdict"), max_length=20, choices=Verdict, blank=True)
    reasons = models.JSONField(default=list)  # sentences
    total = models.PositiveIntegerField(_("questions"), default=0)
    done = models.PositiveIntegerField(_("asked"), default=0)
    tracked = models.CharField(max_length=200, blank=True)  # its id at `evaluation.tracking`
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    worked_at = models.DateTimeField(default=timezone.now, editable=False)  # on it, or put in line
    finished_at = models.DateTimeField(_("finished"), null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name or f"{self.get_kind_display()} #{self.pk}"

    @property
    def unfinished(self) -> bool:
        return self.state in (Run.State.QUEUED, Run.State.RUNNING)


class Result(models.Model):
    """What came of one question of a run; asked when it has an outcome."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="results")
    position = models.PositiveIntegerField()
    # The same in every run: "g<id>" of a golden question, "t<digest>" of one from traffic.
    key = models.CharField(max_length=40)
    golden = models.ForeignKey(GoldenQuestion, models.SET_NULL, null=True, related_name="results")
    turn = models.ForeignKey(Turn, models.SET_NULL, null=True, related_name="+")
    knowledge_base = models.ForeignKey(KnowledgeBase, models.SET_NULL, null=True, related_name="+")
    question = models.TextField(_("question"))
    outcome = models.CharField(_("outcome"), max_length=20, blank=True)
    right = models.BooleanField(_("right"), null=True)  # None: nobody said what is
    why = models.CharField(max_length=20, blank=True)  # why it is wrong: `evaluation.running.WHY`
    confidence = models.FloatField(_("confidence"), null=True)
    cited = models.JSONField(default=list)  # [{"document", "title", "locator"}]
    text = models.TextField(_("answer"), blank=True)
    ms = models.PositiveIntegerField(null=True)

    class Meta:
        verbose_name = _("result")
        verbose_name_plural = _("results")
        ordering = ["run", "position"]
        constraints = [
            models.UniqueConstraint(fields=["run", "key"], name="result_once_a_run"),
        ]

    def __str__(self) -> str:
        return self.question

    @property
    def solved(self) -> bool:
        """Right, or where nobody said what is: answered."""
        return self.outcome == Turn.Outcome.ANSWERED if self.right is None else self.right

    def as_dict(self) -> dict[str, Any]:
        return {
            "question": self.question, "outcome": self.outcome, "right": self.right,
            "why": self.why, "confidence": self.confidence, "ms": self.ms,
        }  # fmt: skip
