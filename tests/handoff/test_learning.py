import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from chat import asking, transcript
from chat.models import Citation, Conversation, Turn
from handoff import acting, actions, desk
from handoff.models import Handoff, Team
from knowledge.models import Entry, KnowledgeBase, Role
from opsdesk.errors import Conflict


@pytest.fixture
def base(db):
    return KnowledgeBase.objects.create(slug="ops", name="运维手册", audience="visitors")


@pytest.fixture
def ana(hire, base):
    """An agent who curates the base."""
    user = hire("ana")
    group = Group.objects.create(name="curators")
    user.groups.add(group)
    Role.objects.create(group=group, knowledge_base=base, kind=Role.Kind.CURATOR)
    return user


@pytest.fixture
def resolved(base, ana):
    conversation = Conversation.objects.create(visitor="v" * 32, knowledge_base=base)
    asking.ask(conversation, "Redis 哨兵切换超时怎么办")
    answer = transcript.append(conversation.pk, "assistant", "请看手册。[1]")
    Citation.objects.create(message=answer, n=1, title="Redis 手册", locator="第 3 页", quote="…")
    _message, turn = asking.ask(conversation, "那 7.2 呢")
    trace = {"query": "Redis 7.2 哨兵切换超时怎么办", "completed": True}
    Turn.objects.filter(pk=turn.pk).update(trace=trace, outcome="answered")
    _message, calling = asking.ask(conversation, "转人工")
    asking.call_human(conversation, "asked", calling)
    desk.claim(conversation, ana)
    for text in ("您好", "把 failover-timeout 调到 60000 [1]", "密码: Hunter2xyz9 不要外传"):
        desk.reply(conversation, ana, text)
    desk.note(conversation, ana, "内部：客户很急")
    desk.resolve(conversation, ana)
    conversation.refresh_from_db()
    return conversation


def click(user, conversation, name="faq_draft"):
    return acting.run(user, conversation, name)


def refused(user, conversation, name="faq_draft"):
    with pytest.raises(acting.Refused) as why:
        click(user, conversation, name)
    return why.value.code


def test_one_click_makes_a_draft_of_what_was_resolved(client, ana, resolved, base):
    assert actions.offered(ana, resolved) == [{"name": "faq_draft", "title": "生成 FAQ 草稿"}]
    answer = click(ana, resolved)
    entry = Entry.objects.get()
    assert answer.url == reverse("admin:knowledge_entry_change", args=[entry.pk])
    assert (entry.question, entry.state) == ("Redis 7.2 哨兵切换超时怎么办", "draft")
    assert (entry.origin, entry.knowledge_base) == ("handoff", base)
    assert entry.answer.startswith("把 failover-timeout 调到 60000\n\n")
    assert "Hunter2xyz9" not in entry.answer + str(entry.context)
    assert "您好" not in entry.answer
    assert "客户很急" not in str(entry.context)
    assert entry.context[-1]["text"] == "Redis 手册 · 第 3 页"
    client.force_login(ana)
    assert "failover-timeout" in client.get(answer.url).content.decode()
    entry.question = "换了个问法"  # a curator's; the second click finds it still
    entry.save()
    assert click(ana, resolved).url == answer.url
    assert Entry.objects.count() == 1


def test_an_entry_that_asks_the_same_is_opened(ana, resolved, base):
    there = Entry.objects.create(
        knowledge_base=base, question="Redis 7.2 哨兵切换超时怎么办？", answer="…"
    )
    assert str(there.pk) in click(ana, resolved).url
    assert Handoff.objects.get().entry == there


def test_who_may_not_change_the_base_is_told_so(hire, resolved):
    ben = hire("ben")
    [shown] = actions.offered(ben, resolved)
    assert shown["name"] == "faq_draft"
    assert "权限" in shown["refused"]
    assert refused(ben, resolved) == "forbidden"
    assert not Entry.objects.exists()


def test_where_nothing_tells_the_base_no_right_is_said_to_be_missing(
    hire, ana, resolved, admin_user
):
    KnowledgeBase.objects.create(slug="net", name="网络手册")
    Conversation.objects.filter(pk=resolved.pk).update(knowledge_base=None)
    resolved.refresh_from_db()
    assert actions.offered(admin_user, resolved) == []
    [shown] = actions.offered(hire("ben"), resolved)  # who has none at all
    assert "权限" in shown["refused"]


def test_another_team_is_not_offered_it(ana, resolved, hire):
    team = Team.objects.create(name="网络")
    team.agents.add(hire("ben").agent)
    Handoff.objects.update(team=team)
    assert refused(ana, resolved) == "forbidden"


def test_only_what_is_registered_is_done(ana, resolved):
    assert refused(ana, resolved, "delete_everything") == "forbidden"
    assert not Entry.objects.exists()


def test_an_open_conversation_makes_no_draft(ana, base):
    conversation = Conversation.objects.create(visitor="v" * 32, knowledge_base=base)
    asking.ask(conversation, "磁盘满了怎么办")
    asking.call_human(conversation, "asked")
    assert actions.offered(ana, conversation) == []
    desk.claim(conversation, ana)
    desk.resolve(conversation, ana)
    assert actions.offered(ana, conversation) == [{"name": "faq_draft", "title": "生成 FAQ 草稿"}]
    with pytest.raises(Conflict):  # nobody answered
        actions.run(ana, conversation, "faq_draft")
