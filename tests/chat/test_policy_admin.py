import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from chat import asking, runner
from chat.models import EscalationPolicy, Turn
from knowledge.models import KnowledgeBase
from tests.chat.conftest import permission

LIST = "admin:chat_escalationpolicy_changelist"
CHANGE = "admin:chat_escalationpolicy_change"
RESTORE = "admin:chat_escalationpolicy_restore"


def chosen(**fields):
    return {**EscalationPolicy().as_dict(), "offer_first": "", **fields}


@pytest.fixture
def default(admin_client):
    admin_client.get(reverse(LIST))
    return EscalationPolicy.objects.get(knowledge_base=None)


def test_the_default_is_there_and_stays(admin_client, default):
    admin_client.get(reverse(LIST))
    assert EscalationPolicy.objects.count() == 1
    assert admin_client.post(
        reverse("admin:chat_escalationpolicy_delete", args=[default.pk]), {"post": "yes"}
    ).status_code == 403  # fmt: skip


def test_staff_read_it_as_sentences(admin_client, default):
    page = admin_client.get(reverse(CHANGE, args=[default.pk])).content.decode()
    assert "客户要求人工" in page
    assert "连续几轮没有进展" in page


def test_a_preview_weighs_what_was_asked_and_saves_nothing(admin_client, default, conversation):
    for text in ("量子纠缠仪如何部署？", "谢谢"):
        other = type(conversation).objects.create(visitor="w" * 32)
        asking.ask(other, text)
    runner.run_waiting()
    url = reverse(CHANGE, args=[default.pk])
    page = admin_client.post(url, chosen(unsure="offer", _preview="1"))
    preview = page.context["preview"]
    assert (preview.turns, dict(preview.now), dict(preview.then)) == (
        2, {"call": 1, "go_on": 1}, {"offer": 1, "go_on": 1},
    )  # fmt: skip
    assert "量子纠缠" in page.content.decode()
    assert 'value="offer" id="id_unsure_1" checked' in " ".join(
        page.content.decode().split()
    ).replace("required ", "")
    default.refresh_from_db()
    assert default.unsure == "call"
    assert not LogEntry.objects.exists()


def test_what_is_saved_is_logged_and_restored_with_one_click(admin_client, default):
    url = reverse(CHANGE, args=[default.pk])
    assert admin_client.post(url, chosen(rounds_times="5")).status_code == 302
    default.refresh_from_db()
    assert default.rounds_times == 5
    assert admin_client.get(reverse(RESTORE, args=[default.pk])).status_code == 405
    admin_client.post(reverse(RESTORE, args=[default.pk]))
    default.refresh_from_db()
    assert default.rounds_times == 3
    assert LogEntry.objects.count() == 2


def test_a_wrong_number_is_said_at_its_place(admin_client, default):
    page = admin_client.post(
        reverse(CHANGE, args=[default.pk]), chosen(rounds_times="0", _preview="1")
    )
    assert "preview" not in page.context
    assert page.context["adminform"].form.errors["rounds_times"]


def test_a_base_gets_one_of_its_own_once(admin_client, default):
    base = KnowledgeBase.objects.create(slug="ops", name="运维手册")
    url = reverse("admin:chat_escalationpolicy_add")
    assert admin_client.post(url, chosen(knowledge_base=base.pk, abuse="go on")).status_code == 302
    assert EscalationPolicy.of(base.pk).abuse == "go on"
    page = admin_client.post(url, chosen(knowledge_base=base.pk))
    assert page.context["adminform"].form.errors["knowledge_base"]


def test_who_may_only_look_changes_nothing(client, django_user_model, default):
    user = django_user_model.objects.create_user("looker", is_staff=True)
    user.user_permissions.add(permission("chat.view_escalationpolicy"))
    client.force_login(user)
    url = reverse(CHANGE, args=[default.pk])
    assert client.get(url).status_code == 200
    assert client.post(url, chosen(abuse="offer")).status_code == 403
    assert client.post(reverse(RESTORE, args=[default.pk])).status_code == 403
    assert Turn.objects.count() == 0
