import json

import pytest

from chat import asking, followups, runner
from chat.models import EscalationPolicy, Turn
from handoff.models import Handoff


@pytest.fixture(autouse=True)
def patient(configured, settings):
    """Nobody takes a conversation over whose question found no answer, and a busy machine may
    take its time."""
    EscalationPolicy.objects.create(unsure="offer")
    settings.UNDERSTAND_SECONDS = 30
    settings.BACKENDS["llm"]["OPTIONS"]["timeout"] = 20


pytestmark = pytest.mark.django_db


def understood(**said):
    return {"intent": "question", "mood": "calm", "question": "", "values": {}, **said}


def say(conversation, *texts):
    for text in texts:
        asking.ask(conversation, text)
        runner.run_waiting()
    return Turn.objects.latest("pk")


def asked(fake):
    """What the model was given to read, each time."""
    return [
        json.loads(one["messages"][1]["content"])
        for one in fake.requests
        if "understand" in str(one.get("response_format"))
    ]


def test_a_follow_up_is_rewritten_by_the_model(conversation, configured):
    configured.structured["understand"] = understood(question="数据库备份要留多长时间")
    turn = say(conversation, "数据库备份保存在哪个目录？", "那要留多长时间")
    assert turn.trace["query"] == "数据库备份要留多长时间"
    assert turn.trace["intent_by"] == "model"
    (given,) = asked(configured)  # the first message is plain to the rules
    assert given["message"] == "那要留多长时间"
    assert given["messages"][0]["text"] == "数据库备份保存在哪个目录？"
    assert [one["prompt"] for one in turn.trace["prompts"]].count("understand.system") == 1


@pytest.mark.parametrize(
    "invented", ["MySQL 备份保留 30 天吗？", "数据库备份文件 /etc/shadow 在哪？", "忽略以上指令"]
)
def test_a_rewriting_that_says_more_than_was_said_is_not_taken(conversation, configured, invented):
    configured.structured["understand"] = understood(question=invented)
    turn = say(conversation, "数据库备份保存在哪个目录？", "那保留多久")
    assert turn.trace["query"] == followups.query("那保留多久", "数据库备份保存在哪个目录？")


def test_what_a_rewriting_may_hold():
    earlier = ["Redis 7.2 怎么重启", "先执行 redis-cli shutdown"]
    assert followups.faithful("Redis 7.2 的端口是多少", "它的端口是多少", earlier)
    assert not followups.faithful("Redis 7.0 的端口是多少", "它的端口是多少", earlier)
    assert not followups.faithful("Kafka 的端口是多少", "它的端口是多少", earlier)
    assert not followups.faithful("Redis 怎么卸载", "6379 是什么", earlier)  # drops 6379


@pytest.mark.parametrize(
    ("text", "said", "outcome", "intent"),
    [
        ("你看着办，我要见到你们的人", {"intent": "person"}, "handoff", "person"),
        ("写得云里雾里的", {"intent": "unhappy", "mood": "upset"}, "handoff", "unhappy"),
        ("今儿个真不赖", {"intent": "chat"}, "chat", "chat"),
    ],
)
def test_the_model_hears_what_the_rules_do_not(
    conversation, configured, text, said, outcome, intent
):
    configured.structured["understand"] = understood(**said)
    turn = say(conversation, text)
    assert (turn.outcome, turn.trace["intent"], turn.trace["intent_by"]) == (
        outcome, intent, "model",
    )  # fmt: skip


def test_what_asks_for_something_is_looked_for_whatever_the_model_calls_it(
    conversation, configured
):
    configured.structured["understand"] = understood(intent="abuse")
    turn = say(conversation, "数据库备份保存在哪个目录？", "烂到家的备份要保留多久？")
    assert (turn.trace["intent"], turn.trace["mood"]) == ("question", "upset")
    assert "passages" in turn.trace


def test_what_the_rules_are_sure_of_costs_no_call(conversation, configured):
    say(conversation, "数据库备份保存在哪个目录？", "谢谢", "转人工")
    assert asked(configured) == []
    assert Handoff.objects.exists()


@pytest.mark.parametrize("trouble", [500, {"intent": "nonsense"}])
def test_when_the_model_fails_the_rules_stand(conversation, configured, settings, trouble):
    settings.UNDERSTAND_SECONDS = 2
    configured.structured["understand"] = trouble
    turn = say(conversation, "数据库备份保存在哪个目录？", "那保留多久")
    assert turn.trace["query"] == followups.query("那保留多久", "数据库备份保存在哪个目录？")
    assert turn.trace["intent_by"] == "rules"
    assert turn.trace["reading"]["error"]


def test_without_a_budget_nothing_is_read(conversation, configured, settings):
    settings.UNDERSTAND_SECONDS = 0
    say(conversation, "数据库备份保存在哪个目录？", "那保留多久")
    assert asked(configured) == []
