"""Reading at the same time what does not need each other, from the database and from models."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from django.conf import settings
from django.db import Error, connections

from opsdesk.replicas import connection

log = logging.getLogger(__name__)
T = TypeVar("T")

_pool = ThreadPoolExecutor(settings.MEANWHILE_THREADS, thread_name_prefix="meanwhile")


def meanwhile(function: Callable[[], T]) -> Callable[[], T]:
    """Start `function`, which only reads, in a thread with a connection of its own. What comes
    back waits for what it returns or raises.

    It is called there and then where no thread is free, where its connection fails, and inside a
    transaction, which alone knows what it wrote.
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
            log.warning("read again: %s", str(error).strip())
            return function()

    return result


def _call(function: Callable[[], T]) -> T:
    try:
        return function()
    finally:  # the thread keeps its connection, but what is from a pool goes back
        for one in connections.all(initialized_only=True):
            if one.errors_occurred or "pool" in one.settings_dict["OPTIONS"]:
                one.close()
