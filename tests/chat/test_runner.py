"""Runners as they really are: other processes, killed without notice."""

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest
from django.db import connection

from chat import asking, runner, turns
from chat.models import Conversation, Turn
from handoff.models import Handoff
from tests.chat.fake_model import FakeModel

pytestmark = pytest.mark.django_db(transaction=True)


def until(condition, seconds=240):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def done():
    return not Turn.objects.unfinished().exists()


@pytest.fixture
def start(settings):
    """Starts `run_turns` processes on the test database."""
    started = []

    def start(**environment):
        database = connection.settings_dict
        url = f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}"
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run_turns"],
            cwd=settings.BASE_DIR,
            env={**os.environ, "DATABASE_URL": url, "OPSDESK_ROLE": "worker", **environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_runner_loses_no_question(base, start):
    conversation = Conversation.objects.create(visitor="v" * 32)
    model = FakeModel()
    model.script = ["silence"]
    try:
        first = start(OPENAI_BASE_URL=model.url, OPENAI_MODEL="fake")
        _message, turn = asking.ask(conversation, "数据库备份保存在哪个目录？")
        until(lambda: model.requests)  # it is in the middle of an answer
        first.kill()
        first.wait()
        Turn.objects.filter(lease_until__isnull=False).update(lease_until="2000-01-01T00:00Z")
        start()
        until(done)
    finally:
        model.close()
    turn.refresh_from_db()
    assert (turn.outcome, turn.attempt) == ("answered", 2)
    assert [m.role for m in conversation.messages.order_by("seq")] == ["customer", "assistant"]


def test_a_stopped_runner_gives_back_what_it_cannot_finish(base, start):
    conversation = Conversation.objects.create(visitor="v" * 32)
    model = FakeModel()
    model.script = ["silence"]
    try:
        first = start(OPENAI_BASE_URL=model.url, OPENAI_MODEL="fake")
        _message, turn = asking.ask(conversation, "数据库备份保存在哪个目录？")
        until(lambda: model.requests)
        first.send_signal(signal.SIGTERM)
        assert first.wait(runner.GRACE + 60) == 0
    finally:
        model.close()
    turn.refresh_from_db()
    assert (turn.status, turn.attempt) == ("queued", 0)


def test_a_runner_survives_the_loss_of_its_connections(base, running):
    conversation = Conversation.objects.create(visitor="v" * 32)
    asking.ask(conversation, "数据库备份保存在哪个目录？")
    until(done)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    asking.ask(conversation, "Redis 故障转移超时的参数是什么？")
    until(done)
    assert list(Turn.objects.values_list("outcome", flat=True)) == ["answered", "answered"]


def test_many_conversations_keep_their_order(base, running):
    conversations = [Conversation.objects.create(visitor="v" * 32) for _ in range(4)]
    for _n in range(3):
        for conversation in conversations:
            asking.ask(conversation, "谢谢")
    until(done)
    for conversation in conversations:
        mine = list(conversation.turns.order_by("pk"))
        assert [turn.outcome for turn in mine] == ["chat"] * 3
        for earlier, later in pairwise(mine):
            assert earlier.finished_at <= later.started_at
            assert earlier.reply.seq < later.reply.seq


def test_of_two_runners_one_gets_a_turn():
    conversation = Conversation.objects.create(visitor="v" * 32)
    asking.ask(conversation, "谢谢")
    barrier, claimed = threading.Barrier(8), []

    def claim():
        barrier.wait()
        claimed.append(turns.claim())
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(turn is not None for turn in claimed) == 1


SWEPT = []


def failing_sweep():
    raise Conversation.DoesNotExist


def next_sweep():
    SWEPT.append(True)


@pytest.fixture
def one_sweep_fails(settings):
    settings.SWEEPS = [f"{__name__}.{sweep.__name__}" for sweep in (failing_sweep, next_sweep)]


def test_a_sweep_that_fails_stops_neither_the_others_nor_the_turns(
    base, one_sweep_fails, request, caplog
):
    request.getfixturevalue("running")  # now: what is logged before a test begins is not its own
    asking.ask(Conversation.objects.create(visitor="v" * 32), "数据库备份保存在哪个目录？")
    until(lambda: done() and SWEPT)
    assert f"Sweep {__name__}.failing_sweep failed" in caplog.text


def test_what_fails_in_a_thread_is_tried_again_then_handed_to_a_person(base, running, monkeypatch):
    def broken(state):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("chat.graph.run", broken)
    monkeypatch.setattr("chat.turns.ATTEMPTS", 2)
    conversation = Conversation.objects.create(visitor="v" * 32)
    _message, turn = asking.ask(conversation, "数据库备份保存在哪个目录？")
    until(done)
    turn.refresh_from_db()
    assert turn.outcome == "failed"
    assert turn.trace["errors"] == ["ZeroDivisionError: a defect"] * 2
    assert Handoff.objects.get().reason == "failed"
