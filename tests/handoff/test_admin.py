import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse, reverse_lazy

from chat import asking
from chat.models import Conversation, Turn
from handoff import desk
from handoff.models import Agent, Handoff, Team
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


LIST = reverse_lazy("admin:handoff_handoff_changelist")


def test_what_was_handed_off_is_read_and_not_changed(client, admin_client, agent, waiting):
    page = admin_client.get(LIST).content.decode()
    assert f"/console/#{waiting.pk}" in page
    handoff = Handoff.objects.get()
    path = reverse("admin:handoff_handoff_change", args=[handoff.pk])
    assert admin_client.get(path).status_code == 200
    assert admin_client.post(path, {"status": "resolved"}).status_code == 403
    # An agent works at the console, which knows whose conversations are whose.
    client.force_login(agent)
    assert client.get(LIST).status_code == 403


def test_the_longest_wait_is_on_top(admin_client, agent, waiting):
    later = Conversation.objects.create(visitor="w" * 32, title="后来的")
    asking.call_human(later, "asked")
    taken = Conversation.objects.create(visitor="x" * 32, title="已接手的")
    asking.call_human(taken, "asked")
    desk.claim(taken, agent)
    queue = admin_client.get(LIST).content.decode()
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


AGENTS = reverse_lazy("admin:handoff_agent_changelist")
NEW = {
    "capacity": "5", "memberships-TOTAL_FORMS": "1", "memberships-INITIAL_FORMS": "0",
    "memberships-0-leads": "on",
}  # fmt: skip


def test_skills_are_told_apart_by_the_commas_of_any_keyboard(admin_client, agent):
    path = reverse("admin:handoff_agent_change", args=[Agent.objects.get().pk])
    made = {**NEW, "memberships-TOTAL_FORMS": "0", "user": agent.pk, "skills": "MySQL，英语, 网络"}
    assert admin_client.post(path, made).status_code == 302
    assert Agent.objects.get().skills == ["MySQL", "英语", "网络"]


def test_who_is_made_an_agent_may_work_at_the_console(client, admin_client, django_user_model):
    lead, team = django_user_model.objects.create_user("lea"), Team.objects.create(name="运维")
    made = {**NEW, "user": lead.pk, "memberships-0-team": team.pk}
    page = admin_client.post(reverse("admin:handoff_agent_add"), made, follow=True)
    assert "/console/" in page.content.decode()
    client.force_login(lead)
    assert (
        client.get("/console/").status_code == client.get("/console/overview/").status_code == 200
    )
    # The administration has a way there, for who may go.
    for door in ("/console/", "/console/overview/"):
        assert f'<a href="{door}">' in client.get(reverse("admin:index")).content.decode()


@pytest.mark.parametrize("door", ["page", "action"])
def test_whom_a_deleted_agent_talked_to_waits_for_another(admin_client, agent, waiting, door):
    desk.claim(waiting, agent)
    pk = agent.agent.pk
    if door == "page":
        admin_client.post(reverse("admin:handoff_agent_delete", args=[pk]), {"post": "yes"})
    else:
        chosen = {"action": "delete_selected", "_selected_action": pk, "post": "yes"}
        admin_client.post(reverse("admin:handoff_agent_changelist"), chosen)
    waiting.refresh_from_db()
    assert not Agent.objects.filter(pk=pk).exists()
    assert (waiting.state, waiting.owner) == ("queued", None)


def test_who_may_not_sign_in_any_more_is_not_let_in_by_the_next_change(admin_client, agent):
    agent.is_staff = False
    agent.save()
    saved, path = Agent.objects.get(), "admin:handoff_agent_change"
    changed = {**NEW, "user": agent.pk, "capacity": "7", "memberships-TOTAL_FORMS": "0"}
    admin_client.post(reverse(path, args=[saved.pk]), changed)
    saved.refresh_from_db()
    assert (saved.capacity, saved.user.is_staff) == (7, False)


def test_who_may_not_change_users_makes_agents_of_staff_alone(client, django_user_model):
    clerk = django_user_model.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__endswith="_agent"))
    outsider = django_user_model.objects.create_user("out")
    client.force_login(clerk)
    assert 'href="/console/"' not in client.get(AGENTS).content.decode()
    client.post(reverse("admin:handoff_agent_add"), {**NEW, "user": outsider.pk})
    assert not Agent.objects.exists()
    client.post(reverse("admin:handoff_agent_add"), {**NEW, "user": clerk.pk})
    assert Agent.objects.get().user == clerk
