"""Searching on read replicas: streaming standbys named by DATABASE_REPLICA_URL.

What `read` calls sees one of them through `connection` and through the ORM, and the primary
where none is fit: all are down, or too far behind. Everything else stays on the primary.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils.connection import ConnectionProxy
from psycopg.adapt import Dumper

log = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_SECONDS = 1.0  # between looks at how far behind a replica is
REST_SECONDS = 10.0  # until one that failed is tried again

_reading: ContextVar[str] = ContextVar("reading", default=DEFAULT_DB_ALIAS)
_primary_only: ContextVar[bool] = ContextVar("primary_only", default=False)


class _Connection(ConnectionProxy):
    _alias = property(lambda self: _reading.get())


# As django.db.connection, but inside `read` that of the replica. For modules that search.
connection = cast(BaseDatabaseWrapper, _Connection(connections, DEFAULT_DB_ALIAS))


class Binary(bytes):
    """A parameter in the binary format of the type that the statement gives it."""


class _AsItIs(Dumper):
    format = psycopg.pq.Format.BINARY

    def dump(self, obj: Binary) -> Binary:
        return obj


psycopg.adapters.register_dumper(Binary, _AsItIs)  # before the first connection is made


def in_binary() -> CursorWrapper:
    """A cursor of `connection` for what every question asks: rows come as bytes, not as text to be
    read, and JSON as what it stands for.

    The server takes parameters as they are: each needs a type where the statement gives none.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    cursor: Any = psycopg.Cursor(connection.connection)
    cursor.format = psycopg.pq.Format.BINARY
    make = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    return make(cursor)


@contextmanager
def together() -> Iterator[None]:
    """Statements of cursors `in_binary` go to the server at once, and are one transaction."""
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


class Router:
    """Has the ORM read where `read` does. Writes and migrations are the primary's."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        alias = _reading.get()
        return None if alias == DEFAULT_DB_ALIAS else alias

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == DEFAULT_DB_ALIAS


def read(function: Callable[[], T]) -> T:
    """What `function` returns, which only reads: with a replica that fails it is called again.

    Inside a transaction it sees the primary, which alone knows what the transaction wrote.
    """
    if (
        _primary_only.get()
        or _reading.get() != DEFAULT_DB_ALIAS
        or connections[DEFAULT_DB_ALIAS].in_atomic_block
    ):
        return function()
    for alias in _fit():
        token = _reading.set(alias)
        try:
            return function()
        except Error as error:  # a fault of the question's own comes again from the primary
            log.warning("asked the primary: %s failed: %s", alias, str(error).strip())
            _states[alias] = _State(False, time.monotonic() + REST_SECONDS)
            connections[alias].close()
        finally:
            _reading.reset(token)
    return function()


@contextmanager
def primary() -> Iterator[None]:
    """What is read until the block ends is what the primary says this moment."""
    token = _primary_only.set(True)
    try:
        yield
    finally:
        _primary_only.reset(token)


@dataclass(frozen=True)
class _State:
    fit: bool
    until: float  # by the monotonic clock


_states: dict[str, _State] = {}  # of this process


def aliases() -> list[str]:
    return [alias for alias in connections if alias != DEFAULT_DB_ALIAS]


def _fit() -> Iterator[str]:
    """Replicas that may be asked, in no order, so that they share the work."""
    chosen = aliases()
    random.shuffle(chosen)
    for alias in chosen:
        state = _states.get(alias)
        if state is None or time.monotonic() > state.until:
            # Others go on with what is known: one that hangs keeps one question waiting.
            known = state is not None and state.fit
            _states[alias] = _State(known, time.monotonic() + REST_SECONDS)
            state = _states[alias] = _look(alias)
        if state.fit:
            yield alias


def _look(alias: str) -> _State:
    try:
        behind = lag(alias)
    except Error as error:
        log.warning("%s does not answer: %s", alias, str(error).strip())
        connections[alias].close()
        return _State(False, time.monotonic() + REST_SECONDS)
    return _State(behind <= settings.REPLICA_LAG, time.monotonic() + LOOK_SECONDS)


def lag(alias: str) -> float:
    """Seconds that a replica is behind, by the primary's clock; infinite for what is no standby.

    Nothing that the primary wrote up to now is missing: 0. Else as old as the last transaction
    that it has; so one that has lost the primary falls behind as soon as something is written.
    """
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_lsn(), now()")
        written, now = cursor.fetchone()
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'infinity'"
            " WHEN pg_last_wal_replay_lsn() >= %s::pg_lsn THEN 0 ELSE greatest(0, coalesce("
            "extract(epoch FROM %s - pg_last_xact_replay_timestamp()), 'infinity')) END::float8",
            [written, now],
        )
        return float(cursor.fetchone()[0])
