from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from chat import asking
from chat.models import Conversation
from handoff import desk
from handoff.models import Handoff, Satisfaction
from opsdesk.errors import Conflict
from tests.chat.sockets import Socket, visitor_cookie


def resolved_by(pk, hire):
    conversation, ana = Conversation.objects.get(pk=pk), hire("ana")
    asking.call_human(conversation, "asked")
    desk.claim(conversation, ana)
    desk.reply(conversation, ana, "请重启服务")
    desk.resolve(conversation, ana)
    return conversation


@pytest.fixture
def helped(hire):
    """A conversation that a person resolved."""
    return resolved_by(Conversation.objects.create(visitor="v" * 32).pk, hire)


def asked(conversation):
    conversation.refresh_from_db()
    return desk.standing(conversation)["satisfaction"]


def test_the_customer_rates_and_changes_their_mind_for_a_day(helped, hints):
    assert asked(helped) == {"score": None, "comment": "", "open": True}
    hints.clear()
    desk.rate(helped, 2, "等了很久")
    assert [hint["about"] for _group, hint in hints] == ["satisfaction"]
    desk.rate(helped, 5, "很快" * 400)
    given = Satisfaction.objects.get()
    assert (given.score, len(given.comment), str(given)) == (5, 500, "★★★★★")
    Satisfaction.objects.update(rated_at=timezone.now() - timedelta(hours=25))
    assert asked(helped)["score"] == 5
    assert not asked(helped)["open"]
    with pytest.raises(Conflict):
        desk.rate(helped, 1)


@pytest.mark.parametrize("score", [0, 6, -1])
def test_there_are_five_scores(helped, score):
    with pytest.raises(Conflict):
        desk.rate(helped, score)
    with pytest.raises(IntegrityError), transaction.atomic():
        Satisfaction.objects.create(handoff=Handoff.objects.get(), score=score % 100)


def test_what_no_person_resolved_is_not_rated(db, admin_user, helped):
    unhelped = Conversation.objects.create(visitor="w" * 32)
    asking.call_human(unhelped, "asked")
    assert asked(unhelped) is None
    desk.resolve(unhelped, admin_user)
    assert asked(unhelped) is None
    with pytest.raises(Conflict):
        desk.rate(unhelped, 5)
    Handoff.objects.update(closed_at=timezone.now() - timedelta(days=8))
    assert asked(helped) is None
    asking.ask(helped, "又坏了")  # it goes on
    assert asked(helped) is None


def test_staff_read_it(admin_client, helped):
    desk.rate(helped, 2, "等了很久")
    handoff = Handoff.objects.get()
    for url in (
        reverse("admin:handoff_handoff_changelist"),
        reverse("admin:handoff_handoff_change", args=[handoff.pk]),
    ):
        assert "★★☆☆☆" in admin_client.get(url).content.decode()
    assert "等了很久" in admin_client.get(url).content.decode()


def test_who_waits_hears_that_they_moved_up(hire, hints):
    ana = hire("ana")
    first, second = (Conversation.objects.create(visitor=name * 32) for name in "vw")
    for one in (first, second):
        asking.call_human(one, "asked")
    assert desk.standing(second)["waiting"] == 1
    hints.clear()
    desk.claim(first, ana)
    assert any(second.pk.hex in group for group, _hint in hints)
    assert desk.standing(second)["waiting"] == 0


@pytest.mark.django_db(transaction=True)
async def test_it_is_given_over_the_socket(hire):
    socket = Socket(visitor_cookie())
    welcome = await socket.open()
    await socket.say("转人工")
    await socket.until("ack")
    pk = welcome["conversation"]
    await database_sync_to_async(resolved_by)(pk, hire)
    asks = (await socket.until("state", state="resolved"))["satisfaction"]
    assert asks == {"score": None, "comment": "", "open": True}
    for score in ("5", 9, True):
        await socket.send({"type": "satisfaction", "score": score})
        assert (await socket.until("error"))["code"] in ("bad_message", "conflict")
    await socket.send({"type": "satisfaction", "score": 4, "comment": "可以"})
    while (given := (await socket.until("state"))["satisfaction"])["score"] is None:
        pass
    assert given == {"score": 4, "comment": "可以", "open": True}
    await socket.close()
