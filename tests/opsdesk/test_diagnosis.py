import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django_q.tasks import async_task

from opsdesk import diagnosis
from opsdesk.diagnosis import Finding, Level

pytestmark = pytest.mark.django_db


def one(check):
    (finding,) = check()
    return finding


def healthy():
    yield Finding("thing", Level.OK, "fine")


def broken():
    yield Finding("thing", Level.FAIL, "broken", "mend it")


def run(capsys, *words):
    try:
        call_command("doctor", *words)
        code = 0
    except SystemExit as error:
        code = error.code
    return code, capsys.readouterr().out


def test_a_line_each_and_the_exit_code(settings, capsys):
    settings.DOCTOR = [f"{__name__}.healthy"]
    code, out = run(capsys)
    assert code == 0 and out.split() == ["ok", "thing", "fine"]
    settings.DOCTOR = [f"{__name__}.healthy", f"{__name__}.broken"]
    code, out = run(capsys, "--json")
    assert code == 1
    assert json.loads(out)[1] == {
        "subject": "thing", "level": "fail", "message": "broken", "remedy": "mend it",
    }  # fmt: skip


def test_the_database_is_whole():
    assert {finding.level for finding in diagnosis.database()} == {Level.OK}
    assert one(diagnosis.migrations).level is Level.OK


def test_workers_are_seen_when_they_live(monkeypatch):
    assert one(diagnosis.workers).level is Level.FAIL
    alive = [SimpleNamespace(workers=[1, 2]), SimpleNamespace(workers=[3])]
    monkeypatch.setattr(diagnosis.Stat, "get_all", lambda: alive)
    assert one(diagnosis.workers).level is Level.OK


def test_an_old_task_is_a_warning(monkeypatch):
    assert one(diagnosis.queues).level is Level.OK
    async_task("math.sqrt", 4)
    assert one(diagnosis.queues).level is Level.OK
    monkeypatch.setattr(diagnosis, "OLDEST_TASK", timedelta(0))
    assert one(diagnosis.queues).level is Level.WARN


@pytest.fixture
def model_server():
    class Models(BaseHTTPRequestHandler):
        def do_GET(self):
            good = self.path == "/v1/models" and self.headers["Authorization"] == "Bearer key"
            body = json.dumps({"data": [{"id": "qwen"}]}).encode()
            self.send_response(200 if good else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Models)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("model", "key", "level"),
    [("qwen", "key", Level.OK), ("other", "key", Level.WARN), ("qwen", "wrong", Level.FAIL)],
)
def test_the_model_server_is_asked(settings, model_server, model, key, level):
    settings.OPENAI_BASE_URL = model_server
    settings.OPENAI_MODEL, settings.OPENAI_API_KEY = model, key
    assert one(diagnosis.model_server).level is level


def test_no_model_server_is_no_fault(settings):
    assert one(diagnosis.model_server).level is Level.OK
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    assert one(diagnosis.model_server).level is Level.FAIL


@pytest.mark.parametrize(
    ("free", "level"), [(50 << 30, Level.OK), (1 << 30, Level.WARN), (1 << 20, Level.FAIL)]
)
def test_disk(monkeypatch, free, level):
    usage = SimpleNamespace(free=free)
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda path: usage)
    assert one(diagnosis.disk).level is level
