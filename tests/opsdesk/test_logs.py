import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import structlog
from django.conf import settings
from structlog.contextvars import bound_contextvars, clear_contextvars

from opsdesk.logs import configure

ROOT = Path(settings.BASE_DIR)


@pytest.fixture
def lines():
    """Configure, log, and read what came out as JSON."""
    clear_contextvars()  # what a request of an earlier test left
    root, out = logging.getLogger(), io.StringIO()
    before = root.handlers[:]
    configure({"level": "INFO", "format": ""})  # no terminal here, so JSON it is
    root.handlers[0].setStream(out)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    root.handlers[:] = before


def test_a_line_says_when_where_what_and_in_which_turn(lines):
    with bound_contextvars(turn=7):
        logging.getLogger("chat.runner").info("人工客服已经接手！ %s", "甲", extra={"wait": 3})
        structlog.get_logger("chat.graph").warning("step", step="recall")
    first, second = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", first.pop("timestamp"))
    assert first == {
        "level": "info",
        "logger": "chat.runner",
        "event": "人工客服已经接手！ 甲",
        "turn": 7,
        "wait": 3,
    }
    assert (second["level"], second["step"], second["turn"]) == ("warning", "recall", 7)


def test_an_exception_is_one_line_and_masked(lines):
    try:
        raise ValueError("postgresql://ops:hunter22@db/opsdesk")
    except ValueError:
        logging.getLogger("x").exception("no\nluck")
    (line,) = lines()
    assert "ValueError" in line["exception"]
    assert "hunter22" not in line["exception"]


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter22hunter22",
        "opsdesk_hunter22hunter22",
        "sk-hunter22hunter22",
        "https://user:hunter22@example.com/x",
        "GET /x?token=hunter22&page=2",
        "host=db password=hunter22 user=x",
    ],
)
def test_secrets_in_text_are_masked(lines, text):
    logging.getLogger("x").info("said %s", text, extra={"nested": {"a": [text]}})
    (line,) = lines()
    assert "hunter22" not in json.dumps(line)
    assert "•••" in line["event"]


def test_what_is_named_like_a_secret_is_masked(lines):
    named = {
        "api_key": "hunter22",
        "Set-Cookie": "hunter22",
        "headers": {"Authorization": "x hunter22"},
    }
    structlog.get_logger("x").info("sent", **named, tokens=12)
    (line,) = lines()
    assert "hunter22" not in json.dumps(line)


def test_ordinary_operations_text_is_left_alone(lines):
    text = "kubectl get pods -n kube-system; ORA-01555; http://10.0.0.1:8080/a?b=c"
    logging.getLogger("x").info(text)
    assert lines()[0]["event"] == text


def test_lines_to_read_leave_out_what_nobody_reads():
    root, talkative = logging.getLogger(), logging.getLogger("uvicorn.access")
    before, level, out = root.handlers[:], talkative.level, io.StringIO()
    configure({"level": "INFO", "format": "text"})
    root.handlers[0].setStream(out)
    try:
        talkative.info('%s - "%s %s HTTP/%s" %d', "10.0.0.1", "GET", "/static/x.css", "1.1", 200)
        with bound_contextvars(request_id="f" * 32, turn=7):
            logging.getLogger("chat.runner").info("ended, token=hunter22")
    finally:
        root.handlers[:] = before
        talkative.setLevel(level)
    (line,) = out.getvalue().splitlines()
    assert re.match(r"\d\d:\d\d:\d\d \[info +\] ended, token=•••", line)
    assert "turn=7" in line and "ffff" not in line


def test_a_request_gets_an_id(client):
    made = client.get("/healthz")["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    kept = client.get("/healthz", headers={"x-request-id": "proxy-1234.5"})
    assert kept["X-Request-ID"] == "proxy-1234.5"
    forged = client.get("/healthz", headers={"x-request-id": '"} {"level": "x"'})
    assert re.fullmatch("[0-9a-f]{32}", forged["X-Request-ID"])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url):
    request = urllib.request.Request(url, headers={"X-Request-ID": "from-the-proxy"})
    for _ in range(900):
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


def test_everything_the_server_prints_is_json():
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "opsdesk.asgi:application", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "OPSDESK_LOG_LEVEL": "INFO"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert get(f"http://127.0.0.1:{port}/healthz?token=hunter22") == 200
        assert get(f"http://127.0.0.1:{port}/nowhere") == 404
    finally:
        server.send_signal(signal.SIGTERM)
        out, _ = server.communicate(timeout=60)
    lines = [json.loads(line) for line in out.splitlines()]
    (access,) = [line for line in lines if line.get("path") == "/healthz"]
    assert (access["method"], access["status"], access["event"]) == ("GET", 200, "request")
    assert access["request_id"] == "from-the-proxy"
    assert "hunter22" not in out
    assert any(line["logger"] == "uvicorn.error" for line in lines)
