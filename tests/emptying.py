"""The test database as it was made, after a test that committed: in milliseconds.

Django's flush truncates every table and makes content types, permissions and schedules anew,
which takes half a second each time. Most tests leave a few rows in a few tables.
"""

from django.apps import apps
from django.db import connection, transaction
from django.test import TransactionTestCase

FEW = 1000  # rows; more are truncated, for what is deleted stays in indexes for a while


def _tables():
    models = apps.get_models(include_auto_created=True)
    return [model._meta.db_table for model in models if model._meta.managed]


class Made:
    """What migrations put into the tables; `restore` brings just that back."""

    def __init__(self):
        with connection.cursor() as cursor:
            self._rows = {name: self._all(cursor, name) for name in self._filled(cursor)}

    def restore(self):
        with transaction.atomic(), connection.cursor() as cursor:  # keys are checked at its end
            for name, count in self._filled(cursor).items():
                if name not in self._rows:
                    many = f'TRUNCATE "{name}" CASCADE'
                    cursor.execute(many if count == FEW else f'DELETE FROM "{name}"')
            for name, rows in self._rows.items():
                if self._all(cursor, name) != rows:
                    self._put_back(cursor, name, rows)

    def leave_alone(self):
        """End the sessions of whoever was left behind: else the database cannot be dropped."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def _filled(self, cursor):
        """{table: its rows, `FEW` at most} of those that have any."""
        cursor.execute(" UNION ALL ".join(
            f"SELECT '{name}', count(*) FROM (SELECT FROM \"{name}\" LIMIT {FEW}) AS few"
            for name in _tables()
        ))  # fmt: skip
        return {name: count for name, count in cursor.fetchall() if count}

    def _all(self, cursor, name):
        cursor.execute(f'SELECT * FROM "{name}" ORDER BY 1')
        return cursor.fetchall()

    def _put_back(self, cursor, name, rows):
        cursor.execute(f'DELETE FROM "{name}"')
        places = ", ".join(["%s"] * len(rows[0]))
        cursor.executemany(f'INSERT INTO "{name}" VALUES ({places})', rows)


def be_quick():
    """From now on a test that commits ends with `Made.restore`, not with Django's flush."""
    made = Made()
    TransactionTestCase._fixture_teardown = lambda self: made.restore()
    return made
