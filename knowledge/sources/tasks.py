"""Sources in the worker: when one is due, and a slice of it at a time."""

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from knowledge import sources
from knowledge.models import Source
from knowledge.sources import running


def refresh(source: Source) -> None:
    """Have it looked at now; once, however often that is asked for."""
    now = timezone.now()
    with transaction.atomic():
        idle = Source.objects.filter(pk=source.pk, enabled=True).exclude(
            state__in=[Source.State.QUEUED, Source.State.RUNNING]
        )
        if not idle.update(state=Source.State.QUEUED, next_at=now, error=""):
            return
        if not sources.kind(source.kind).watched:
            enqueue(source.pk)


def enqueue(source_id: int) -> None:
    # If nothing came of it by then, it is due again.
    Source.objects.filter(pk=source_id).update(next_at=timezone.now() + running.LEASE)
    async_task("knowledge.sources.tasks.run", source_id, cluster=settings.Q_CLUSTER["name"])


def run(source_id: int) -> None:
    if running.run(source_id):
        enqueue(source_id)


def due() -> int:
    """Every minute: queue what its time has come for, and what a killed worker left; how many."""
    watched = [name for name, kind in sources.kinds().items() if kind.watched]
    with transaction.atomic():
        waiting = list(
            Source.objects.filter(enabled=True, next_at__lte=timezone.now())
            .exclude(kind__in=watched)
            .filter(kind__in=settings.SOURCES)
            .select_for_update(skip_locked=True)
            .order_by("next_at")
        )
        for source in waiting:
            if source.state not in {Source.State.QUEUED, Source.State.RUNNING}:
                Source.objects.filter(pk=source.pk).update(state=Source.State.QUEUED)
            enqueue(source.pk)
    return len(waiting)
