from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class ChatConfig(AppConfig):
    name = "chat"
    verbose_name = _("Chat")

    def ready(self) -> None:
        from chat import checks  # noqa: F401

        post_migrate.connect(schedule, sender=self)


def schedule(**kwargs: Any) -> None:
    """What the workers do by the clock."""
    from django_q.models import Schedule

    for func in ("chat.kept.clean", "chat.tools.tasks.forget_old", "chat.uploads.clean"):
        when = {"schedule_type": Schedule.HOURLY, "repeats": -1}
        Schedule.objects.update_or_create(name=func, defaults={"func": func, **when})
