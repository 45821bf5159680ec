"""A real standby of the test database, from the same programs: what DATABASE_REPLICA_URL names."""

import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from django.db import connections

from opsdesk import postgres, replicas

ALIAS = "replica1"
DATABASES = ["default", ALIAS]


class Standby:
    """A second server on a socket of its own; the primary streams to it."""

    def __init__(self, folder):
        self.primary = postgres.running_server()
        self.data, self.sockets = folder / "data", folder / "s"
        for made in (self.data, self.sockets):
            made.mkdir(mode=0o700)
            if self.primary.user:
                shutil.chown(made, self.primary.user.pw_uid, self.primary.user.pw_gid)
        self.primary._run(
            "pg_basebackup", *self.primary.command_words, "-D", str(self.data), "-R",
            "--checkpoint=fast", "--no-sync",
        )  # fmt: skip

    def start(self):
        options = f"-k {self.sockets} -c listen_addresses='' -c shared_buffers=16MB -c fsync=off"
        self._ctl("start", "-w", "-l", str(self.data / "standby.log"), "-o", options)

    def kill(self):
        """As by a power cut: nothing is told to those who are connected."""
        self._ctl("stop", "-m", "immediate")

    def say(self, statement):
        words = ["-h", str(self.sockets), "-U", postgres.USER, "-qAtc", statement]
        return self.primary._run("psql", *words, postgres.DATABASE).stdout.decode().strip()

    def catch_up(self):
        """Wait until it has what the primary has now."""
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_lsn()")
            (written,) = cursor.fetchone()
        deadline = time.monotonic() + 60
        while self.say(f"SELECT pg_last_wal_replay_lsn() >= '{written}'") != "t":
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.01)

    def stop(self):
        pid = self.data / "postmaster.pid"
        if pid.exists():
            self._ctl("stop", "-m", "immediate")

    def _ctl(self, *words):
        self.primary._run("pg_ctl", *words[:1], "-D", str(self.data), *words[1:])


@contextmanager
def standby():
    """One that runs until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="opsdesk-standby-", dir="/tmp"))
    folder.chmod(0o755)  # the server's own user goes through it
    made = Standby(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


@contextmanager
def named(host):
    """What DATABASE_REPLICA_URL does, until the block ends. To be allowed in a test it wants
    `django_db(transaction=True, databases=DATABASES)`, and to be there before it."""
    settings = {**connections["default"].settings_dict, "HOST": str(host)}
    settings |= {"ENGINE": "django.db.backends.postgresql", "TEST": {"MIRROR": "default"}}
    connections.settings[ALIAS] = settings
    try:
        yield
    finally:
        connections[ALIAS].close()
        del connections[ALIAS], connections.settings[ALIAS]
        replicas._states.clear()
