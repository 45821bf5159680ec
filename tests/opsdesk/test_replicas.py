"""Reading on a real standby: while it is fit, and when it is not."""

import pytest
from django.db import connections, transaction
from django.db.utils import OperationalError

from opsdesk import postgres, replicas
from opsdesk.models import ApiToken
from tests.replica import ALIAS, DATABASES, named, standby

pytestmark = pytest.mark.django_db(transaction=True, databases=DATABASES)


@pytest.fixture(scope="module")
def replica(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), standby() as made, named(made.sockets):
        yield made


@pytest.fixture(autouse=True)
def fit(transactional_db, replica, settings):
    settings.REPLICA_LAG = 60.0  # other workers write to the same server all the time
    replica.catch_up()
    replicas._states.clear()


@pytest.fixture
def held(replica):
    """It receives, and shows nothing of it."""
    replica.say("SELECT pg_wal_replay_pause()")
    yield
    replica.say("SELECT pg_wal_replay_resume()")


def where():
    with replicas.connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        standing_by = cursor.fetchone()[0]
    assert standing_by == (replicas.connection.alias == ALIAS)
    return replicas.connection.alias


def write():
    with connections["default"].cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS news (n int)")
        cursor.execute("INSERT INTO news VALUES (1)")


def test_what_only_reads_is_read_there():
    assert replicas.read(where) == ALIAS
    assert where() == "default"


def test_the_orm_reads_there_and_writes_to_the_primary():
    assert replicas.read(lambda: ApiToken.objects.all().db) == ALIAS
    assert ApiToken.objects.all().db == "default"
    assert replicas.Router().db_for_write(ApiToken) == "default"


def test_a_transaction_reads_what_it_wrote():
    with transaction.atomic():
        assert replicas.read(where) == "default"


def test_who_asks_for_the_primary_gets_it():
    with replicas.primary():
        assert replicas.read(where) == "default"


def test_one_too_far_behind_is_not_asked(settings, held):
    settings.REPLICA_LAG = 0.0
    write()
    assert replicas.lag(ALIAS) > 0
    assert replicas.read(where) == "default"


def test_one_a_little_behind_is_asked(settings, held):
    settings.REPLICA_LAG = 3600.0
    write()
    assert replicas.read(where) == ALIAS


def test_it_is_asked_again_when_it_has_caught_up(settings, replica, monkeypatch):
    settings.REPLICA_LAG = 0.0
    monkeypatch.setattr(replicas, "LOOK_SECONDS", 0.0)
    replica.say("SELECT pg_wal_replay_pause()")
    write()
    assert replicas.read(where) == "default"
    replica.say("SELECT pg_wal_replay_resume()")
    replica.catch_up()
    assert replicas.read(where) == ALIAS


def test_a_server_that_stands_by_for_nobody_is_not_asked(monkeypatch):
    connections[ALIAS].close()
    monkeypatch.setitem(connections[ALIAS].settings_dict, "HOST", str(postgres.server().sockets))
    assert replicas.lag(ALIAS) == float("inf")  # it is the primary itself
    connections[ALIAS].close()


def test_killed_in_the_middle_the_primary_goes_on(replica):
    asked = []

    def ask():
        asked.append(where())
        if len(asked) == 1:
            replica.kill()
            where()
        return "found"

    assert replicas.read(ask) == "found"
    assert asked == [ALIAS, "default"]
    # It rests: the next one does not even try.
    assert replicas.read(where) == "default"
    replica.start()
    replicas._states.clear()
    assert replicas.read(where) == ALIAS


def test_a_fault_of_the_question_is_told():
    def wrong():
        with replicas.connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")

    with pytest.raises(Exception, match="division by zero") as failure:
        replicas.read(wrong)
    assert not isinstance(failure.value, OperationalError)
