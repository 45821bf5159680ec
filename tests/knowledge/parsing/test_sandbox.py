import os
import sys
import time

import pytest

from knowledge.parsing import sandbox
from knowledge.parsing.unreadable import Unreadable


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Put a program of the test's own in the parser's place; it binds its hands like it."""

    def use(body):
        script = tmp_path / "stranger.py"
        script.write_text(
            "import json, os, sys, time\nfrom knowledge.parsing import parts, worker\n"
            f"worker.confine(json.loads(sys.argv[1]))\n{body}"
        )
        monkeypatch.setattr(sandbox, "PROGRAM", (sys.executable, str(script)))
        source = tmp_path / "file"
        source.write_bytes(b"x")
        return source

    return use


def read(path, seconds=30):
    with path.open("rb") as source:
        return list(sandbox.run(source, {"media_type": "text/csv"}, None, seconds))


def run(path, seconds=30):
    with pytest.raises(Unreadable) as refusal:
        read(path, seconds)
    return refusal.value.reason


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_timeout_ends_the_whole_family(program, tmp_path):
    pids = tmp_path / "pids"
    pids.touch(mode=0o666)
    path = program(
        f"child = os.fork()\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(60)"
    )
    started = time.monotonic()
    assert run(path, seconds=2) == "timeout"
    assert time.monotonic() - started < 40
    family = [int(pid) for pid in pids.read_text().split()]
    assert len(family) == 2
    deadline = time.monotonic() + 30
    while any(map(alive, family)) and time.monotonic() < deadline:
        os.sched_yield()
    assert not any(map(alive, family))


def test_it_knows_no_key_and_no_home(program, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPSDESK_SECRET_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    path = program(
        "from knowledge.parsing.document import Block, ParsedDocument\n"
        "text = json.dumps([dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid()])\n"
        "loaded = [name for name in sys.modules if name.partition('.')[0] == 'django']\n"
        "document = ParsedDocument(blocks=[Block('paragraph', text)], page_names=loaded)\n"
        "parts.write(parts.Part('whole', document), sys.stdout.buffer)"
    )
    (part,) = read(path)
    parsed = part.parsed
    assert parsed.page_names == []  # no Django in the child
    text = parsed.blocks[0].text
    assert "secret" not in text and "proxy" not in text
    assert '"ORT_DISABLE_TELEMETRY": "1"' in text
    assert text.endswith("true]")
    assert "opsdesk-parse-" in text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "try:\n    bytearray(4 * 1024**3)\nexcept MemoryError:\n    worker._leave('memory')",
            "memory",
        ),
        ("os.abort()", "crashed"),
        ("raise ValueError('bad file')", "broken"),
        ("worker._leave('password')", "password"),
        ("os.kill(os.getpid(), 9)", "stopped"),
        ("print('not a result')", "crashed"),
    ],
)
def test_each_end_has_its_reason(program, body, expected):
    assert run(program(body)) == expected


def test_the_result_is_bounded(program, monkeypatch):
    monkeypatch.setattr(sandbox, "MAX_RESULT", 1000)
    path = program(
        "try:\n    sys.stdout.buffer.write(b'x' * 5000)\n    sys.stdout.flush()\n"
        "except OSError:\n    worker._leave('too_much')"
    )
    assert run(path) == "too_much"


def test_folders_of_killed_parsers_are_swept(program, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{sandbox.PREFIX}old").mkdir()
    (tmp_path / f"{sandbox.PREFIX}new").mkdir()
    os.utime(tmp_path / f"{sandbox.PREFIX}old", (0, 0))
    run(program("worker._leave('broken')"))
    assert [folder.name for folder in tmp_path.glob(f"{sandbox.PREFIX}*")] == [
        f"{sandbox.PREFIX}new"
    ]
