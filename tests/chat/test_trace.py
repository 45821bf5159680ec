import json

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from chat import asking, runner, tracing
from chat.state import TurnState


@pytest.fixture
def turn(base, conversation):
    _message, turn = asking.ask(conversation, "磁盘使用率超过 90% 怎么找出大的日志？")
    runner.run_waiting()
    turn.refresh_from_db()
    return turn


def test_staff_open_from_a_message_how_it_came_about(turn, client):
    client.force_login(User.objects.create_superuser("root"))
    state = TurnState("?", [])
    state.used("answer.system", "ab" * 32, "qwen", 1200, None, 1234.56, "json_schema")
    turn.trace |= state.trace | {"degraded": ["no_reranker"], "errors": ["<b>boom</b>"]}
    turn.save()
    page = client.get(reverse("admin:chat_conversation_change", args=[turn.conversation_id])).text
    url = reverse("admin:chat_turn_change", args=[turn.pk])
    assert page.count(url) == 2  # from the question and from the answer
    how = client.get(url).text
    for told in (
        "answer.system", "abababababab", "qwen", "json_schema", "1235 ms", "重排模型", "磁盘空间",
        "&lt;b&gt;boom", "&quot;attempt&quot;: 1",
    ):  # fmt: skip
        assert told in how, told
    assert how.index("理解</th>") < how.index("检索</th>") < how.index("回答</th>")


def test_no_part_of_a_big_trace_vanishes():
    trace = {f"part {n}": {"text": "长" * 10_000} for n in range(40)} | {"query": "短"}
    kept = tracing.bounded(trace)
    assert list(kept) == list(trace)
    assert len(json.dumps(kept, ensure_ascii=False)) <= tracing.MOST


def test_a_trace_stays_small():
    trace = {
        "query": "短",
        "passages": [{"hits": ["词" * 500] * 50, "score": 0.5}] * 500,
        "model": {"dropped": [{"sentence": "长" * 100_000}] * 50},
    }
    kept = tracing.bounded(trace)
    assert len(json.dumps(kept, ensure_ascii=False)) <= tracing.MOST
    assert (kept["query"], kept["passages"][0]["score"]) == ("短", 0.5)
    assert tracing.bounded({"a": ["b", {"c": 1.5}]}) == {"a": ["b", {"c": 1.5}]}
