from datetime import timedelta
from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class KnowledgeConfig(AppConfig):
    name = "knowledge"
    verbose_name = _("Knowledge")

    def ready(self) -> None:
        from django_q.signals import post_spawn

        from knowledge import pacing, tasks

        post_spawn.connect(pacing.be_nice_when_worker_starts)
        post_spawn.connect(tasks.sweep_when_worker_starts)
        post_migrate.connect(schedule, sender=self)


def schedule(**kwargs: Any) -> None:
    """What the workers do by the clock."""
    from django_q.models import Schedule

    from knowledge.tasks import LONG_SECONDS

    minutes, daily = Schedule.MINUTES, Schedule.DAILY
    # After a large import; a second delivery finds the first one's lock and leaves it alone.
    long = {"kwargs": repr({"q_options": {"timeout": LONG_SECONDS}})}
    night = timezone.localtime().replace(hour=3, minute=10) + timedelta(days=1)
    for func, when in (
        ("knowledge.tasks.sweep", {"schedule_type": minutes, "minutes": 1}),
        ("knowledge.sources.tasks.due", {"schedule_type": minutes, "minutes": 1}),
        ("knowledge.describing.sweep", {"schedule_type": minutes, "minutes": 1}),
        ("knowledge.postings.sweep", {"schedule_type": minutes, "minutes": 1, **long}),
        ("knowledge.stores.outside.catch_up", {"schedule_type": minutes, "minutes": 10}),
        ("knowledge.embedding.catch_up", {"schedule_type": minutes, "minutes": 10}),
        ("knowledge.vocabulary.renew_all", {"schedule_type": minutes, "minutes": 2, **long}),
        ("knowledge.learning.catch_up", {"schedule_type": minutes, "minutes": 5, **long}),
        ("knowledge.learning.learn_all", {"schedule_type": daily, "next_run": night}),
        ("knowledge.tasks.recount", {"schedule_type": daily, "next_run": night}),
        ("knowledge.vocabulary.read_again", {"schedule_type": daily, "next_run": night}),
        ("knowledge.duplicates.find_all", {"schedule_type": daily, "next_run": night}),
    ):
        Schedule.objects.update_or_create(name=func, defaults={"func": func, "repeats": -1, **when})
