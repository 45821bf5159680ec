import pytest
from channels.db import database_sync_to_async
from django.test import Client

from chat import asking, rating, runner
from chat.models import Rating, Turn
from opsdesk.errors import Conflict
from tests.chat.sockets import Socket, visitor_cookie
from tests.chat.test_api import client_of

ASKED = "磁盘使用率超过 90% 怎么找出大的日志？"


@pytest.fixture
def answer(base, conversation):
    asking.ask(conversation, ASKED)
    runner.run_waiting()
    return Turn.objects.get().reply


def test_a_rating_is_changed_and_taken_back(answer):
    rating.rate(answer.conversation, answer.seq, False, "wrong", "端口不对")
    assert str(Rating.objects.get()).startswith("👎 ")
    rating.rate(answer.conversation, answer.seq, True, "wrong", "端口不对")
    kept = Rating.objects.get()
    assert (kept.helpful, kept.reason, kept.comment) == (True, "", "")
    rating.rate(answer.conversation, answer.seq, None)
    assert not Rating.objects.exists()


def test_only_an_answer_is_rated(answer):
    with pytest.raises(Conflict):
        rating.rate(answer.conversation, answer.seq - 1, True)  # the question
    asking.ask(answer.conversation, "你好")
    runner.run_waiting()
    with pytest.raises(Conflict):
        rating.rate(answer.conversation, Turn.objects.latest("pk").reply.seq, True)


def test_by_api_only_ones_own(answer, django_user_model):
    user, other = (django_user_model.objects.create_user(name) for name in ("a", "b"))
    conversation = answer.conversation
    conversation.user = user
    conversation.save()
    url = f"/api/v1/conversations/{conversation.pk}/messages/{answer.seq}/rating/"

    def put(client, **said):
        return client.put(url, said, content_type="application/json")

    assert put(client_of(user), helpful=False, reason="outdated").status_code == 204
    assert put(client_of(user), helpful=False, reason="nonsense").status_code == 400
    assert put(client_of(other), helpful=True).status_code == 404
    assert put(Client(), helpful=True).status_code in (401, 403)
    assert Rating.objects.get().reason == "outdated"
    shown = client_of(user).get(f"/api/v1/conversations/{conversation.pk}/").json()
    assert shown["messages"][-1]["rating"] == {
        "helpful": False, "reason": "outdated", "comment": "",
    }  # fmt: skip
    assert shown["last"]["seq"] == answer.seq
    question = url.replace(f"/{answer.seq}/", "/1/")
    said = client_of(user).put(question, {"helpful": True}, content_type="application/json")
    assert said.status_code == 409


@pytest.mark.django_db(transaction=True)
async def test_over_the_socket_every_window_is_told(base, running):
    cookie = visitor_cookie()
    first, second, stranger = Socket(cookie), Socket(cookie), Socket(visitor_cookie())
    try:
        conversation = (await first.open())["conversation"]
        await first.say(ASKED)
        seq = 0
        while not seq:
            event = await first.until("message")
            seq = event["message"]["seq"] if event["message"]["role"] == "assistant" else 0
        await second.open(conversation=conversation)
        await first.send({"type": "rate", "seq": seq, "helpful": False, "reason": "unclear"})
        for window in (first, second):
            told = {}
            while not told.get("rating"):
                told = (await window.until("message"))["message"]
            assert told["rating"]["reason"] == "unclear" and told["seq"] == seq
        await stranger.open()
        await stranger.send({"type": "rate", "seq": seq, "helpful": True})
        assert (await stranger.until("error"))["code"] == "conflict"
        for wrong in ({"seq": "1"}, {"seq": seq, "helpful": 7}, {"seq": seq, "reason": 1}):
            await first.send({"type": "rate", "helpful": True, **wrong})
            assert (await first.until("error"))["code"] == "bad_message"
        kept = await database_sync_to_async(Rating.objects.get)()
        assert kept.helpful is False
    finally:
        for window in (first, second, stranger):
            await window.close()
