"""Answers from a real standby: killed in the middle, behind, and citing what is gone there."""

import pytest
from django.db import connections

from chat import asking, runner
from chat.models import Citation, Turn
from knowledge import lexical, retrieval, uploading
from knowledge.models import Document
from opsdesk import replicas
from tests.replica import ALIAS, DATABASES, named, standby

pytestmark = pytest.mark.django_db(transaction=True, databases=DATABASES)


@pytest.fixture(scope="module")
def replica(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), standby() as made, named(made.sockets):
        yield made


@pytest.fixture
def asked(transactional_db, base, replica, settings):
    """The base, on the standby too."""
    settings.REPLICA_LAG = 60.0  # other workers write to the same server all the time
    replica.catch_up()
    replicas._states.clear()
    return base


@pytest.fixture
def seen():
    """Where statements that rank by words ran."""
    places = []

    def note(execute, sql, params, many, context):
        if "knowledge_chunkterms" in sql and "<#>" in sql:
            places.append(context["connection"].alias)
        return execute(sql, params, many, context)

    with connections["default"].execute_wrapper(note), connections[ALIAS].execute_wrapper(note):
        yield places


def found(base):
    return [passage.title for passage in retrieval.search("Redis 故障转移超时", [base]).passages]


def test_searches_go_to_the_standby(asked, seen):
    assert found(asked)[0] == "Redis 哨兵"
    assert set(seen) == {ALIAS}


def test_killed_in_the_middle_of_a_search_the_answer_still_comes(asked, seen, replica, monkeypatch):
    best = lexical.best

    def die_first(*words, **named):
        if replicas.connection.alias == ALIAS:
            replica.kill()
        return best(*words, **named)

    monkeypatch.setattr(lexical, "best", die_first)
    try:
        assert found(asked)[0] == "Redis 哨兵"
        assert set(seen) >= {"default"}
    finally:
        replica.start()


def test_what_the_standby_does_not_know_to_be_retired_is_not_cited(
    asked, conversation, replica, settings
):
    settings.REPLICA_LAG = 3600.0
    settings.CONFIDENCE = 0.0
    replica.say("SELECT pg_wal_replay_pause()")
    try:
        gone = Document.objects.filter(title="Redis 哨兵")
        uploading.retire(gone, "old")
        assert found(asked)[0] == "Redis 哨兵"  # there it still answers
        asking.ask(conversation, "Redis 故障转移超时参数是什么？")
        runner.run_waiting()
        turn = Turn.objects.get()
        assert turn.status == Turn.Status.DONE
        # Made once more, from the primary: no passage of it is looked at.
        assert "Redis 哨兵" not in [passage["title"] for passage in turn.trace["passages"]]
        assert not Citation.objects.filter(title="Redis 哨兵").exists()
    finally:
        replica.say("SELECT pg_wal_replay_resume()")
