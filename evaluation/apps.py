from datetime import timedelta
from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

HOUR = 3600  # seconds


class EvaluationConfig(AppConfig):
    name = "evaluation"
    verbose_name = _("Evaluation")

    def ready(self) -> None:
        from evaluation import gating
        from opsdesk import gates

        gates.withdrawn.connect(gating.forget)
        post_migrate.connect(schedule, sender=self)


def schedule(**kwargs: Any) -> None:
    """What the workers do by the clock."""
    from django_q.models import Schedule

    minutes, daily = Schedule.MINUTES, Schedule.DAILY
    night = timezone.localtime().replace(hour=3, minute=40) + timedelta(days=1)
    long = {"kwargs": repr({"q_options": {"timeout": HOUR}})}
    for func, when in (
        ("evaluation.sampling.draw_due", {"schedule_type": minutes, "minutes": 10}),
        ("evaluation.judges.judge_waiting", {"schedule_type": minutes, "minutes": 5}),
        ("evaluation.running.sweep", {"schedule_type": minutes, "minutes": 2}),
        ("evaluation.gating.watch", {"schedule_type": minutes, "minutes": 1}),
        ("evaluation.experiments.guard", {"schedule_type": minutes, "minutes": 10}),
        ("evaluation.running.clean", {"schedule_type": daily}),
        ("evaluation.tallying.catch_up", {"schedule_type": minutes, "minutes": 10}),
        ("evaluation.alerts.check", {"schedule_type": minutes, "minutes": 10}),
        ("evaluation.tallying.recount", {"schedule_type": daily, "next_run": night}),
        ("evaluation.gaps.find_all", {"schedule_type": daily, "next_run": night, **long}),
    ):
        Schedule.objects.update_or_create(name=func, defaults={"func": func, "repeats": -1, **when})
