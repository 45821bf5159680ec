import pytest
from django.urls import reverse
from django.utils import timezone

from chat import asking, transcript
from chat.models import Conversation, Turn
from handoff.models import Agent, Handoff
from knowledge.models import KnowledgeBase


@pytest.fixture
def waiting(db):
    conversation = Conversation.objects.create(visitor="v" * 32)
    asking.ask(conversation, "生产库连不上了")
    asking.call_human(conversation, "asked")
    return conversation


@pytest.fixture
def agent(db, django_user_model):
    user = django_user_model.objects.create_user("ana", is_staff=True)
    Agent.objects.create(user=user)
    return user


def url(name, conversation):
    return reverse(f"admin:handoff_{name}", args=[conversation.pk])


def act(client, conversation, action, **data):
    path = url("act", conversation)
    return client.post(path, {"action": action, **data}, follow=True).content.decode()


def test_an_agent_sees_takes_answers_and_resolves(client, agent, waiting):
    client.force_login(agent)
    queue = client.get(reverse("admin:handoff_handoff_changelist")).content.decode()
    assert "生产库连不上了" in queue
    assert url("conversation", waiting) in queue
    page = client.get(url("conversation", waiting)).content.decode()
    assert "接手" in page
    assert 'id="reply"' not in page
    page = act(client, waiting, "claim")
    assert "人工客服已经接手！" in page
    assert 'id="reply"' in page
    page = act(client, waiting, "reply", text="请重启 **mysqld**", client_msg_id="a")
    assert "<strong>mysqld</strong>" in page
    act(client, waiting, "reply", text="请重启 **mysqld**", client_msg_id="a")
    assert waiting.messages.filter(role="agent").count() == 1
    act(client, waiting, "resolve")
    waiting.refresh_from_db()
    assert (waiting.state, waiting.owner) == ("resolved", None)
    assert Handoff.objects.get().status == "resolved"


def test_the_conversation_can_be_given_back(client, agent, waiting):
    client.force_login(agent)
    act(client, waiting, "claim")
    act(client, waiting, "return")
    waiting.refresh_from_db()
    assert waiting.state == "bot"


def test_who_comes_second_reads_who_was_first(client, agent, waiting, django_user_model):
    client.force_login(agent)
    act(client, waiting, "claim")
    second = django_user_model.objects.create_superuser("root")
    client.force_login(second)
    page = act(client, waiting, "claim")
    assert "已有其他人先处理了" in page
    assert "ana" in page
    page = act(client, waiting, "reply", text="我也来")
    assert "只有接手了这个会话的人才能回复" in page


@pytest.mark.parametrize("text", ["", "  ", "长" * 2001])
def test_an_answer_has_a_length(client, agent, waiting, text):
    client.force_login(agent)
    act(client, waiting, "claim")
    assert "2000" in act(client, waiting, "reply", text=text)
    assert not waiting.messages.filter(role="agent").exists()


def test_staff_who_are_no_agents_are_not_let_in(client, waiting, django_user_model):
    client.force_login(django_user_model.objects.create_user("bob", is_staff=True))
    assert client.get(url("conversation", waiting)).status_code == 403
    assert client.get(url("messages", waiting)).status_code == 403
    assert client.post(url("act", waiting), {"action": "claim"}).status_code == 403
    assert client.get(reverse("admin:handoff_handoff_changelist")).status_code == 403
    assert client.post(reverse("admin:handoff_duty"), {"on_duty": "1"}).status_code == 403
    waiting.refresh_from_db()
    assert waiting.state == "queued"


def test_strangers_are_sent_to_the_login(client, waiting):
    assert client.post(url("act", waiting), {"action": "claim"}).status_code == 302
    waiting.refresh_from_db()
    assert waiting.state == "queued"


def test_nothing_changes_by_a_get(client, agent, waiting):
    client.force_login(agent)
    assert client.get(url("act", waiting) + "?action=claim").status_code == 405
    assert client.get(reverse("admin:handoff_duty") + "?on_duty=1").status_code == 405


def test_what_is_said_meanwhile_is_fetched(client, agent, waiting):
    client.force_login(agent)
    transcript.append(waiting.pk, "customer", "<b>在吗</b>")
    waiting.refresh_from_db()
    body = client.get(url("messages", waiting), {"after": waiting.last_seq - 1}).json()
    assert "&lt;b&gt;在吗&lt;/b&gt;" in body["html"]
    assert "生产库" not in body["html"]
    assert (body["epoch"], body["last"]) == (1, waiting.last_seq)


def test_going_on_duty_makes_an_agent_available(client, agent):
    client.force_login(agent)
    assert not Agent.objects.available().exists()
    client.post(reverse("admin:handoff_duty"), {"on_duty": "1"})
    assert Agent.objects.available().get().user == agent
    client.post(reverse("admin:handoff_duty"), {"on_duty": "0"})
    assert not Agent.objects.available().exists()


def test_the_queue_says_when_it_changed(client, agent, waiting):
    client.force_login(agent)
    path = reverse("admin:handoff_pulse")
    before = client.get(path).json()
    act(client, waiting, "claim")
    after = client.get(path).json()
    assert (before["waiting"], after["waiting"]) == (1, 0)
    assert before["pulse"] != after["pulse"]
    assert Agent.objects.get().seen_at > timezone.now() - timezone.timedelta(seconds=30)


def test_the_longest_wait_is_on_top(client, agent, waiting):
    later = Conversation.objects.create(visitor="w" * 32, title="后来的")
    asking.call_human(later, "asked")
    taken = Conversation.objects.create(visitor="x" * 32, title="已接手的")
    asking.call_human(taken, "asked")
    client.force_login(agent)
    act(client, taken, "claim")
    queue = client.get(reverse("admin:handoff_handoff_changelist")).content.decode()
    places = [queue.index(title) for title in ("生产库连不上了", "后来的", "已接手的")]
    assert places == sorted(places)


def test_the_start_page_tells_who_waits(admin_client, waiting):
    page = admin_client.get(reverse("admin:index")).content.decode()
    assert "等待人工" in page
    assert "转人工" in page


def test_turns_and_conversations_are_shown_and_not_changed(admin_client, waiting):
    turn = Turn.objects.get()
    turn.trace = {
        "query": "生产库 连不上", "steps": {"clarify": 1.5}, "mode": "extractive",
        "passages": [
            {"chunk_id": 1, "title": "手册", "locator": "第 3 页", "score": 0.7,
             "scores": {"words": 12.3}, "hits": ["生产库"]},
        ],
    }  # fmt: skip
    turn.save()
    base = KnowledgeBase.objects.create(slug="o", name="o", audience="visitors")
    page = admin_client.get(reverse("admin:chat_turn_change", args=[turn.pk])).content.decode()
    assert f"/{base.pk}/missed/?q=" in page
    assert "生产库 连不上" in page
    assert "12.30" in page
    for name, pk in (("turn", turn.pk), ("conversation", waiting.pk)):
        path = reverse(f"admin:chat_{name}_change", args=[pk])
        assert admin_client.get(path).status_code == 200
        assert admin_client.post(path, {}).status_code == 403
        assert admin_client.get(reverse(f"admin:chat_{name}_changelist")).status_code == 200
    assert "生产库连不上了" in admin_client.get(path).content.decode()
