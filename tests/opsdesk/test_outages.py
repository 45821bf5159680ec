import json
from datetime import timedelta

import pybreaker
import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from opsdesk import health, outages
from opsdesk.breakers import breaker
from opsdesk.errors import ModelError
from opsdesk.models import Outage
from tests import loopback

pytestmark = pytest.mark.django_db


def fail(guard, permanent=False):
    with pytest.raises((ModelError, pybreaker.CircuitBreakerError)), guard.calling():
        raise ModelError("no answer", permanent=permanent)


def succeed(guard):
    with guard.calling():
        pass


@pytest.fixture
def guard(settings):
    settings.BREAKER_FAILURES, settings.BREAKER_SECONDS = 2, 0.0
    return breaker("model")


def test_so_many_failures_in_a_row_open_it(guard):
    fail(guard), succeed(guard), fail(guard)
    assert not Outage.objects.exists()
    fail(guard)
    outage = Outage.objects.get()
    assert (outage.service, outage.reason, outage.ended_at) == ("model", "no answer", None)
    assert outage.lasts


def test_a_request_that_is_to_blame_itself_counts_not(guard):
    for _ in range(5):
        fail(guard, permanent=True)
    assert not Outage.objects.exists()


def test_a_request_that_is_to_blame_itself_proves_nothing(guard):
    fail(guard), fail(guard, permanent=True), fail(guard)
    assert Outage.objects.get().lasts
    fail(guard, permanent=True)  # let through as a trial
    assert guard.current_state == pybreaker.STATE_HALF_OPEN and Outage.objects.get().lasts
    succeed(guard)
    assert Outage.objects.get().ended_at


def test_it_closes_by_itself(guard):
    fail(guard), fail(guard)
    fail(guard)  # tried again, and failed again: the same outage
    succeed(guard)
    assert Outage.objects.get().ended_at
    succeed(guard)


def test_two_processes_see_one_outage(guard, settings):
    other = breaker("model")
    for one in (guard, guard, other, other):
        fail(one)
    succeed(guard)
    assert Outage.objects.count() == 1


def test_one_that_nobody_asked_about_for_long_is_over(guard):
    fail(guard), fail(guard)
    Outage.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    assert not Outage.objects.failing().exists()
    outages.begin("model", "again")
    assert [one.reason for one in Outage.objects.failing()] == ["again"]
    assert Outage.objects.count() == 2


def test_staff_see_it(guard, client):
    client.force_login(User.objects.create_superuser("root"))
    assert "语言模型" not in client.get(reverse("admin:index")).text
    fail(guard), fail(guard)
    assert "语言模型" in client.get(reverse("admin:index")).text
    assert client.get(reverse("admin:opsdesk_outage_changelist")).status_code == 200
    (finding,) = outages.diagnose()
    assert finding.level == "warn"
    assert "no answer" in finding.message
    succeed(guard)
    (finding,) = outages.diagnose()
    assert finding.level == "ok"


def test_the_installation_stays_ready(guard, client, monkeypatch):
    monkeypatch.setattr(health, "readiness", lambda: {"database": "ok"})
    assert "degraded" not in client.get("/readyz").json()
    fail(guard), fail(guard)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["degraded"] == ["model"]


class Hook(loopback.Handler):
    def do_POST(self):
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send(b"{}")


def told():
    """Run what waits to be told."""
    for queued in OrmQ.objects.filter(key="short"):
        outages.tell(*queued.task["args"])
        queued.delete()


def test_who_is_named_is_told_once_and_when_it_is_over(guard, settings):
    settings.ADMINS = [("", "ops@example.com")]
    server = loopback.Server(Hook)
    server.got = []
    with loopback.serving(server):
        settings.ALERT_WEBHOOK = f"{server.address}/robot"
        fail(guard), fail(guard), fail(guard)
        told()
        succeed(guard)
        told()
        fail(guard), fail(guard)  # at once again: nobody is told of every flicker
        told()
    assert [one["down"] for one in server.got] == [True, False]
    assert "语言模型" in server.got[0]["text"]["content"]
    assert server.got[0]["msgtype"] == "text"
    assert [one.to for one in mail.outbox] == [["ops@example.com"]] * 2
    assert "no answer" in mail.outbox[0].body


def test_nobody_named_nothing_queued(guard):
    fail(guard), fail(guard)
    assert not OrmQ.objects.exists()
