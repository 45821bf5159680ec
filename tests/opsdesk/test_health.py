import pytest
from django.core.cache import cache
from django.db import connection
from django_q.brokers import get_broker
from django_q.conf import Conf

from opsdesk import health


def test_healthz_needs_no_database(client):
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
class TestReadyz:
    def test_says_what_is_missing(self, client):
        cache.clear()  # processes of an earlier test may have given signs of life just now
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {
            "status": "not ready",
            "checks": {
                "database": "ok",
                "migrations": "ok",
                "worker": "not seen lately",
                "turns": "not seen lately",
            },
        }

    def test_is_ready_when_everything_lives(self, client, settings):
        from django_q.signing import SignedPackage
        from django_q.status import Status

        health.beat("turns")
        key = f"{Conf.Q_STAT}:test"
        get_broker().set_stat(key, SignedPackage.dumps(Status(1, "test"), True), 3)
        response = client.get("/readyz")
        assert response.status_code == 200, response.content
        assert set(response.json()["checks"].values()) == {"ok"}

    def test_apps_add_their_own(self, client, settings):
        settings.READINESS = ["tests.opsdesk.test_health.storage"]
        assert client.get("/readyz").json()["checks"] == {"storage": "full"}

    def test_a_migration_that_waits_is_counted(self):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE name = '0002_outage'")
        assert health.migrations() == "1 not applied"


def storage():
    return "full"


@pytest.mark.django_db(transaction=True)
def test_readyz_without_a_database_answers(client, settings, monkeypatch):
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "NAME", "there_is_no_such_database")
    try:
        response = client.get("/readyz")
    finally:
        monkeypatch.undo()
        connection.close()
    assert response.status_code == 503
    assert set(response.json()["checks"].values()) == {"no database"}
    assert "there_is_no" not in response.content.decode()


@pytest.mark.django_db
def test_signs_of_life_outlast_the_traffic_of_a_busy_day():
    health.beat("turns")
    for n in range(400):
        cache.set(f"visitor-{n}", 1, 60)
    assert health.beating("turns")
