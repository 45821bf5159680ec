"""Reading at the same time: on which connection, and what happens where that cannot be."""

import threading

import pytest
from django.db import connection, connections, transaction

from opsdesk.meanwhile import _call, _pool, meanwhile

pytestmark = pytest.mark.django_db(transaction=True)


def backend():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def elsewhere(function):
    """What a thread made of it: before it has begun, who waits may still do it."""
    begun = threading.Event()
    read = meanwhile(lambda: (begun.set(), function())[1])
    begun.wait(10)
    return read()


def test_it_is_read_on_another_connection():
    assert elsewhere(backend) != backend()


def test_a_transaction_sees_what_it_wrote():
    with transaction.atomic():
        assert meanwhile(backend)() == backend()


def test_what_it_raises_comes_when_it_is_asked():
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        elsewhere(fail)


def test_where_no_thread_is_free_it_is_read_at_once():
    free, started = threading.Event(), threading.Barrier(_pool._max_workers + 1)
    held = [meanwhile(lambda: (started.wait(10), free.wait(10))) for _ in range(_pool._max_workers)]
    started.wait(10)
    try:
        assert meanwhile(backend)() == backend()
    finally:
        free.set()
        for read in held:
            read()


def test_where_its_connection_is_lost_it_is_read_again():
    def lost():
        pid = backend()
        if threading.current_thread() is not threading.main_thread():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return pid

    for _ in range(2):
        assert elsewhere(lost) == backend()
    assert elsewhere(backend) != backend()


def test_a_borrowed_connection_goes_back(monkeypatch):
    """Else the threads would keep two of those that a web process has."""
    options = {"min_size": 1, "max_size": 1, "timeout": 5}
    monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "pool", options)
    thread = threading.Thread(target=_call, args=[backend])
    thread.start()
    thread.join()
    pool = connection.pool
    try:
        stats = pool.get_stats()
        assert (stats["pool_size"], stats["pool_available"]) == (1, 1)
    finally:
        connection.close_pool()
