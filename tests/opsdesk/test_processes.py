import subprocess
import sys
import time
from datetime import timedelta
from threading import Event

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from opsdesk import processes
from opsdesk.processes import AlreadyRunning, Child, alone


def test_only_one_holds_a_home(tmp_path):
    path = tmp_path / "new" / "serve.lock"
    with alone(path), pytest.raises(AlreadyRunning), alone(path):
        pass
    with alone(path):  # it is free again
        pass


def test_only_clusters_have_a_queue():
    queues = {child.name: child.queue for child in processes.configured()}
    queued = {name: queue for name, queue in queues.items() if queue}
    assert queued == {"worker": "opsdesk", "short": "short"} and len(queues) > len(queued)


@pytest.mark.django_db
def test_tasks_of_a_dead_cluster_are_handed_out_again(settings):
    later = timezone.now() + timedelta(hours=1)
    for queue in ("opsdesk", "short"):
        OrmQ.objects.create(key=queue, payload="x", lock=later)
    processes.release_tasks("short")
    assert OrmQ.objects.get(key="opsdesk").lock == later
    assert OrmQ.objects.get(key="short").lock <= timezone.now()
    settings.DATABASE_URL = "postgresql://elsewhere/desk"  # others may work on it
    processes.release_tasks("opsdesk")
    assert OrmQ.objects.get(key="opsdesk").lock == later


def test_what_dies_comes_again_each_time_later(monkeypatch):
    monkeypatch.setattr(processes, "keep_database", lambda: None)
    child, stop, starts = Child("broken", ["no-such-command"], {}), Event(), []

    def start():
        starts.append(time.monotonic())
        child.process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
        if len(starts) == 3:
            stop.set()

    monkeypatch.setattr(child, "start", start)
    monkeypatch.setattr(child, "pause", 0.1)
    monkeypatch.setattr(processes, "TICK_SECONDS", 0.01)
    processes.supervise([child], stop)
    first, second, third = starts
    assert second - first >= 0.1 and third - second >= 0.2
    assert child.process.returncode is not None
