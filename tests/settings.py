"""The settings of the tests: a home of their own, and nothing of who runs them.

Programs that a test starts inherit both, so what is done here is done once.
"""

import os
from pathlib import Path

from opsdesk.env import FOR_TESTS

_home = Path(os.environ.get("OPSDESK_HOME") or Path(__file__).resolve().parent.parent / "var")
# Tests that run beside each other kill their database server: each process has its own.
_own = "test" + os.environ.get("PYTEST_XDIST_WORKER", "")
_ours = ("OPSDESK_", "OPENAI_", "MINERU_", "VISION_", "MILVUS_", "DATABASE_REPLICA_")
if not _home.name.startswith("test"):
    for _name in list(os.environ):
        if _name.startswith(_ours) and _name not in FOR_TESTS:
            del os.environ[_name]
    os.environ["OPSDESK_HOME"] = str(_home / _own)
elif _home.name == "test":
    os.environ["OPSDESK_HOME"] = str(_home.with_name(_own))

from opsdesk.settings import *  # noqa: E402, F403

# Quick ones first: who signs in is no secret here. A process with the real settings reads Argon2.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *PASSWORD_HASHERS]  # noqa: F405
