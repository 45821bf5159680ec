"""Locks that PostgreSQL drops when the process that holds them dies."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connection


@contextmanager
def held(key: str, *, wait: bool = False) -> Iterator[bool]:
    """Whether this database session got the lock called `key`; it has it until the end. Told to
    `wait` it gets it in any case."""
    got = wait or _call("pg_try_advisory_lock", key)
    if wait:
        _call("pg_advisory_lock", key)
    try:
        yield got
    finally:
        if got and connection.connection and not connection.connection.closed:
            _call("pg_advisory_unlock", key)


@contextmanager
def held_of(keys: Sequence[str]) -> Iterator[set[str]]:
    """As `held`, of several at once: those of the locks that this database session got."""
    got = _call_all("pg_try_advisory_lock", keys)
    try:
        yield set(got)
    finally:
        if got and connection.connection and not connection.connection.closed:
            _call_all("pg_advisory_unlock", got)


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


def _call_all(function: str, keys: Sequence[str]) -> list[str]:
    """The keys for which it says yes."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT key FROM unnest(%s::text[]) key WHERE {function}(hashtextextended(key, 0))",  # noqa: S608
            [list(keys)],
        )
        return [key for (key,) in cursor.fetchall()]
