"""What the chat's socket tells beside the conversation itself: of an answer in the making, of
earlier conversations, in the frame of a site."""

import time
import uuid

import jwt
import pytest
from channels.db import database_sync_to_async
from django.test import Client

from chat import identities, transcript
from chat.models import Conversation, WidgetSite
from opsdesk.realtime import notify
from tests.chat.sockets import Socket, visitor_cookie

pytestmark = pytest.mark.django_db(transaction=True)


def db(function):
    return database_sync_to_async(function, thread_sensitive=False)


@pytest.fixture
async def socket():
    """`socket(cookie, query)`: one that is closed at the end."""
    made = []

    def make(cookie="", query=""):
        made.append(Socket(cookie or visitor_cookie(), query=query))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def test_marks_open_their_source_while_the_answer_is_written(base, socket, running):
    page = socket()
    await page.open()
    await page.say("磁盘使用率超过 90% 怎么找出大的日志？")
    citations = (await page.until("citations"))["citations"]
    delta = await page.until("delta")
    answer = await page.message("assistant")
    assert '<a class="cite" data-n="1"' in delta["html"]
    assert "<code>du -sh /var/log/*</code>" in delta["html"]
    assert citations == answer["citations"]


async def test_a_notice_is_told_and_what_is_streamed_is_cleaned(socket):
    page = socket()
    conversation = uuid.UUID((await page.open())["conversation"])
    hints = [
        {"type": "conversation.notice", "text": "正在为您查询，请稍候"},
        {"type": "conversation.delta", "text": "- 一\n"},
        {"type": "conversation.delta", "text": "- <b>二</b> $x^2$ [1]"},
    ]
    for hint in hints:
        await db(notify)(transcript.group(conversation), {"turn": 1, "seq": 1, **hint})
    assert (await page.until("notice"))["text"] == "正在为您查询，请稍候"
    await page.until("delta")
    html = (await page.until("delta"))["html"]
    assert html.count("<li>") == 2
    assert '<span class="math">x^2</span> [1]' in html
    assert "<b>" not in html


def begun(title, said="", **whose):
    conversation = Conversation.objects.create(title=title, **whose)
    transcript.append(conversation.pk, "customer", said or title)
    return conversation


async def history(page, query="", offset=0):
    await page.send({"type": "history", "query": query, "offset": offset})
    found = await page.until("history")
    return [row["title"] for row in found["items"]], found["more"]


async def test_who_is_signed_in_finds_what_they_asked_before(django_user_model, socket):
    ann, bob = [await db(django_user_model.objects.create_user)(name) for name in ("ann", "bob")]
    for n in range(22):
        await db(begun)(f"第 {n} 个", user=ann)
    wanted = await db(begun)("磁盘", "df -h 显示 100%_满", user=ann)
    await db(begun)("别人的", user=bob)
    await db(Conversation.objects.create)(title="空的", user=ann)
    client = Client()
    await db(client.force_login)(ann)
    page = socket(f"{visitor_cookie()}; sessionid={client.cookies['sessionid'].value}")
    assert (await page.open())["verified"] is True
    newest, more = await history(page)
    assert (newest[0], len(newest), more) == ("磁盘", 20, True)
    assert await history(page, offset=20) == (["第 2 个", "第 1 个", "第 0 个"], False)
    assert await history(page, "100%_满") == (["磁盘"], False)
    assert await history(page, "别人") == ([], False)
    await page.send({"type": "hello", "conversation": str(wanted.pk), "after": 0})
    assert (await page.until("welcome"))["messages"][0]["text"] == "df -h 显示 100%_满"
    for wrong in ({"query": 7}, {"offset": -1}, {"offset": "1"}):
        await page.send({"type": "history", **wrong})
        assert (await page.until("error"))["code"] == "bad_message"


async def test_a_visitor_has_no_history(socket):
    page = socket()
    assert (await page.open())["verified"] is False
    await page.say("磁盘满了")
    await page.until("ack")
    assert await history(page) == ([], False)


def widget_site(**fields):
    site = WidgetSite(name="门户", origins="https://portal.example.com", **fields)
    site.raw = site.renew_secret()
    site.save()
    return site


def vouched(site, sub, seconds=600):
    token = jwt.encode({"sub": sub, "exp": int(time.time()) + seconds}, site.raw, "HS256")
    return f"{identities.COOKIE}={identities.pack(site, token)}"


async def test_the_frame_of_a_site_asks_its_base_and_knows_whom_it_vouches_for(base, socket):
    site = await db(widget_site)(knowledge_base=base)
    query = f"site={site.key}&base=ops&language=en"
    page = socket(f"{visitor_cookie()}; {vouched(site, 'u-7')}", query)
    welcome = await page.open()
    assert (welcome["verified"], [one["slug"] for one in welcome["bases"]]) == (True, ["ops"])
    await page.say("磁盘满了")
    await page.until("ack")
    made = await db(Conversation.objects.get)(pk=welcome["conversation"])
    assert (made.site_id, made.identity, made.channel) == (site.pk, "u-7", "widget")
    assert (made.knowledge_base_id, made.language) == (base.pk, "en")
    # On another browser it goes on; another person, and nobody, do not find it.
    elsewhere = socket(f"{visitor_cookie()}; {vouched(site, 'u-7')}", query)
    assert (await elsewhere.open(conversation=str(made.pk)))["messages"]
    assert await history(elsewhere) == (["磁盘满了"], False)
    for other in (socket(f"{visitor_cookie()}; {vouched(site, 'u-8')}", query), socket("", query)):
        await other.connect()
        await other.send({"type": "hello", "conversation": str(made.pk), "after": 0})
        assert (await other.until("error"))["code"] == "not_found"


async def test_an_address_names_no_base_but_the_sites(base, socket):
    site = await db(widget_site)(knowledge_base=base)
    page = socket("", f"site={site.key}&base=nothing")
    welcome = await page.open()
    await page.say("磁盘满了")
    await page.until("ack")
    made = await db(Conversation.objects.get)(pk=welcome["conversation"])
    assert made.knowledge_base_id == base.pk
    free = await db(widget_site)()
    page = socket("", f"site={free.key}&base=nothing")
    await page.open()
    await page.say("磁盘满了")
    assert (await page.until("error"))["code"] == "no_base"


async def test_a_word_that_ran_out_lets_nothing_be_written(socket, monkeypatch):
    site = await db(widget_site)()
    page = socket(f"{visitor_cookie()}; {vouched(site, 'u-7')}", f"site={site.key}")
    pk = (await page.open())["conversation"]
    monkeypatch.setattr(identities, "known", lambda cookies: None)
    await page.say("磁盘满了", "m1")
    refused = await page.until("error")
    assert (refused["code"], refused["id"]) == ("identity_expired", "m1")
    assert not await db(Conversation.objects.filter(pk=pk).exists)()


async def test_what_was_begun_before_signing_in_becomes_theirs(socket):
    site = await db(widget_site)()
    cookie, query = visitor_cookie(), f"site={site.key}"
    page = socket(cookie, query)
    pk = (await page.open())["conversation"]
    await page.say("磁盘满了")
    await page.until("ack")
    known = socket(f"{cookie}; {vouched(site, 'u-7')}", query)
    await known.open(conversation=pk)
    await known.say("再问一次")
    await known.until("ack")
    assert (await db(Conversation.objects.get)(pk=pk)).identity == "u-7"
    await page.say("我还在这里")
    assert (await page.until("error"))["code"] == "not_found"


async def test_a_site_that_is_off_shows_nothing(socket):
    site = await db(widget_site)()
    page = socket("", f"site={site.key}")
    await page.open()
    await db(WidgetSite.objects.update)(enabled=False)
    await page.say("磁盘满了")
    assert (await page.until("error"))["code"] == "no_site"
    late = socket("", f"site={site.key}")
    await late.connect()
    assert await late.closed() == 4404
