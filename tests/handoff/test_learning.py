import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from chat import asking, transcript
from chat.models import Citation, Conversation, Turn
from handoff import actions, desk
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


def click(client, conversation, name="faq_draft"):
    path = reverse("admin:handoff_run", args=[conversation.pk])
    return client.post(path, {"action": name})


def test_one_click_makes_a_draft_of_what_was_resolved(client, ana, resolved, base):
    client.force_login(ana)
    page = client.get(reverse("admin:handoff_conversation", args=[resolved.pk])).content.decode()
    assert "生成 FAQ 草稿" in page
    answer = click(client, resolved)
    entry = Entry.objects.get()
    assert answer.url == reverse("admin:knowledge_entry_change", args=[entry.pk])
    assert (entry.question, entry.state) == ("Redis 7.2 哨兵切换超时怎么办", "draft")
    assert (entry.origin, entry.knowledge_base) == ("handoff", base)
    assert entry.answer.startswith("把 failover-timeout 调到 60000\n\n")
    assert "Hunter2xyz9" not in entry.answer + str(entry.context)
    assert "您好" not in entry.answer
    assert "客户很急" not in str(entry.context)
    assert entry.context[-1]["text"] == "Redis 手册 · 第 3 页"
    assert "failover-timeout" in client.get(answer.url).content.decode()
    entry.question = "换了个问法"  # a curator's; the second click finds it still
    entry.save()
    assert click(client, resolved).url == answer.url
    assert Entry.objects.count() == 1


def test_an_entry_that_asks_the_same_is_opened(client, ana, resolved, base):
    there = Entry.objects.create(
        knowledge_base=base, question="Redis 7.2 哨兵切换超时怎么办？", answer="…"
    )
    client.force_login(ana)
    assert str(there.pk) in click(client, resolved).url
    assert Handoff.objects.get().entry == there


def test_who_may_not_change_the_base_is_not_offered_it(client, hire, resolved):
    ben = hire("ben")
    assert actions.offered(ben, resolved) == []
    client.force_login(ben)
    assert click(client, resolved).status_code == 403
    assert not Entry.objects.exists()


def test_another_team_is_not_offered_it(client, ana, resolved, hire):
    team = Team.objects.create(name="网络")
    team.agents.add(hire("ben").agent)
    Handoff.objects.update(team=team)
    client.force_login(ana)
    assert click(client, resolved).status_code == 403


def test_only_what_is_registered_and_only_by_post(client, ana, resolved):
    client.force_login(ana)
    assert click(client, resolved, "delete_everything").status_code == 403
    path = reverse("admin:handoff_run", args=[resolved.pk])
    assert client.get(path, {"action": "faq_draft"}).status_code == 405
    client.logout()
    assert click(client, resolved).status_code == 302
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
