"""Reading at the same time what does not need each other, from the database and from models."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections

from opsdesk.replicas import connection

log = logging.getLogger(__name__)
T = TypeVar("T")

# A thread keeps its connections so long; one that breaks is noticed by who reads.
OWN = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": False}


def meanwhile(function: Callable[[], T]) -> Callable[[], T]:
    """Start `function`, which only reads, in a thread with a connection of its own. What comes
    back waits for what it returns or raises.

    Who asks for that calls it instead where no thread was free, where the thread's database
    failed, and inside a transaction, which alone knows what it wrote.
    """
    if connection.in_atomic_block:
        return function
    started = _pool.submit(copy_context().run, _call, function)

    def result() -> T:
        if started.cancel():  # or it would wait for others
            return function()
        try:
            return started.result()
        except Error as error:
            if connection.alias != DEFAULT_DB_ALIAS:  # who reads from a replica asks another one
                raise
            log.warning("read again: %s", str(error).strip())
            return function()

    return result


def _call(function: Callable[[], T]) -> T:
    for one in connections.all():
        # Not from a pool: who waits here holds one of those already.
        given = connections.settings[one.alias]
        options = {name: value for name, value in given["OPTIONS"].items() if name != "pool"}
        one.settings_dict = {**given, **OWN, "OPTIONS": options}
        one.close_if_unusable_or_obsolete()
    return function()


def _start() -> None:
    global _pool
    _pool = ThreadPoolExecutor(settings.MEANWHILE_THREADS, thread_name_prefix="meanwhile")


_pool: ThreadPoolExecutor
_start()
os.register_at_fork(after_in_child=_start)  # threads stay with the parent
