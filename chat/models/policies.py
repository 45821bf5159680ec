"""When a person is offered or called: chosen by staff, for all bases and for single ones."""

from typing import Any, ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from knowledge.models import KnowledgeBase

MOST = 9  # rounds or complaints until something is done


class EscalationPolicy(models.Model):
    """What `chat.policy` weighs a turn by. One row holds for every base without one of its own."""

    class Does(models.TextChoices):
        CALL = "call", _("call a person at once")
        LATER = "later", _("offer a person, call one from the number of times below on")
        OFFER = "offer", _("offer a person, the customer decides")
        GO_ON = "go on", _("nothing, OpsDesk goes on")

    knowledge_base = models.OneToOneField(
        KnowledgeBase,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="escalation_policy",
        verbose_name=_("knowledge base"),
    )
    asked = models.CharField(
        _("asked for a person"), max_length=10, choices=Does, default=Does.CALL
    )
    unhappy = models.CharField(_("complains"), max_length=10, choices=Does, default=Does.CALL)
    unhappy_times = models.PositiveSmallIntegerField(
        _("complaints until a person is called"),
        default=2,
        validators=[MinValueValidator(2), MaxValueValidator(MOST)],
    )
    abuse = models.CharField(_("is abusive"), max_length=10, choices=Does, default=Does.CALL)
    rounds = models.CharField(
        _("rounds without progress"), max_length=10, choices=Does, default=Does.CALL
    )
    rounds_times = models.PositiveSmallIntegerField(
        _("rounds that count as no progress"),
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(MOST)],
    )
    unsure = models.CharField(
        _("no reliable answer"), max_length=10, choices=Does, default=Does.CALL
    )
    mood = models.CharField(
        _("in a hurry or upset"), max_length=10, choices=Does, default=Does.OFFER
    )
    offer_first = models.BooleanField(_("offer once before calling"), default=False)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    # What each may do, for forms.
    CHOICES: ClassVar[dict[str, list[str]]] = {
        "asked": [Does.CALL, Does.OFFER],
        "unhappy": [Does.CALL, Does.LATER, Does.OFFER],
        "abuse": [Does.CALL, Does.OFFER, Does.GO_ON],
        "rounds": [Does.CALL, Does.OFFER, Does.GO_ON],
        "unsure": [Does.CALL, Does.OFFER],
        "mood": [Does.CALL, Does.OFFER, Does.GO_ON],
    }

    class Meta:
        verbose_name = _("escalation policy")
        verbose_name_plural = _("escalation policies")
        ordering = [models.F("knowledge_base").asc(nulls_first=True)]
        constraints = [
            models.UniqueConstraint(
                models.ExpressionWrapper(
                    Q(knowledge_base__isnull=True), output_field=models.BooleanField()
                ),
                condition=Q(knowledge_base__isnull=True),
                name="policy_one_default",
            ),
        ]

    def __str__(self) -> str:
        return str(self.knowledge_base or _("Default"))

    @classmethod
    def of(cls, base_id: int | None) -> "EscalationPolicy":
        """The base's own, else the one for all bases; unsaved when nobody ever set one."""
        rows = cls.objects.filter(Q(knowledge_base=base_id) | Q(knowledge_base__isnull=True))
        return rows.order_by(models.F("knowledge_base").asc(nulls_last=True)).first() or cls()

    @classmethod
    def settings(cls) -> list[str]:
        """The names of the fields that staff choose."""
        return [*cls.CHOICES, "unhappy_times", "rounds_times", "offer_first"]

    def restore(self) -> None:
        """Choose everything as it was delivered."""
        for name, value in type(self)().as_dict().items():
            setattr(self, name, value)
        self.save()

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.settings()}
