"""Who can take conversations over, how many at once, and in which teams."""

from datetime import timedelta

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from handoff.models.calendars import Calendar
from knowledge.models import KnowledgeBase

SEEN = timedelta(minutes=5)  # an open console says so every minute


class AgentQuerySet(models.QuerySet["Agent"]):
    def available(self) -> "AgentQuerySet":
        """On duty, and at their desk until lately."""
        return self.filter(on_duty=True, user__is_active=True, seen_at__gte=timezone.now() - SEEN)

    def free(self) -> "AgentQuerySet":
        """With room for one more conversation."""
        return self.filter(load__lt=F("capacity"))


class Agent(models.Model):
    """A member of staff who can take conversations over."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="agent", verbose_name=_("user")
    )
    on_duty = models.BooleanField(_("on duty"), default=False)
    seen_at = models.DateTimeField(_("last seen"), null=True, editable=False)
    capacity = models.PositiveSmallIntegerField(
        _("conversations at once"), default=5, help_text=_("More are neither offered nor taken.")
    )
    # Conversations owned or on offer, counted by `ownership.change` alone.
    load = models.PositiveSmallIntegerField(_("conversations now"), default=0, editable=False)
    skills = ArrayField(
        models.CharField(max_length=100),
        verbose_name=_("skills"),
        default=list,
        blank=True,
        help_text=_("Products and languages; who asks about one is routed to who has it."),
    )
    offered_at = models.DateTimeField(null=True, editable=False)  # last: who waited longest is next

    objects = AgentQuerySet.as_manager()

    class Meta:
        verbose_name = _("agent")
        verbose_name_plural = _("agents")
        constraints = [
            models.CheckConstraint(
                condition=Q(load__lte=F("capacity")),
                name="agent_within_capacity",
                violation_error_message=_("This agent has more conversations right now."),
            ),
        ]

    def __str__(self) -> str:
        return self.user.get_full_name() or self.user.get_username()


class Team(models.Model):
    """Agents who answer for some knowledge bases, their hours and what they promise."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    bases = models.ManyToManyField(
        KnowledgeBase,
        verbose_name=_("knowledge bases"),
        blank=True,
        related_name="teams",
        help_text=_("Questions to these come here. Without any: what no other team answers for."),
    )
    agents = models.ManyToManyField(Agent, through="Membership", related_name="teams")
    calendar = models.ForeignKey(
        Calendar, models.PROTECT, null=True, blank=True, verbose_name=_("business hours")
    )
    # Minutes of business hours; empty: nothing promised.
    first_minutes = models.PositiveIntegerField(_("first answer within"), null=True, blank=True)
    next_minutes = models.PositiveIntegerField(_("next answers within"), null=True, blank=True)
    resolve_minutes = models.PositiveIntegerField(_("resolved within"), null=True, blank=True)

    class Meta:
        verbose_name = _("team")
        verbose_name_plural = _("teams")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    team = models.ForeignKey(
        Team, models.CASCADE, related_name="memberships", verbose_name=_("team")
    )
    agent = models.ForeignKey(
        Agent, models.CASCADE, related_name="memberships", verbose_name=_("agent")
    )
    leads = models.BooleanField(
        _("supervisor"), default=False, help_text=_("May assign and reassign conversations.")
    )

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        constraints = [models.UniqueConstraint(fields=["team", "agent"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.team} · {self.agent}"
