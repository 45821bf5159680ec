"""`manage.py serve` as a person runs it: started, hurt, killed, started again, stopped."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from knowledge import demo
from opsdesk.postgres import Server
from tests.browser import CHROMIUM, chromium
from tests.pages.test_chat import DRAIN, ask, delivered

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 240  # at most, on a busy machine


def until(condition, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return found


class Installation:
    def __init__(self, home, port):
        self.home, self.port = home, port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.server = Server(home)
        self.environment = os.environ | {
            "OPSDESK_HOME": str(home), "OPSDESK_PORT": str(port), "OPSDESK_WORKERS": "1",
            "OPSDESK_WEB_PROCESSES": "2", "DJANGO_SETTINGS_MODULE": "opsdesk.settings",
        }  # fmt: skip
        self.log = home.with_suffix(".log")
        self.process = None

    def manage(self, *words):
        return subprocess.run(
            [sys.executable, "manage.py", *words], cwd=ROOT, env=self.environment,
            capture_output=True, text=True,
        )  # fmt: skip

    def start(self):
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"], cwd=ROOT, env=self.environment,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        until(self.answers)

    def answers(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def readiness(self):
        return self.http.get("/readyz").json()["checks"]

    def documents(self):
        """How many answer."""
        where = {"host": str(self.server.sockets), "user": "postgres", "dbname": "opsdesk"}
        ready = "SELECT count(*) FROM knowledge_revision WHERE status = 'ready'"
        with psycopg.connect(**where) as connection:
            return connection.execute(ready).fetchone()[0]

    def processes(self):
        """Ids of the living processes of this home that are not the database's."""
        mark = f"OPSDESK_HOME={self.home}\0".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        return found

    def running(self, words):
        return {pid for pid, command in self.processes().items() if words in command}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def installation():
    home = Path(tempfile.mkdtemp(prefix="opsdesk-serve-", dir="/tmp"))
    home.chmod(0o755)
    made = Installation(home, free_port())
    yield made
    if made.process and made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    made.http.close()
    until(lambda: made.server.postmaster() is None)
    for folder in (home, made.server.sockets):
        shutil.rmtree(folder, ignore_errors=True)
    made.log.unlink(missing_ok=True)


@contextmanager
def visitor(installation):
    """Where there is Chromium: somebody who is answered before and after what the block does."""
    if not CHROMIUM.exists() and os.environ.get("OPSDESK_REQUIRE_BROWSER") != "1":
        yield
        return
    until(lambda: installation.documents() == len(demo.FILES))
    with chromium(base_url=f"http://127.0.0.1:{installation.port}") as page:
        page.set_default_timeout(60_000)
        page.goto("/")
        assert "kubectl cordon node-17" in ask(page, DRAIN).inner_text()
        yield
        answer = ask(page, "Redis 报 MOVED 错误是什么意思？")
        delivered(page)
        assert "加 -c 参数" in answer.inner_text()
        assert page.locator("#log > .message.customer").count() == 2


def test_the_life_of_an_installation(installation):
    # The first start makes everything and says how to get in.
    installation.start()
    until(lambda: "/admin/" in installation.log.read_text())
    said = installation.log.read_text()
    assert re.search(r"admin\W.*[\w-]{16}", said)
    assert f"http://127.0.0.1:{installation.port}/" in said
    assert "DATABASE_URL" in said
    until(lambda: installation.readiness()["worker"] == "ok")

    # A second one refuses, on this home and on this port.
    again = installation.manage("serve")
    assert again.returncode == 1 and str(installation.process.pid) in again.stderr
    assert "Traceback" not in again.stderr

    # PostgreSQL is killed: it comes back by itself, and so does the page.
    postmaster = installation.server.postmaster()
    with visitor(installation):
        os.kill(postmaster, signal.SIGKILL)
    until(lambda: installation.server.ready() and installation.server.postmaster() != postmaster)
    until(lambda: installation.readiness()["database"] == "ok")

    # A worker's head is killed: its limbs go, another one comes.
    before = installation.running("qcluster")
    head = min(before)
    os.kill(head, signal.SIGKILL)
    until(lambda: head not in (now := installation.running("qcluster")) and now - before)
    until(lambda: not any(orphan(pid) for pid in installation.running("qcluster")))

    # serve itself is killed: all go with it, the database too, and the next start is clean.
    installation.process.kill()
    installation.process.wait()
    until(lambda: not installation.processes())
    until(lambda: installation.server.postmaster() is None)
    installation.start()
    assert not re.search(r"admin\W.*[\w-]{16} ", installation.log.read_text())

    # Ctrl-C stops all of it, and nothing is left.
    installation.process.send_signal(signal.SIGINT)
    assert installation.process.wait(SECONDS) == 0
    assert not installation.processes()
    until(lambda: installation.server.postmaster() is None)


def orphan(pid):
    """Whether the parent of `pid` is not one of ours any more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return "manage.py" not in Path(f"/proc/{fields[1]}/cmdline").read_text()
    except FileNotFoundError:
        return False


def test_a_taken_port_is_said_in_a_sentence(installation):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", installation.port))
        taken.listen()
        done = installation.manage("serve")
    assert done.returncode == 1 and str(installation.port) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_not_there_is_said_in_a_sentence(installation):
    address = f"postgresql://somebody@127.0.0.1:{free_port()}/nothing"
    installation.environment["DATABASE_URL"] = address
    done = installation.manage("serve")
    assert done.returncode == 1 and "connection" in done.stderr
    assert "Traceback" not in done.stderr
