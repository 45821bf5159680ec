"""Runs are written down at a tracking server; that it fails, fails no run."""

import json

import pytest
from django_q.models import OrmQ

from chat.models import Turn
from evaluation import running, tracking
from evaluation.models import Result, Run
from tests.evaluation.tracking_server import TrackingServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def server(settings):
    made = TrackingServer()
    options = {"url": made.url, "experiment": "opsdesk", "token": "t"}
    settings.TRACKER = {"BACKEND": "evaluation.tracking.MLflow", "OPTIONS": options}
    yield made
    made.close()


def run(state=Run.State.RUNNING, baseline=None):
    versions = {"documents": {"ops": 12}, "settings": {"PASSAGES": 5}, "code": "c" * 600}
    made = Run.objects.create(
        fingerprint="f", state=state, versions=versions, total=2, done=2, baseline=baseline
    )
    for position, right in ((1, True), (2, baseline is None)):
        Result.objects.create(
            run=made, position=position, key=f"g{position}", question="怎么重启？",
            outcome=Turn.Outcome.ANSWERED, right=right, ms=40, confidence=0.8,
        )  # fmt: skip
    return made


def test_a_run_that_ended_is_written_down_once(server):
    made = run(baseline=run(Run.State.DONE))
    running.finish(made)
    assert OrmQ.objects.count() == 1
    tracking.tell(made.pk)
    made.refresh_from_db()
    assert (made.tracked, server.status, server.experiments) == ("r1", "FINISHED", {"opsdesk": "7"})
    assert server.params["documents.ops"] == "12"
    assert len(server.params["code"]) == tracking.VALUE
    assert (server.metrics["right"], server.metrics["lost"], server.metrics["won"]) == (1, 1, 0)
    [(place, content)] = server.artifacts.items()
    assert place == "7/r1/artifacts/results.json"
    assert json.loads(content)[0]["question"] == "怎么重启？"
    server.params.clear()
    tracking.tell(made.pk)
    assert server.params == {}


@pytest.mark.parametrize("status", [500, 403, 404])
def test_a_server_that_fails_fails_no_run(server, status):
    server.failing = status
    made = run()
    running.finish(made)
    tracking.tell(made.pk)
    made.refresh_from_db()
    assert (made.state, made.tracked) == (Run.State.DONE, "")


def test_one_that_is_not_there_fails_none_either(server):
    server.close()
    made = run(Run.State.DONE)
    tracking.tell(made.pk)
    with pytest.raises(tracking.TrackingError) as failed:
        tracking.tracker().start("x", {})
    assert not failed.value.permanent


def test_nothing_is_told_where_none_is_configured(settings):
    assert settings.TRACKER is None
    made = run()
    running.finish(made)
    assert OrmQ.objects.count() == 0
