"""What a base learns from people: confirmed questions, the adapter fitted to them, words to add."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from knowledge.models.bases import KnowledgeBase
from knowledge.models.documents import Document


class ConfirmedPair(models.Model):
    """A question, and the document or passage that a person says answers it."""

    class Origin(models.TextChoices):
        LABEL = "label", _("label")
        VARIANT = "variant", _("other question of an entry")
        HANDOFF = "handoff", _("resolved by a person")
        IMPORT = "import", _("import")
        FEEDBACK = "feedback", _("feedback")

    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.CASCADE, related_name="pairs", verbose_name=_("knowledge base")
    )
    question = models.TextField(_("question"))
    key = models.CharField(max_length=32, editable=False)  # of the question, see `confirmed.key`
    # It stays when its revision is replaced; the passage is known again by what was parsed.
    document = models.ForeignKey(
        Document, models.CASCADE, related_name="pairs", verbose_name=_("document")
    )
    digest = models.CharField(max_length=32, blank=True)  # Chunk.digest; "": the whole document
    origin = models.CharField(_("origin"), max_length=10, choices=Origin)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("user"),
    )
    created_at = models.DateTimeField(_("when"), auto_now_add=True)
    # A person took it out: it is kept so that it does not come back by itself.
    dropped = models.BooleanField(_("taken out"), default=False)

    class Meta:
        verbose_name = _("confirmed question")
        verbose_name_plural = _("confirmed questions")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["document", "key"], name="pair_once"),
        ]

    def __str__(self) -> str:
        return self.question


class Adapter(models.Model):
    """What was fitted to the confirmed questions of a base; the active one counts in search."""

    knowledge_base = models.ForeignKey(
        KnowledgeBase, models.CASCADE, related_name="adapters", verbose_name=_("knowledge base")
    )
    active = models.BooleanField(_("active"), default=False)
    pairs = models.PositiveIntegerField(_("confirmed questions"))
    latest = models.DateTimeField()  # change among those that it was fitted to
    weight = models.FloatField(_("weight"))  # of its order beside the other ones; 0: none
    # Held-out confirmed questions: {"asked": 300, "without": {"5": .41}, "with": {"5": .6}}
    effect = models.JSONField(_("effect"), default=dict)
    projection = models.BinaryField()  # see `adapting.Projection`
    created_at = models.DateTimeField(_("learned"), auto_now_add=True)

    class Meta:
        verbose_name = _("adapter")
        verbose_name_plural = _("adapters")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["knowledge_base"], condition=Q(active=True), name="adapter_one_active"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.knowledge_base}, {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def shares(self) -> dict[str, list[int]]:
        """Of the confirmed questions what found its document, in percent."""
        return {
            name: [round(100 * share) for share in self.effect.get(name, {}).values()]
            for name in ("without", "with")
        }


class AdapterVectors(models.Model):
    """The passages of a base, and its confirmed questions, as an adapter sees them."""

    adapter = models.OneToOneField(
        Adapter, models.CASCADE, primary_key=True, related_name="vectors"
    )
    version = models.PositiveBigIntegerField()  # of the base as it was then
    points = models.BinaryField()  # see `adapting.Points`
    made_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"passages as {self.adapter} sees them"


class TermSuggestion(models.Model):
    """Two words that confirmed questions put in each other's place; a person decides on them."""

    class State(models.TextChoices):
        OPEN = "open", _("to decide on")
        ACCEPTED = "accepted", _("accepted")
        DISMISSED = "dismissed", _("dismissed")

    knowledge_base = models.ForeignKey(
        KnowledgeBase,
        models.CASCADE,
        related_name="term_suggestions",
        verbose_name=_("knowledge base"),
    )
    asked = models.CharField(_("asked"), max_length=100)
    written = models.CharField(_("written"), max_length=100)
    count = models.PositiveIntegerField(_("questions"))
    examples = models.JSONField(_("for example"), default=list)  # [["question", "what answers"]]
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )

    class Meta:
        verbose_name = _("suggested term")
        verbose_name_plural = _("suggested terms")
        ordering = ["-count", "asked", "written"]
        constraints = [
            models.UniqueConstraint(
                fields=["knowledge_base", "asked", "written"], name="term_suggestion_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.asked} → {self.written}"
