import asyncio
import json
import threading

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.core.cache import cache
from django.db import connection
from django.test import AsyncClient, Client

from chat import api, asking, runner, transcript
from chat.models import Conversation, Turn
from handoff import desk
from knowledge import synonyms
from knowledge.models import Document, Term
from opsdesk import health
from opsdesk.models import ApiToken
from tests.chat.conftest import QUESTION


def bearer(user):
    token = ApiToken(user=user, name="test", scope=ApiToken.Scope.READ)
    secret = token.generate()
    token.save()
    return {"authorization": f"Bearer {secret}"}


def client_of(user):
    return Client(headers=bearer(user))


@pytest.fixture
def user(db, django_user_model):
    return django_user_model.objects.create_user("caller")


@pytest.fixture
def ask(user, monkeypatch):
    """Asks, with the runner's work done in this thread while the API waits."""
    client = client_of(user)
    health.beat("turns")
    waits = api._wait

    def work_and_wait(turn):
        runner.run_waiting()
        return waits(turn)

    monkeypatch.setattr(api, "_wait", work_and_wait)

    def post(**body):
        return client.post("/api/v1/ask/", body, content_type="application/json")

    return post


def test_an_answer_with_its_citations(base, ask):
    response = ask(knowledge_base="ops", question="数据库备份保存在哪个目录？")
    assert response.status_code == 200
    body = response.json()
    assert set(body) >= {
        "conversation", "state", "answer", "citations", "attachments", "confidence",
    }  # fmt: skip
    assert body["state"] == "answered"
    assert "/data/backup" in body["answer"]
    assert 0.5 <= body["confidence"] <= 1
    assert body["attachments"] == []
    citation = body["citations"][0]
    assert (citation["n"], citation["external_id"], citation["title"]) == (
        1, "runbooks/数据库备份", "数据库备份",
    )  # fmt: skip
    assert set(citation) >= {"n", "document", "external_id", "title", "page", "locator", "quote"}
    assert "/data/backup" in citation["quote"]


def test_a_question_keeps_to_its_scope(base, ask):
    question = "数据库备份保存在哪个目录？"
    Document.objects.filter(title="数据库备份").update(product="订单系统", tags=["数据库"])
    inside = ask(knowledge_base="ops", question=question, product="订单系统", tags=["数据库"])
    assert "/data/backup" in inside.json()["answer"]
    outside = ask(knowledge_base="ops", question=question, product="CRM").json()
    assert "/data/backup" not in outside["answer"]
    assert Turn.objects.latest("pk").trace["scope"]["product"] == "CRM"


def test_a_question_in_other_words_is_answered(base, ask):
    Term.objects.create(knowledge_base=base, canonical="哨兵", variants=["sentinel"])
    synonyms.changed([base.pk])
    body = ask(knowledge_base="ops", question="sentinel 故障转移的超时参数").json()
    assert body["state"] == "answered"
    assert "failover-timeout" in body["answer"]


def test_asking_back_and_going_on_in_the_conversation(base, ask):
    first = ask(knowledge_base="ops", question="怎么办").json()
    assert (first["state"], first["citations"]) == ("clarifying", [])
    second = ask(conversation=first["conversation"], question="Redis 哨兵故障转移超时").json()
    assert second["state"] == "answered"
    assert second["conversation"] == first["conversation"]


def test_a_choice_is_data_and_is_picked_by_id_or_number(places, ask):
    body = ask(knowledge_base="ops", question=QUESTION).json()
    seq, conversation = body["seq"], body["conversation"]
    *labels, _person = body["options"]
    assert body["state"] == "clarifying"
    assert body["choices"] == [
        {"id": f"{seq}-{n}", "n": n, "label": label, "picked": False}
        for n, label in enumerate(labels, 1)
    ]
    assert [one["n"] for one in body["citations"]] == [one["n"] for one in body["choices"]]
    second = ask(conversation=conversation, pick="2").json()
    assert second["citations"][0]["title"] == labels[1]
    assert [one["n"] for one in second["choices"] if one["picked"]] == [2]
    # Of the first choice, though something else was asked meanwhile.
    ask(conversation=conversation, question="数据库备份保存在哪个目录？")
    third = ask(conversation=conversation, pick=f"{seq}-3").json()
    assert [one["title"] for one in third["citations"]] == [labels[2]]


def test_a_pick_that_cannot_be_is_refused_with_a_sentence(ask, user):
    conversation = Conversation.objects.create(user=user)
    data = {"choices": [{"n": 1, "label": "机房一", "picked": False}]}
    transcript.append(conversation.pk, "customer", QUESTION)
    transcript.append(conversation.pk, "assistant", "…", data=data)
    for pick in ("9", "1-1", "-1", "²", "99999999999999999999-1", "two"):
        response = ask(conversation=str(conversation.pk), pick=pick)
        assert response.status_code == 400
        assert response.json() == {"pick": ["本会话中没有这个选项。"]}
    for given, field in (({"pick": "1", "question": "怎么备份"}, "pick"), ({}, "question")):
        response = ask(conversation=str(conversation.pk), **given)
        assert response.status_code == 400
        assert list(response.json()) == [field]


def test_a_mere_name_leaves_the_rest_to_be_asked_for(base, ask):
    first = ask(knowledge_base="ops", question="出错了").json()
    assert (first["state"], first["answer"].count("\n- ")) == ("clarifying", 3)
    second = ask(conversation=first["conversation"], question="Redis").json()
    assert (second["state"], second["answer"].count("\n- ")) == ("clarifying", 2)
    third = ask(conversation=first["conversation"], question="故障转移的超时参数不生效").json()
    assert third["state"] == "answered"


def test_a_handoff_says_why_and_what_happens_now(base, ask):
    body = ask(knowledge_base="ops", question="量子纠缠仪如何部署？").json()
    assert body["state"] == "handoff"
    assert body["answer"] == "知识库里没有找到可靠的答案。\n\n当前没有客服在岗，请留下联系方式"
    again = ask(conversation=body["conversation"], question="有人吗").json()
    assert again["state"] == "handoff"


def test_without_a_runner_the_caller_is_told_so(base, user):
    cache.clear()  # a runner of an earlier test may have given a sign of life just now
    response = client_of(user).post(
        "/api/v1/ask/", {"knowledge_base": "ops", "question": "怎么备份"}, "application/json"
    )
    assert response.status_code == 503
    assert "run_turns" in response.json()["detail"]
    assert not Conversation.objects.exists()


def test_an_answer_that_takes_too_long_is_to_be_read_later(base, user, settings):
    settings.TURN_SECONDS = 0.1
    health.beat("turns")
    client = client_of(user)
    response = client.post(
        "/api/v1/ask/", {"knowledge_base": "ops", "question": "备份目录在哪"}, "application/json"
    )
    assert (response.status_code, response.json()["state"]) == (202, "waiting")
    path = f"/api/v1/conversations/{response.json()['conversation']}/"
    assert client.get(path).json()["pending"] is True
    runner.run_waiting()
    later = client.get(path).json()
    assert (later["pending"], later["last"]["state"]) == (False, "answered")
    assert [message["role"] for message in later["messages"]] == ["customer", "assistant"]


def test_a_base_that_may_not_be_read_does_not_exist(base, ask):
    base.audience = "groups"
    base.save()
    for slug in ("ops", "nowhere"):
        assert ask(knowledge_base=slug, question="备份").status_code == 404
    assert not Conversation.objects.exists()


def test_anothers_conversation_does_not_exist(base, ask, django_user_model, user):
    other = django_user_model.objects.create_user("other")
    conversation = Conversation.objects.create(user=other, channel="api")
    assert ask(conversation=str(conversation.pk), question="备份").status_code == 404
    assert client_of(user).get(f"/api/v1/conversations/{conversation.pk}/").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {}, {"question": "备份"}, {"knowledge_base": "ops", "question": " "},
        {"knowledge_base": "ops", "question": "长" * 64_001},
        {"conversation": "x", "question": "y"},
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(base, ask, body):
    response = ask(**body)
    assert response.status_code == 400
    assert response.json()


def test_without_a_token_there_is_no_answer(base):
    response = Client().post("/api/v1/ask/", {"knowledge_base": "ops", "question": "备份"})
    assert response.status_code == 401


def events(body):
    blocks = [block for block in body.decode().split("\n\n") if block.startswith("event:")]
    pairs = [block.split("\n", 1) for block in blocks]
    return [(head[7:], json.loads(data[6:])) for head, data in pairs]


@pytest.mark.django_db(transaction=True)
async def test_a_stream_tells_steps_and_sentences_then_the_answer(base, running, user):
    await database_sync_to_async(health.beat, thread_sensitive=False)("turns")
    authorization = await database_sync_to_async(bearer, thread_sensitive=False)(user)
    response = await AsyncClient().post(
        "/api/v1/ask/", {"knowledge_base": "ops", "question": "数据库备份保存在哪个目录？"},
        content_type="application/json", headers={"accept": "text/event-stream", **authorization},
    )  # fmt: skip
    assert response.streaming, response.content
    assert response["Content-Type"] == "text/event-stream"
    got = events(b"".join([chunk async for chunk in response.streaming_content]))
    kinds = [kind for kind, _data in got]
    assert [data["step"] for kind, data in got if kind == "step"] == ["clarify", "recall", "answer"]
    assert kinds[-1] == "answer"
    told = "".join(data["text"] for kind, data in got if kind == "delta")
    assert told == got[-1][1]["answer"]
    assert got[-1][1]["state"] == "answered"
    listener = get_channel_layer()._listeners[asyncio.get_running_loop()]
    assert not listener.channels
    assert not listener.groups


def test_an_error_of_a_stream_is_an_event(base, user):
    response = client_of(user).post(
        "/api/v1/ask/", {"knowledge_base": "nowhere", "question": "备份"},
        content_type="application/json", headers={"accept": "text/event-stream"},
    )  # fmt: skip
    assert response.status_code == 404
    [(kind, data)] = events(response.content)
    assert kind == "error"
    assert data["detail"]


@pytest.mark.django_db(transaction=True)
def test_the_wait_ends_with_the_turn(base, user, running):
    conversation = Conversation.objects.create(user=user, knowledge_base=base)
    health.beat("turns")
    ended = []

    def wait():
        _message, turn = asking.ask(conversation, "数据库备份保存在哪个目录？")
        ended.append(api._wait(turn))
        connection.close()

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [True, True, True]
    assert Turn.objects.filter(outcome="answered").count() == 3


def test_a_person_is_called_reached_and_rated_over_the_api(base, user, django_user_model):
    def call(verb, path="", **body):
        address = f"/api/v1/conversations/{path}"
        return getattr(api, verb)(address, body, content_type="application/json")

    api = client_of(user)
    assert call("post", knowledge_base="none").status_code == 404
    begun = call("post", knowledge_base="ops")
    assert (begun.status_code, begun.json()["state"]) == (201, "bot")
    own = f"{begun.json()['conversation']}/"
    assert call("put", f"{own}contact/", text="13800000000").status_code == 409  # nobody was called
    called = call("post", f"{own}person/").json()
    assert (called["state"], called["messages"][0]["event"]) == ("queued", "nobody_on_duty")
    assert called["standing"]["waiting"] == 0
    assert not called["standing"]["staffed"]
    assert call("put", f"{own}contact/", text="13800000000").status_code == 204
    assert call("put", f"{own}contact/", text=" ").status_code == 400
    conversation = Conversation.objects.get()
    ana = django_user_model.objects.create_user("ana", is_staff=True, first_name="安娜")
    desk.claim(conversation, ana)
    desk.reply(conversation, ana, "请重启服务")
    assert api.get(f"/api/v1/conversations/{own}").json()["standing"]["agent"] == "安娜"
    assert call("put", f"{own}satisfaction/", score=5).status_code == 409  # nothing is settled yet
    desk.resolve(conversation, ana)
    for score, code in ((0, 400), ("many", 400), (4, 204), (5, 204)):
        assert call("put", f"{own}satisfaction/", score=score, comment="很快").status_code == code
    told = api.get(f"/api/v1/conversations/{own}").json()["standing"]["satisfaction"]
    assert told == {"score": 5, "comment": "很快", "open": True}
    stranger = client_of(ana)
    for path in ("person/", "contact/", "satisfaction/"):
        verb = stranger.post if path == "person/" else stranger.put
        assert verb(f"/api/v1/conversations/{own}{path}").status_code == 404
