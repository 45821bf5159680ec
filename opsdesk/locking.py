"""Locks that PostgreSQL drops when the process that holds them dies."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def held(key: str) -> Iterator[bool]:
    """Whether this database session got the lock called `key`; it has it until the end."""
    got = _call("pg_try_advisory_lock", key)
    try:
        yield got
    finally:
        if got and connection.connection and not connection.connection.closed:
            _call("pg_advisory_unlock", key)


def free(key: str) -> bool:
    """Whether nobody holds the lock; inside a transaction, whose end frees it again."""
    return _call("pg_try_advisory_xact_lock", key)


def wait(key: str) -> None:
    """Have the lock called `key` from now to the end of this transaction."""
    _call("pg_advisory_xact_lock", key)


def _call(function: str, key: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [key])
        return bool(cursor.fetchone()[0])
