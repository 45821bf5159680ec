"""A hint that carries its message: as if it had been read, and to nobody else."""

import asyncio
import uuid

import pytest
from channels.db import database_sync_to_async
from django.core.files.uploadedfile import SimpleUploadedFile

from chat import asking, following, uploads
from chat.models import Conversation, WidgetSite
from handoff import desk
from handoff import following as staff
from handoff.models import Agent, Handoff, Membership, Team
from tests.chat.sockets import Socket, visitor_cookie
from tests.handoff.consoles import Console, asked, cookie_of

pytestmark = pytest.mark.django_db(transaction=True)


def db(function):
    return database_sync_to_async(function, thread_sensitive=False)


@pytest.fixture
async def talking(hire):
    """A visitor, the agent who has their conversation open, and the conversation."""
    ana = await db(hire)("ana")
    visitor, console = Socket(visitor_cookie()), Console(await db(cookie_of)(ana))
    conversation = await asked(visitor)
    await db(desk.take_over)(conversation, ana)
    await console.open()
    await console.follow(conversation)
    yield visitor, console, conversation
    await asyncio.gather(visitor.close(), console.close())


async def said(socket, text):
    while (message := (await socket.until("message"))["message"])["text"] != text:
        pass
    return message


def never(*_):
    raise AssertionError("read although the hint carried it")


@pytest.mark.parametrize("text", ["还有 `df -h` 与 **粗体** <b>", "长" * 1900])
async def test_both_sides_are_shown_what_is_stored(talking, text, monkeypatch):
    """Also when it is too long for a hint: then it is read."""
    visitor, console, conversation = talking
    await visitor.say(text, "m2")
    asked = await said(visitor, text), await said(console, text)
    sent = await console.act("reply", conversation, id="r1", epoch=1, text=f"{text}!")
    answered = await said(visitor, f"{text}!"), await said(console, f"{text}!")
    stored = await db(following.messages)(conversation.pk, sent["seq"] - 2)
    for mine, theirs, row in zip(*zip(asked, answered, strict=True), stored, strict=True):
        assert mine == row
        assert theirs == {**row, "public": True}


async def test_what_is_short_is_read_by_nobody(talking, monkeypatch):
    visitor, console, conversation = talking
    await visitor.say("一", "m2")
    await said(visitor, "一")
    await said(console, "一")
    monkeypatch.setattr(following, "messages", never)
    monkeypatch.setattr(staff, "after", never)
    sent = await console.act("reply", conversation, id="r1", epoch=1, text="二")
    assert sent["type"] == "done"
    assert (await said(visitor, "二"))["author"] == "ana"


@pytest.mark.parametrize("who", ["another", "signed out", "frame"])
async def test_who_waits_at_the_id_of_anothers_is_told_nothing(who, hire, monkeypatch):
    """Another visitor; a window from before its visitor signed in; a site's frame in the same
    browser. The message comes to them with its hint."""
    cookie, pk = visitor_cookie(), str(uuid.uuid4())
    site = await db(WidgetSite.objects.create)(name="门户", origins="https://portal.example.com")
    waits = {
        "another": Socket(visitor_cookie()),
        "signed out": Socket(cookie),
        "frame": Socket(cookie, query=f"site={site.key}"),
    }[who]
    await waits.open(conversation=pk)
    if who == "signed out":
        await waits.say("磁盘满了", "m1")
        await said(waits, "磁盘满了")
        cookie += f"; {await db(lambda: cookie_of(hire('ann')))()}"
    speaks = Socket(cookie)
    await speaks.open(conversation=pk)
    monkeypatch.setattr(following, "messages", never)
    await speaks.say("机密", "m2")
    await said(speaks, "机密")
    while (got := await waits.receive())["type"] != "error":
        assert "机密" not in str(got)
    assert got["code"] == "not_found"
    await asyncio.gather(waits.close(), speaks.close())


async def test_how_it_stands_follows(talking):
    visitor, console, conversation = talking
    await visitor.say("一", "m2")
    number = (await said(console, "一"))["seq"]
    standing = await console.until("standing", last_seq=number)
    assert standing["conversation"] == str(conversation.pk)


async def test_a_picture_comes_with_its_message(talking, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    visitor, console, conversation = talking
    row = await db(Conversation.objects.get)(pk=conversation.pk)
    file = SimpleUploadedFile("错误.txt", b"ORA-01555")
    kept = await db(lambda: uploads.receive(file, "错误.txt", visitor=row.visitor))()
    await visitor.send({"type": "message", "id": "m2", "text": "看", "uploads": [str(kept.pk)]})
    assert [one["name"] for one in (await said(console, "看"))["uploads"]] == ["错误.txt"]
    assert [one["name"] for one in (await said(visitor, "看"))["uploads"]] == ["错误.txt"]


async def test_who_leaves_the_team_is_shut_out_with_the_next_ping(talking, hire):
    _visitor, _console, conversation = talking

    def put_in():
        bea, team = hire("bea"), Team.objects.create(name="网络")
        membership = Membership.objects.create(team=team, agent=bea.agent)
        Handoff.objects.filter(conversation=conversation).update(team=team)
        return cookie_of(bea), membership

    cookie, membership = await db(put_in)()
    watching = Console(cookie)
    await watching.open()
    assert (await watching.follow(conversation))["type"] == "opened"
    await db(lambda: (membership.delete(), Membership.objects.create(
        team=membership.team, agent=Agent.objects.get(user__username="ana"))))()  # fmt: skip
    await watching.send({"type": "ping"})
    assert (await watching.until("error"))["code"] == "forbidden"
    await watching.close()


async def test_who_is_in_the_team_no_more_soon_hears_nothing_more(talking, hire):
    _visitor, console, conversation = talking
    ana = await db(lambda: Conversation.objects.get(pk=conversation.pk).owner)()

    def moved():
        bea, other = hire("bea"), Team.objects.create(name="网络")
        Membership.objects.create(team=other, agent=bea.agent)
        row = Conversation.objects.get(pk=conversation.pk)
        desk.transfer(row, ana, team=other)

    await db(moved)()
    await db(asking.ask)(conversation, "机密", "m2")
    while (got := await console.receive())["type"] != "error":
        assert "机密" not in str(got)
    assert got["code"] == "forbidden"
