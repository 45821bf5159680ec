"""What agents do again and again, in one step."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from handoff.models.agents import Team
from handoff.models.handoffs import TAG_LENGTH, Handoff
from handoff.models.replies import AGENT_TEXT, NAME

LONGEST_SNOOZE = 7 * 24 * 60  # minutes


class Macro(models.Model):
    """A reply, a note, priority and tags, and what becomes of the conversation: all or nothing."""

    class Then(models.TextChoices):
        STAY = "", _("nothing more")
        TEAM = "team", _("transfer to a team")
        QUEUE = "queue", _("back to the queue")
        SNOOZE = "snooze", _("snooze")
        BOT = "bot", _("return to OpsDesk")
        RESOLVE = "resolve", _("resolve")

    name = models.CharField(_("name"), max_length=30, unique=True, validators=[NAME])
    team = models.ForeignKey(
        Team, models.CASCADE, null=True, blank=True, verbose_name=_("team"),
        help_text=_("Empty: for everybody."), related_name="macros",
    )  # fmt: skip
    reply = models.TextField(_("reply"), max_length=2000, blank=True, help_text=AGENT_TEXT)
    note = models.TextField(_("private note"), max_length=2000, blank=True, help_text=AGENT_TEXT)
    priority = models.PositiveSmallIntegerField(
        _("priority"), choices=Handoff.Priority, null=True, blank=True,
        help_text=_("Empty: stays as it is."),
    )  # fmt: skip
    tags = ArrayField(
        models.CharField(max_length=TAG_LENGTH),
        verbose_name=_("tags"),
        default=list,
        blank=True,
        help_text=_("Added to those that are there, separated by commas."),
    )
    then = models.CharField(_("then"), max_length=10, choices=Then, default=Then.STAY, blank=True)
    to_team = models.ForeignKey(
        Team, models.CASCADE, null=True, blank=True, verbose_name=_("to the team"), related_name="+"
    )
    minutes = models.PositiveIntegerField(
        _("minutes"), null=True, blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_SNOOZE)],
        help_text=_("How long it is snoozed, or until its customer writes."),
    )  # fmt: skip

    class Meta:
        verbose_name = _("macro")
        verbose_name_plural = _("macros")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        wrong: dict[str, Any] = {}
        if (self.then == self.Then.TEAM) != (self.to_team_id is not None):
            wrong["to_team"] = _("A team is given where it is transferred to one, and only there.")
        if (self.then == self.Then.SNOOZE) != (self.minutes is not None):
            wrong["minutes"] = _("Minutes are given where it is snoozed, and only there.")
        if wrong:
            raise ValidationError(wrong)
        does = (self.reply.strip(), self.note.strip(), self.tags, self.then)
        if not any(does) and self.priority is None:
            raise ValidationError(_("Say what the macro does."))

    @property
    def steps(self) -> list[str]:
        """What it does, a few words each, in the order in which it is done."""
        told = [str(_("private note"))] if self.note.strip() else []
        told += [str(_("reply"))] if self.reply.strip() else []
        if self.priority is not None:
            told.append(_("priority: %(priority)s") % {"priority": self.get_priority_display()})
        told += [f"#{tag}" for tag in self.tags]
        if self.to_team is not None:
            told.append(_("transfer to %(team)s") % {"team": self.to_team})
        elif self.minutes is not None:
            told.append(_("snooze %(minutes)s min") % {"minutes": self.minutes})
        elif self.then:
            told.append(str(self.get_then_display()))
        return told
