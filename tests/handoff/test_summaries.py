import pytest
from django_q.models import OrmQ

from chat import asking, transcript
from chat.models import Conversation
from handoff import desk, summaries
from handoff.models import Handoff
from tests.chat.conftest import configured, fake  # noqa: F401

ASKED = "Redis 7.2 哨兵切换超时，报错 ERR-1042，手机 13912345678"
STATEMENTS = [
    {"part": "problem", "text": "客户的 Redis 7.2 哨兵切换超时", "from": [1]},
    {"part": "fact", "text": "报错 ERR-1042", "from": [1]},
    {"part": "tried", "text": "重启过哨兵，还是超时", "from": [2]},
]


@pytest.fixture
def model(configured, settings):  # noqa: F811
    settings.BACKENDS["llm"]["OPTIONS"]["timeout"] = 20  # of a busy machine
    return configured


@pytest.fixture
def conversation(db):
    made = Conversation.objects.create(visitor="v" * 32)
    asking.ask(made, ASKED)
    transcript.append(made.pk, "customer", "重启过哨兵，还是超时，你们快点")
    return made


def called(conversation):
    asking.call_human(conversation, "asked")
    return Handoff.objects.get()


def queued():
    return [one.task["args"] for one in OrmQ.objects.all() if one.func() == summaries.TASK]


def told(*statements, mood="impatient"):
    return {"statements": [*STATEMENTS, *statements], "mood": mood}


def test_without_a_model_the_digest_stands(conversation):
    handoff = called(conversation)
    assert "哨兵切换超时" in handoff.summary
    assert "13912345678" not in handoff.summary
    assert queued() == []
    summaries.refresh(handoff.pk)
    assert Handoff.objects.get().summary == handoff.summary


def test_a_model_writes_a_paragraph_in_the_place_of_the_digest(conversation, model, hints):
    model.structured["handoff"] = told()
    handoff = called(conversation)
    assert "ERR-1042" in handoff.summary  # the digest is there at once
    assert queued() == [(handoff.pk,)]
    hints.clear()
    summaries.refresh(handoff.pk)
    assert Handoff.objects.get().summary == (
        "问题：客户的 Redis 7.2 哨兵切换超时。 已尝试：重启过哨兵，还是超时。"
        " 已知：报错 ERR-1042。 情绪：不耐烦。"
    )
    assert [hint["about"] for _group, hint in hints] == ["summary"]
    assert "13912345678" not in str(model.requests)
    summaries.refresh(handoff.pk)  # once more asks nobody
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    "lie",
    [
        {"part": "fact", "text": "已升级到 8.0", "from": [1]},
        {"part": "fact", "text": "报错 ERR-1042", "from": [2]},  # it is in another
        {"part": "fact", "text": "报错 ERR-1042", "from": [99]},
        {"part": "tried", "text": "执行过 redis-cli flushall", "from": [2]},
        {"part": "open", "text": "客户要求退款赔偿", "from": [1]},
    ],
)
def test_what_was_not_said_is_left_out(conversation, model, lie):
    model.structured["handoff"] = told(lie)
    handoff = called(conversation)
    summaries.refresh(handoff.pk)
    summary = Handoff.objects.get().summary
    assert summary.startswith("问题：")
    assert summary.count("ERR-1042") == 1
    assert not any(word in summary for word in ("8.0", "flushall", "退款"))


@pytest.mark.parametrize(
    "answer",
    [
        401,
        {"statements": [], "mood": "calm"},
        {"statements": STATEMENTS[1:], "mood": "calm"},  # no problem
        {"statements": [{"part": "problem", "text": "打印机坏了", "from": [1]}], "mood": "calm"},
    ],
)
def test_what_fails_leaves_the_digest(conversation, model, answer):
    model.structured["handoff"] = answer
    handoff = called(conversation)
    summaries.refresh(handoff.pk)
    assert Handoff.objects.get().summary == handoff.summary


def test_a_closed_handoff_keeps_what_was_read(conversation, model, admin_user):
    model.structured["handoff"] = told()
    handoff = called(conversation)
    desk.resolve(conversation, admin_user)
    summaries.refresh(handoff.pk)
    assert Handoff.objects.get().summary == handoff.summary
    assert not model.requests


def test_who_steps_in_has_a_digest_too(conversation, admin_user):
    assert "ERR-1042" in desk.take_over(conversation, admin_user).summary
