"""Staff judge turns, and knowledge learns from it how sure to be."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse

from chat import transcript
from chat.models import Conversation, Turn
from evaluation import verdicts
from evaluation.models import Verdict
from knowledge import calibrating, confidence
from knowledge.models import Role
from tests.knowledge import documents

pytestmark = pytest.mark.django_db
FEATURES = dict.fromkeys(confidence.SHIPPED.coefficients, 0.5)


@pytest.fixture
def base():
    return documents.base()


def turn(base, outcome=Turn.Outcome.ANSWERED, **trace):
    conversation = Conversation.objects.create(knowledge_base=base)
    message = transcript.append(conversation.pk, "customer", "怎么重启", epoch=conversation.epoch)
    trace = {"query": "怎么重启", "sureness": {"features": FEATURES, "base": base.pk}, **trace}
    return Turn.objects.create(
        conversation=conversation, message=message, epoch=0, status=Turn.Status.DONE,
        outcome=outcome, trace=trace,
    )  # fmt: skip


def staff(name, *permissions):
    user = User.objects.create_user(name, password="x", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    return user


def judge(client, one, **given):
    return client.post(reverse("admin:evaluation_verdict_judge", args=[one.pk]), given)


def test_a_judgement_is_kept_shown_and_changed(admin_client, base):
    one = turn(base)
    page = reverse("admin:chat_turn_change", args=[one.pk])
    shown = admin_client.get(page).content.decode()
    assert 'value="right"' in shown
    assert 'value="refused"' not in shown  # it was answered
    judge(admin_client, one, kind="right")
    judge(admin_client, one, kind="wrong", note="旧版本")
    assert (one.verdict.kind, one.verdict.note) == ("wrong", "旧版本")
    assert Verdict.objects.count() == 1
    assert "旧版本" in admin_client.get(page).content.decode()
    listed = admin_client.get(reverse("admin:evaluation_verdict_changelist")).content.decode()
    assert "怎么重启" in listed


def test_only_what_can_be_said_of_a_turn_is_kept(admin_client, base):
    refused, greeting = turn(base, Turn.Outcome.HANDOFF), turn(base, Turn.Outcome.CHAT)
    for one, kind in (
        (refused, "right"),
        (greeting, "right"),
        (refused, "nonsense"),
        (refused, ""),
    ):
        judge(admin_client, one, kind=kind)
    assert not Verdict.objects.exists()
    page = admin_client.get(reverse("admin:chat_turn_change", args=[greeting.pk])).content.decode()
    assert reverse("admin:evaluation_verdict_judge", args=[greeting.pk]) not in page
    judge(admin_client, refused, kind="missed")
    assert refused.verdict.right


def test_curators_of_the_base_judge_and_viewers_do_not(client, base):
    one = turn(base)
    for kind in (Role.Kind.VIEWER, Role.Kind.CURATOR):
        user = staff(kind, "view_turn")
        group = Group.objects.create(name=kind)
        user.groups.add(group)
        Role.objects.create(knowledge_base=base, group=group, kind=kind)
        client.force_login(user)
        page = client.get(reverse("admin:chat_turn_change", args=[one.pk])).content.decode()
        allowed = kind == Role.Kind.CURATOR
        assert ('class="judging"' in page) == allowed
        assert judge(client, one, kind="right").status_code == (302 if allowed else 403)
    assert one.verdict.by.username == Role.Kind.CURATOR


def test_judgements_are_labels_of_the_base_that_was_asked(base, admin_user):
    other = documents.base("other")
    kinds = [None, "right", "wrong", "unanswerable"]
    for kind in kinds:
        one = turn(base)
        if kind:
            verdicts.judge(one, kind, "", admin_user)
    verdicts.judge(turn(base, Turn.Outcome.HANDOFF), "missed", "", admin_user)
    turn(other)
    turn(base, sureness={})
    labels = calibrating.labels(base)
    assert [one.right for one in labels] == [True, False, False, True, None]
    assert labels[0].features == FEATURES
    assert labels[0].question == "怎么重启"
    assert len(calibrating.labels(other)) == 1
