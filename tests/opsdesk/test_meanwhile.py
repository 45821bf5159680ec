"""Reading at the same time: on which connection, and what happens where that cannot be."""

import threading
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from opsdesk.meanwhile import OWN, meanwhile

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


@contextmanager
def all_threads(function=lambda: None):
    """None is free before the block ends; each calls `function` then."""
    free, begun = threading.Event(), threading.Barrier(settings.MEANWHILE_THREADS + 1)

    def hold():
        begun.wait(10)
        free.wait(10)
        function()

    held = [meanwhile(hold) for _ in range(settings.MEANWHILE_THREADS)]
    begun.wait(10)
    try:
        yield
    finally:
        free.set()
        for read in held:
            read()


def test_where_no_thread_is_free_it_is_read_at_once():
    with all_threads():
        assert meanwhile(backend)() == backend()


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


def test_it_takes_no_connection_from_a_pool(monkeypatch):
    """Who waits holds one, and the pool may have no other."""
    options = {"min_size": 0, "max_size": 1, "timeout": 1}
    monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "pool", options)
    try:
        assert elsewhere(backend) > 0
        assert connection.pool.get_stats().get("requests_num", 0) == 0
    finally:
        connection.close_pool()


def test_its_connection_is_not_kept_for_long(monkeypatch):
    """One that was idle for long may have been dropped on the way, and nobody says so."""
    monkeypatch.setitem(OWN, "CONN_MAX_AGE", 0)
    with all_threads(lambda: connection.close()):  # those that were made to last
        pass
    assert elsewhere(backend) != elsewhere(backend)
