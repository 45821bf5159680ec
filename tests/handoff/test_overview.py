"""What supervisors see and do."""

from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat import asking
from chat.models import Conversation
from handoff import desk, overview
from handoff.models import Agent, Handoff, Membership, Team
from opsdesk import sockets
from tests.chat.sockets import Socket
from tests.handoff.conftest import check_invariants, check_loads
from tests.handoff.consoles import cookie_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def team(db):
    return Team.objects.create(name="运维", first_minutes=5)


@pytest.fixture
def members(team, hire):
    made = {name: hire(name) for name in ("ana", "ben", "lea")}
    for name, user in made.items():
        Membership.objects.create(team=team, agent=user.agent, leads=name == "lea")
    return made


def calling(title, minutes=0):
    conversation = Conversation.objects.create(visitor="v" * 32, title=title)
    asking.call_human(conversation, "asked")
    past = timedelta(minutes=minutes)
    handoff = Handoff.objects.get(conversation=conversation)
    handoff.requested_at -= past
    handoff.first_due = handoff.first_due - past if handoff.first_due else None
    handoff.save()
    return conversation


def test_queues_waits_promises_and_hands(members, team, hire):
    ana, ben, lea = members.values()
    calling("刚到的")
    calling("等久的", minutes=8)
    held = calling("在办的")
    desk.claim(held, ana)
    Agent.objects.filter(user=ben).update(seen_at=timezone.now() - timedelta(hours=1))
    elsewhere = Team.objects.create(name="网络")
    Handoff.objects.filter(conversation=calling("别组的")).update(team=elsewhere)

    seen = overview.picture(lea)
    [row] = seen["teams"]
    assert {name: row[name] for name in ("name", "waiting", "taken", "broken", "at_risk")} == {
        "name": "运维", "waiting": 2, "taken": 1, "broken": 1, "at_risk": 2,
    }  # fmt: skip
    assert row["agents"] == {"there": 2, "all": 3}
    assert [one["title"] for one in seen["waiting"]] == ["等久的", "刚到的"]
    agents = {one["name"]: one for one in seen["agents"]}
    assert list(agents) == ["ana", "lea", "ben"]
    assert [one["title"] for one in agents["ana"]["holds"]] == ["在办的"]
    assert (agents["ana"]["load"], agents["ben"]["there"]) == (1, False)
    # A superuser sees all teams.
    root = hire("root")
    root.is_superuser = True
    assert {row["name"] for row in overview.picture(root)["teams"]} == {"运维", "网络"}


def test_only_what_is_listed_or_held_is_described(members, monkeypatch, django_assert_num_queries):
    ana, _ben, lea = members.values()
    monkeypatch.setattr(overview, "LISTED", 2)
    described = []
    standing = overview.standing
    monkeypatch.setattr(
        overview, "standing", lambda one, *rest: described.append(one) or standing(one, *rest)
    )
    desk.claim(calling("在办的"), ana)
    calling("一")
    with CaptureQueriesContext(connection) as few:
        overview.picture(lea)
    for title in "二三四五":
        calling(title)
    del described[:]
    with django_assert_num_queries(len(few)):
        seen = overview.picture(lea)
    assert [one["title"] for one in seen["waiting"]] == ["一", "二"]
    assert {one.title for one in described} == {"在办的", "一", "二"}
    assert seen["teams"][0]["waiting"] == 5


@pytest.fixture
def midday():
    """What was some hours ago was today."""
    offset = (12 - timezone.now().hour) * 60
    with timezone.override(timezone.get_fixed_timezone(offset)):
        yield


def test_todays_figures(members, midday):
    ana, lea = members["ana"], members["lea"]
    first, second = calling("一", minutes=4), calling("二", minutes=20)
    for one in (first, second):
        desk.claim(one, ana)
        desk.reply(one, ana, "请重启")
    desk.resolve(first, ana)
    desk.rate(first, 4)
    desk.return_to_bot(second, ana)
    today = overview.picture(lea)["today"]
    assert today["called"] + 0 == today["taken"] == 2
    assert (today["resolved"], today["returned"]) == (1, 1)
    assert (today["waited"], today["longest"]) == (12.0, 20.0)
    assert (today["kept"], today["promised"], today["score"], today["rated"]) == (1, 2, 4, 1)


def test_who_was_waited_for_is_the_first_who_came(members, midday):
    ana, ben, lea = members.values()
    conversation = calling("一", minutes=4)
    desk.claim(conversation, ana)
    Handoff.objects.update(  # four minutes until ana came, an hour's work since
        requested_at=F("requested_at") - timedelta(hours=1),
        taken_at=F("taken_at") - timedelta(hours=1),
    )
    desk.transfer(conversation, ana)
    desk.claim(conversation, ben)
    desk.take_over(Conversation.objects.create(visitor="v" * 32), lea)  # nobody called
    today = overview.picture(lea)["today"]
    assert (today["waited"], today["longest"]) == (4.0, 4.0)


@pytest.mark.django_db(transaction=True)
async def test_a_supervisor_moves_conversations_and_people(members, hire):
    ana, ben, lea = members.values()
    db = database_sync_to_async
    other = await db(hire)("carl")
    conversation = await db(calling)("磁盘满了")
    socket = Socket(await db(cookie_of)(lea))
    socket.path = "/ws/overview/"
    socket.app.scope["path"] = socket.path
    await socket.connect()
    await socket.send({"type": "hello"})
    [waiting] = (await socket.until("overview"))["waiting"]
    about = {"type": "act", "conversation": waiting["conversation"]}
    for junk in ([], {}, None, 1):
        await socket.send({**about, "action": junk})
        assert (await socket.until("error"))["code"] == "bad_message"

    async def holders():
        while True:
            seen = await socket.until("overview")
            if not seen["waiting"] or seen["waiting"][0]["epoch"] > waiting["epoch"]:
                return {one["name"]: len(one["holds"]) for one in seen["agents"]}

    await socket.send({**about, "action": "assign", "epoch": 1, "agent": ana.pk})
    assert (await holders())["ana"] == 1
    await socket.send({**about, "action": "assign", "epoch": 1, "agent": ben.pk})
    assert (await socket.until("error"))["code"] == "conflict"  # it has moved on
    await socket.send({**about, "action": "assign", "epoch": 2, "agent": ben.pk})
    while (await holders())["ben"] != 1:
        pass
    await socket.send({**about, "action": "transfer", "epoch": 3})
    while any((await holders()).values()):
        pass
    handoff = await db(Handoff.objects.get)()
    assert (handoff.status, handoff.passed) == ("waiting", [ben.pk])  # not offered to ben again
    await db(check_invariants)(conversation)
    await db(check_loads)()
    for agent, code in ((ana, None), (other, "forbidden")):
        await socket.send({"type": "duty", "agent": agent.pk, "on": False})
        if code:
            assert (await socket.until("error"))["code"] == code
    assert not (await db(Agent.objects.get)(user=ana)).on_duty
    assert (await db(Agent.objects.get)(user=other)).on_duty
    # What changes elsewhere is seen without asking.
    await db(desk.claim)(conversation, lea)
    while (await holders())["lea"] != 1:
        pass
    await socket.close()


@pytest.mark.django_db(transaction=True)
async def test_who_leads_no_more_is_shown_nothing_more(members, monkeypatch):
    monkeypatch.setattr(sockets, "LOOKED", 0)
    db = database_sync_to_async
    socket = Socket(await db(cookie_of)(members["lea"]))
    socket.app.scope["path"] = "/ws/overview/"
    await socket.connect()
    await socket.send({"type": "hello"})
    await socket.until("overview")
    await db(Membership.objects.update)(leads=False)
    await db(calling)("机密")
    output = await socket.app.receive_output(timeout=10)
    assert (output["type"], output.get("code")) == ("websocket.close", 4403)
