from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class HandoffConfig(AppConfig):
    name = "handoff"
    verbose_name = _("Handoff")

    def ready(self) -> None:
        from handoff import receivers  # noqa: F401

        post_migrate.connect(schedule, sender=self)


def schedule(**kwargs: Any) -> None:
    """What the workers do by the clock."""
    from django_q.models import Schedule

    func = "handoff.hours.bring_in_all"
    when = {"schedule_type": Schedule.DAILY, "repeats": -1}
    Schedule.objects.update_or_create(name=func, defaults={"func": func, **when})
