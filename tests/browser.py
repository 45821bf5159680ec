"""Real processes on the test database, and Chromium in front of them.

The server and the workers are started as an operator starts them, in a home of their own;
they share with the test only its database. The tests that use them need
`@pytest.mark.django_db(transaction=True)`, for other processes see what is committed.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which
from typing import Any
from urllib.error import URLError

from django.conf import settings
from django.db import connection, connections

ROOT = Path(__file__).resolve().parent.parent
# The one that has no windows to make takes a quarter of the time for a page.
CHROMIUM = Path(which("chromium-headless-shell") or which("chromium") or "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
]


def environment(home: Path, role: str) -> dict[str, str]:
    """Of a process whose files are in `home` and whose database is the test's."""
    database = connection.settings_dict
    host = connection.get_connection_params().get("host", "")
    name = f"{database['USER'] or 'postgres'}@/{database['NAME']}"
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "DJANGO_SETTINGS_MODULE": "opsdesk.settings",
        "DATABASE_URL": f"postgresql://{name}?host={host}",
        "OPSDESK_HOME": str(home),
        "OPSDESK_SECRET_KEY": settings.SECRET_KEY,
        "OPSDESK_ROLE": role,
    }


@contextmanager
def started(
    home: Path, role: str, *command: str, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours and all its children, gone at the end; its output in `home`/<role>.log."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{role}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment(home, role) | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """With its children. Once it was waited for its number may be another's."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def workers(home: Path, **variables: str) -> Any:
    """The cluster that processes uploads."""
    return started(home, "worker", "manage.py", "qcluster", **variables)


@contextmanager
def server(home: Path, **variables: str) -> Iterator[str]:
    """The web process; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "uvicorn", "opsdesk.asgi:application", "--port", str(port)]
    with started(home, "web", *command, **variables) as process:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, (home / "web.log").read_text()
            try:
                return urllib.request.urlopen(f"{url}/healthz", timeout=30).status == 200
            except (URLError, ConnectionError, TimeoutError):
                return False

        wait_for(answers, "the server to answer")
        yield url


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 180) -> Any:
    """What `condition` gives once it is true."""
    until = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return result


@contextmanager
def chromium(**options: Any) -> Iterator[Any]:
    """A Playwright page of a fresh profile; `options` as for `Browser.new_context`."""
    from playwright.sync_api import sync_playwright

    # Playwright runs an event loop in this thread, in which Django would refuse its database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        try:
            page = browser.new_context(**{"locale": "zh-CN", **options}).new_page()
            page.problems = problems = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on(
                "console",
                lambda line: problems.append(line.text) if line.type == "error" else None,
            )
            yield page
        finally:
            connections.close_all()  # Django keeps others beside Playwright's loop than without it
            browser.close()
            os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)
