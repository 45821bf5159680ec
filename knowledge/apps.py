from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class KnowledgeConfig(AppConfig):
    name = "knowledge"
    verbose_name = _("Knowledge")

    def ready(self) -> None:
        from django_q.signals import post_spawn

        from knowledge import tasks

        post_spawn.connect(tasks.sweep_when_worker_starts)
        post_migrate.connect(schedule, sender=self)


def schedule(**kwargs: Any) -> None:
    """What the workers do by the clock."""
    from django_q.models import Schedule

    Schedule.objects.update_or_create(
        name="knowledge.sweep",
        defaults={
            "func": "knowledge.tasks.sweep",
            "schedule_type": Schedule.MINUTES,
            "minutes": 1,
            "repeats": -1,
        },
    )
    Schedule.objects.update_or_create(
        name="knowledge.catch_up",
        defaults={
            "func": "knowledge.embedding.catch_up",
            "schedule_type": Schedule.MINUTES,
            "minutes": 10,
            "repeats": -1,
        },
    )
