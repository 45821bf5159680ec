"""When people are there: hours of the week, holidays, and weekends that are worked (调休)."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Calendar(models.Model):
    """Business hours that teams share. Without hours of the week it is always open."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    country = models.CharField(
        _("holidays of"),
        max_length=2,
        blank=True,
        default="CN",
        help_text=_("Two letters of a country. Its holidays are brought in once a year."),
    )

    class Meta:
        verbose_name = _("business hours")
        verbose_name_plural = _("business hours")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Hours(models.Model):
    """From when to when on a day of the week; a day may have several."""

    class Weekday(models.IntegerChoices):
        MONDAY = 0, _("Monday")
        TUESDAY = 1, _("Tuesday")
        WEDNESDAY = 2, _("Wednesday")
        THURSDAY = 3, _("Thursday")
        FRIDAY = 4, _("Friday")
        SATURDAY = 5, _("Saturday")
        SUNDAY = 6, _("Sunday")

    calendar = models.ForeignKey(Calendar, models.CASCADE, related_name="hours")
    weekday = models.PositiveSmallIntegerField(_("day"), choices=Weekday)
    opens = models.TimeField(_("opens at"))
    closes = models.TimeField(_("closes at"))

    class Meta:
        verbose_name = _("hours of a day")
        verbose_name_plural = _("hours of the week")
        ordering = ["weekday", "opens"]
        constraints = [
            models.CheckConstraint(
                condition=Q(opens__lt=F("closes")),
                name="hours_in_order",
                violation_error_message=_("The end has to be after the beginning."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_weekday_display()} {self.opens:%H:%M}-{self.closes:%H:%M}"


class SpecialDay(models.Model):
    """A date that is not as its day of the week: off, or worked like a Monday."""

    class Kind(models.TextChoices):
        CLOSED = "closed", _("day off")
        WORKED = "worked", _("worked like a Monday")

    calendar = models.ForeignKey(Calendar, models.CASCADE, related_name="special_days")
    date = models.DateField(_("date"))
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    name = models.CharField(_("name"), max_length=100, blank=True)
    # Brought in from the list of a country, and not touched by staff since.
    imported = models.BooleanField(default=False, editable=False)

    class Meta:
        verbose_name = _("special day")
        verbose_name_plural = _("special days")
        ordering = ["date"]
        constraints = [
            models.UniqueConstraint(fields=["calendar", "date"], name="special_day_once")
        ]

    def __str__(self) -> str:
        return f"{self.date} {self.get_kind_display()}"
