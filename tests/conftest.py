import os
from pathlib import Path

import pytest

# Tests have a home of their own: its database server, files and secret key.
os.environ.setdefault("OPSDESK_HOME", str(Path(__file__).resolve().parent.parent / "var" / "test"))

# What takes longest begins first: else a worker has nothing left to do while the other ends it.
LONGEST = [
    "tests/pages",
    "tests/opsdesk/test_serve.py",
    "tests/knowledge/test_embedders.py",
    "tests/knowledge/test_tasks.py",
    "tests/opsdesk/test_postgres.py",
    "tests/chat/test_runner.py",
    "tests/chat/test_answers.py",
    "tests/knowledge/test_learning.py",
    "tests/handoff/test_races.py",
]


def unit(nodeid):
    """What runs in one worker: a file, and all pages together, which share their processes."""
    return "tests/pages" if nodeid.startswith("tests/pages/") else nodeid.split("::")[0]


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(unit(item.nodeid), len(rank)))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings, django_db_blocker):
    """The server of the tests need not survive a power cut; that it is killed it does."""
    from django.conf import settings
    from django.db import connection

    if not settings.DATABASE_URL:
        with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
            for name in ("fsync", "full_page_writes"):
                cursor.execute(f"ALTER SYSTEM SET {name} = off")
            cursor.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Gives what brings the database back to how migrations made it."""
    from tests.emptying import be_quick

    with django_db_blocker.unblock():
        made = be_quick()
    yield made
    with django_db_blocker.unblock():
        made.leave_alone()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return unit(nodeid)

    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # by number of tests, long or short
    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _counted_anew():
    """What a process counts for a minute would outlast a test."""
    from django.core.cache import caches

    caches["local"].clear()
