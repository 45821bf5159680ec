"""The queues inside a cluster of django-q, so made that a killed process blocks nobody.

A worker waits for its next task with the queue's lock in its hands. The lock of
multiprocessing would die with it, its successors would wait forever, and every upload too.
"""

import fcntl
import tempfile

from django.conf import settings
from django.utils import timezone
from django_q import cluster, queues
from django_q.models import OrmQ


class KernelLock:
    """Between processes, not threads: the kernel frees it when its holder ends, however."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the lock)

    def acquire(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class Queue(queues.Queue):
    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._rlock, self._wlock = KernelLock(), KernelLock()


def groups(*, taken: bool = True) -> set[str]:
    """The groups of the tasks in this process's queue; `taken`: also of those a cluster has."""
    rows = OrmQ.objects.filter(key=settings.Q_CLUSTER["name"])
    if not taken:
        rows = rows.filter(lock__lte=timezone.now())
    return {group for task in rows.iterator() if (group := task.group())}


def outlive_killed_readers() -> None:
    """Have the cluster of this process use our queues."""
    cluster.Queue = Queue
