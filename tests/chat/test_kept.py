import datetime

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from chat import asking, kept, rating, runner, turns
from chat.models import Conversation, HttpTool, KeptAnswer, Topic, Turn
from chat.state import TurnState
from knowledge.models import Document, KnowledgeBase
from knowledge.parsing.document import Block
from knowledge.scope import Scope
from tests.chat.conftest import BACKUP, put

QUESTION = "数据库备份保存在哪个目录，保留多久？"


def asked(question=QUESTION, user=None, scope=None, **fields):
    """The turn that answers `question` in a new conversation."""
    conversation = Conversation.objects.create(visitor="w" * 32, user=user, **fields)
    _message, turn = asking.ask(conversation, question, scope=scope or Scope())
    runner.run_waiting()
    turn.refresh_from_db()
    return turn


def hit(turn):
    return "kept" in turn.trace


@pytest.fixture
def first(base):
    turn = asked()
    assert turn.outcome == "answered"
    assert not hit(turn)
    return turn


def test_the_same_answer_is_given_again(first):
    again = asked("数据库备份 保存在哪个目录，  保留多久")
    assert again.trace["kept"]["turn"] == first.pk
    assert again.reply.text == first.reply.text
    assert again.reply.data["kept"] == first.pk
    assert [c.quote for c in again.reply.citations.all()] == [
        c.quote for c in first.reply.citations.all()
    ]
    assert (again.confidence, again.trace["mode"]) == (first.confidence, "extractive")
    assert KeptAnswer.objects.get().hits == 1


def another_document(base, settings):
    put(base, "别的", Block("paragraph", "另一件事。"))


def the_document_retired(base, settings):
    Document.objects.filter(title="数据库备份").update(retired_at=timezone.now())


def a_threshold(base, settings):
    settings.CONFIDENCE = 0.4


def a_model(base, settings):
    settings.BACKENDS = {
        **settings.BACKENDS,
        "llm": {
            "BACKEND": "chat.llms.OpenAIModel",
            "OPTIONS": {
                "base_url": "http://127.0.0.1:9/v1", "api_key": "none", "model": "other",
                "temperature": 0.2, "timeout": 1.0,
            },
        },
    }  # fmt: skip


def a_name(base, settings):
    KnowledgeBase.objects.update(name="手册")


def a_topic(base, settings):
    Topic.objects.create(name="故障", triggers=["宕机"])


def a_tool(base, settings):
    HttpTool.objects.create(name="order", title="订单", description="?", url="http://localhost/")


def off(base, settings):
    settings.KEPT_ANSWERS = 0


def test_whatever_changes_it_is_made_again(first, base, settings):
    for change in (another_document, a_threshold, a_name, a_topic, a_tool):
        change(base, settings)
        assert not hit(asked()), change
        assert hit(asked()), change
    the_document_retired(base, settings)
    assert not hit(asked())
    base.refresh_from_db()
    before = kept.key(TurnState(QUESTION, [base]))
    a_model(base, settings)
    assert kept.key(TurnState(QUESTION, [base])) not in ("", before)
    off(base, settings)
    assert kept.key(TurnState(QUESTION, [base])) == ""


@pytest.mark.parametrize(
    "name", ["chat/prompts/answer.system.md", "opsdesk/env.py", "locale/zh_Hans/django.mo"]
)
def test_the_files_that_answers_are_made_by_count(monkeypatch, tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text("只根据资料回答。")
    monkeypatch.setattr(kept, "__file__", str(tmp_path / "chat" / "kept.py"))
    before = kept.contents.__wrapped__()
    file.write_text("随便回答。")
    assert kept.contents.__wrapped__() != before


def test_scope_language_prompts_and_day_count(first, monkeypatch):
    assert not hit(asked(scope=Scope(product="MySQL")))
    assert not hit(asked(language="en"))
    monkeypatch.setattr(kept, "today", lambda: timezone.localdate() + datetime.timedelta(days=1))
    assert not hit(asked())
    assert hit(asked())
    monkeypatch.setattr(kept, "contents", lambda: "other files")
    assert not hit(asked())


def test_who_may_read_something_else_gets_an_answer_of_their_own(first, base):
    group = Group.objects.create(name="dba")
    inner = KnowledgeBase.objects.create(
        slug="inner", name="内部", audience=KnowledgeBase.Audience.GROUPS
    )
    inner.groups.add(group)
    put(inner, "备份口令", Block("paragraph", BACKUP))
    member = User.objects.create(username="m")
    member.groups.add(group)
    assert not hit(asked(user=member))
    assert hit(asked(user=User.objects.create(username="other")))  # may read what visitors may
    member.groups.clear()
    member = User.objects.get(pk=member.pk)
    assert asked(user=member).trace["kept"]["turn"] == first.pk


def test_what_leans_on_what_was_said_is_made_anew(first):
    _message, second = asking.ask(first.conversation, QUESTION)
    runner.run_waiting()
    second.refresh_from_db()
    assert not hit(second)


def test_what_failed_or_called_a_person_is_not_kept(base, settings):
    a_model(base, settings)  # nobody listens there
    turn = asked()
    assert turn.trace["degraded"] == ["extractive"]
    asked("量子纠缠仪如何部署？")
    assert not KeptAnswer.objects.exists()


def test_a_bad_answer_is_given_no_more(first):
    again = asked()
    rating.rate(again.conversation, again.reply.seq, True)
    assert hit(asked())
    rating.rate(again.conversation, again.reply.seq, False, "wrong")
    assert not KeptAnswer.objects.exists()
    assert not hit(asked())


def test_an_old_one_is_made_again(first):
    KeptAnswer.objects.update(made_at=timezone.now() - datetime.timedelta(days=2))
    assert not hit(asked())
    assert hit(asked())


def test_few_and_young_ones_stay(first, settings):
    asked("磁盘使用率超过 90% 怎么找出大的日志？")
    assert KeptAnswer.objects.count() == 2
    settings.KEPT_ANSWERS = 1
    assert kept.clean() == 1
    assert KeptAnswer.objects.get().turn.message.text.startswith("磁盘")
    KeptAnswer.objects.update(made_at=timezone.now() - datetime.timedelta(days=2))
    assert kept.clean() == 1


def test_what_it_cites_is_held_like_any_other(first, base):
    """The key knows nothing of it, but the text was edited: the answer is made again."""
    chunk = base.chunks.get(document__title="数据库备份", text=BACKUP)
    base.chunks.filter(pk=chunk.pk).update(text=BACKUP.replace("14", "15"))
    turn = asked()
    assert turn.outcome == "answered"
    assert not hit(turn)
    assert "15" in turn.reply.citations.get().quote


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Nginx 怎么重启？", "nginx  怎么重启", True),
        ("ｎｇｉｎｘ怎么重启", "nginx怎么重启？？", True),
        ("ls -L 是什么", "ls -l 是什么", False),
        ("/Data 满了", "/data 满了", False),
        ("ORA-01555", "ORA-01556", False),
    ],
)
def test_what_makes_no_difference(one, other, same):
    assert (kept.normalised(one) == kept.normalised(other)) is same


def test_a_lost_lease_keeps_nothing(base):
    conversation = Conversation.objects.create(visitor="w" * 32)
    asking.ask(conversation, QUESTION)
    turn = turns.claim()
    state = turns.load(turn)
    assert not kept.answer(state)
    Turn.objects.filter(pk=turn.pk).update(attempt=5)
    assert turns.finish(turn, TurnState("?", [], outcome="answered", kept_as=state.kept_as)) == ""
    assert not KeptAnswer.objects.exists()
