import os
from pathlib import Path

import pytest

# Tests have a home of their own: its database server, files and secret key.
os.environ.setdefault("OPSDESK_HOME", str(Path(__file__).resolve().parent.parent / "var" / "test"))

# What takes longest begins first: else a worker has nothing left to do while the other ends it.
LONGEST = [
    "tests/pages",
    "tests/opsdesk/test_serve.py",
    "tests/knowledge/test_tasks.py",
    "tests/chat/test_runner.py",
]


def unit(nodeid):
    """What runs in one worker: a file, and all pages together, which share their processes."""
    return "tests/pages" if nodeid.startswith("tests/pages/") else nodeid.split("::")[0]


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(unit(item.nodeid), len(rank)))


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
