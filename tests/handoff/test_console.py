"""The console's socket and page: who may what, and that nothing is lost or let out."""

import asyncio
import json
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat import asking, presenting, rating, runner, transcript, uploads
from chat.models import Conversation, Message
from handoff import (
    acting,
    assisting,
    background,
    desk,
    macros,
    mentions,
    queues,
    summaries,
)
from handoff.consumers import ConsoleConsumer
from handoff.models import Agent, CannedReply, Draft, Handoff, Macro, Membership, Mention, Team
from knowledge.models import Chunk, KnowledgeBase
from opsdesk import sockets
from tests.chat.conftest import configured, fake, fill  # noqa: F401
from tests.chat.sockets import Socket, visitor_cookie
from tests.handoff.conftest import check_invariants
from tests.handoff.consoles import Console, asked, cookie_of

pytestmark = pytest.mark.django_db(transaction=True)


def db(function):
    return database_sync_to_async(function, thread_sensitive=False)


@pytest.fixture
def team(db):
    return Team.objects.create(name="运维")


@pytest.fixture
def ana(team, hire):
    user = hire("ana")
    Membership.objects.create(team=team, agent=user.agent)
    return user


@pytest.fixture
def ben(team, hire):
    user = hire("ben")
    Membership.objects.create(team=team, agent=user.agent)
    return user


@pytest.fixture
def stranger(hire):
    """An agent of another team."""
    user = hire("carl")
    other = Team.objects.create(name="网络")
    other.bases.add(KnowledgeBase.objects.create(name="网络", slug="net"))
    Membership.objects.create(team=other, agent=user.agent)
    return user


@pytest.fixture
def clerk(db):
    """Plain staff, who may log into the administration and is no agent."""
    return User.objects.create_user("clerk", is_staff=True)


@pytest.fixture
def waiting(team):
    conversation = Conversation.objects.create(visitor="v" * 32)
    asking.ask(conversation, "磁盘满了", "m1")
    asking.call_human(conversation, "asked")
    conversation.refresh_from_db()
    return conversation


@pytest.fixture
async def console(ana):
    made = Console(await db(cookie_of)(ana))
    yield made
    await made.close()


# --- who may what ---------------------------------------------------------------------


def test_the_page_is_for_agents(ana, clerk):
    answers = {}
    for user in (None, clerk, ana):
        client = Client()
        if user:
            client.force_login(user)
        answers[user] = client.get("/console/")
    assert answers[None].status_code == 302
    assert answers[None]["Location"].startswith("/admin/login/?next=/console/")
    assert (answers[clerk].status_code, answers[ana].status_code) == (403, 200)


@pytest.mark.parametrize(("who", "code"), [("clerk", 4403), ("visitor", 4401), ("ana", None)])
async def test_the_socket_is_for_agents(who, code, ana, clerk):
    users = {"ana": ana, "clerk": clerk}
    cookie = visitor_cookie() if who == "visitor" else await db(cookie_of)(users[who])
    one = Console(cookie)
    await one.connect()
    if code:
        assert await one.closed() == code
    else:
        await one.send({"type": "hello"})
        assert (await one.until("welcome"))["me"]["name"] == "ana"
    await one.close()


CONTENTS = {
    "reply": {"text": "您好"},
    "note": {"text": "看过日志"},
    "transfer": {},
    "assign": {"agent": 1},
    "snooze": {"minutes": 5},
    "priority": {"priority": 2},
    "tags": {"tags": ["磁盘"]},
    "macro": {"macro": 1},
}


@pytest.mark.parametrize("action", sorted(acting.ACTIONS))
@pytest.mark.parametrize("who", ["stranger", "clerk"])
def test_who_is_not_of_the_team_can_do_nothing(action, who, ana, waiting, request):
    user = request.getfixturevalue(who)
    content = {"conversation": str(waiting.pk), "epoch": waiting.epoch, "id": "x"}
    before = waiting.last_seq
    with pytest.raises(acting.Refused) as refused:
        acting.act(user, action, content | CONTENTS.get(action, {}))
    assert refused.value.code == "forbidden"
    waiting.refresh_from_db()
    assert (waiting.state, waiting.last_seq) == ("queued", before)


@pytest.mark.parametrize(
    "content",
    [
        {"type": "open", "after": 0},
        {"type": "earlier", "before": 5},
        {"type": "typing"},
        {"type": "close"},
        {"type": "knowledge", "query": "磁盘"},
        {"type": "draft"},
        {"type": "canned"},
        {"type": "run", "name": "faq_draft"},
    ],
    ids=lambda content: content["type"],
)
async def test_an_agent_of_another_team_reads_nothing(content, stranger, ana, waiting):
    one = Console(await db(cookie_of)(stranger))
    await one.open()
    assert (await one.until("queues"))["rows"] == []
    await one.send({"type": "search", "query": "磁盘"})
    assert (await one.until("found"))["rows"] == []
    await one.send(content | {"conversation": str(waiting.pk)})
    assert (await one.until("error"))["code"] == "forbidden"
    await one.close()


@pytest.mark.parametrize("action", sorted(set(acting.ACTIONS) - {"claim", "note", "accept"}))
def test_a_colleague_cannot_act_in_what_another_has(action, ana, ben, waiting):
    desk.claim(waiting, ana)
    waiting.refresh_from_db()
    content = {"conversation": str(waiting.pk), "epoch": waiting.epoch, "id": "x"}
    given = CONTENTS.get(action, {}) | ({"agent": ben.pk} if action == "assign" else {})
    with pytest.raises(acting.Refused) as refused:
        acting.act(ben, action, content | given)
    assert refused.value.code == "conflict"
    waiting.refresh_from_db()
    assert waiting.owner == ana
    check_invariants(waiting)


async def test_who_is_dismissed_with_the_socket_open_can_do_nothing_any_more(console, ana, waiting):
    await console.open()
    await db(Agent.objects.all().delete)()
    wanted = {"type": "act", "action": "claim", "conversation": str(waiting.pk), "epoch": 1}
    await console.send(wanted | {"id": "a1"})
    assert await console.closed() == 4403
    await db(waiting.refresh_from_db)()
    assert waiting.owner_id is None


def dismissed(user):
    Agent.objects.all().delete()


def logged_out(user):
    Session.objects.all().delete()


def with_another_password(user):
    user.set_password("another")
    user.save()


@pytest.mark.parametrize(
    ("happened", "code"), [(dismissed, 4403), (logged_out, 4401), (with_another_password, 4401)]
)
async def test_who_may_not_be_here_any_more_is_told_nothing_more(
    happened, code, console, ana, waiting, monkeypatch
):
    monkeypatch.setattr(sockets, "LOOKED", 0)
    await console.open()
    await console.follow(waiting)
    await db(happened)(ana)
    await db(asking.ask)(waiting, "机密", "m2")
    told = []
    while (output := await console.app.receive_output(timeout=10))["type"] == "websocket.send":
        told.append(json.loads(output["text"]))
    assert output["code"] == code
    assert "机密" not in str(told)


# --- taking and losing -----------------------------------------------------------------


async def test_the_loser_of_a_claim_reads_who_has_it(console, ben, waiting):
    await console.open()
    await db(desk.claim)(waiting, ben)
    late = await console.act("claim", waiting, epoch=1)
    assert late["code"] == "conflict"
    assert "ben" in late["text"]


async def test_a_reply_is_stored_before_it_is_acknowledged_and_again_is_once(
    console, ana, ben, waiting
):
    await console.open()
    assert (await console.act("claim", waiting, epoch=1))["type"] == "done"
    first = await console.act("reply", waiting, epoch=2, id="r1", text="我来看看")
    stored = await db(Message.objects.get)(client_msg_id="r1")
    assert (first["seq"], stored.author_id, stored.public) == (stored.seq, ana.pk, True)
    await db(lambda: desk.transfer(waiting, ana))()
    await db(desk.claim)(waiting, ben)
    # The acknowledgement was lost; ana is not the owner any more, yet it was said.
    again = await console.act("reply", waiting, epoch=2, id="r1", text="我来看看")
    assert (again["type"], again["seq"]) == ("done", first["seq"])
    # What is new is refused, with the old epoch and with the new one.
    for epoch in (2, 5):
        refused = await console.act("reply", waiting, epoch=epoch, id=f"r{epoch}", text="还在吗")
        assert refused["code"] == "conflict"
    said = Message.objects.filter(role="agent").values_list("text", flat=True)
    assert await db(lambda: list(said))() == ["我来看看"]


async def test_an_offer_is_told_and_taken(console, ana, waiting):
    await console.open()
    await db(lambda: desk.offer(waiting, ana, 60))()
    assert (await console.until("offer"))["conversation"] == str(waiting.pk)
    assert (await console.act("accept", waiting, epoch=2))["type"] == "done"
    await db(waiting.refresh_from_db)()
    assert (waiting.state, waiting.owner_id) == ("human", ana.pk)


def test_the_way_through_all_states(ana, ben, waiting):
    def act(user, action, **content):
        waiting.refresh_from_db()
        given = {"conversation": str(waiting.pk), "epoch": waiting.epoch, "id": action}
        acting.act(user, action, given | content)
        waiting.refresh_from_db()
        check_invariants(waiting)
        return waiting.state

    assert act(ana, "claim") == "human"
    assert act(ana, "snooze", minutes=30) == "human"
    assert Handoff.objects.get().snoozed_until > timezone.now()
    assert act(ana, "snooze", minutes=None) == "human"
    assert act(ana, "transfer", agent=ben.pk, text="请看日志") == "offered"
    assert act(ben, "decline") == "queued"
    assert act(ben, "claim") == "human"
    assert act(ben, "return_to_bot") == "bot"
    assert act(ana, "take_over") == "human"
    assert act(ana, "resolve") == "resolved"
    assert act(ben, "reopen") == "human"
    team = Team.objects.get(name="运维")
    assert act(ben, "transfer", team=team.pk) == "queued"


# --- nothing lost -------------------------------------------------------------------------


def talk(conversation, agent, count):
    """Both sides speak, with a note now and then."""
    for n in range(count):
        with transaction.atomic():
            match n % 3:
                case 0:
                    asking.ask(conversation, f"客户 {n}", f"c{n}")
                case 1:
                    desk.reply(conversation, agent, f"客服 {n}", f"a{n}")
                case _:
                    desk.note(conversation, agent, f"备注 {n}", f"n{n}")


def rows(conversation, **wanted):
    found = Message.objects.filter(conversation=conversation, **wanted).order_by("seq")
    return [(m.seq, m.text) for m in found]


async def test_both_sides_catch_up_after_150_messages(ana):
    cookie = visitor_cookie()
    visitor, console = Socket(cookie), Console(await db(cookie_of)(ana))
    conversation = await asked(visitor)
    other = await db(Conversation.objects.create)(visitor="w" * 32)
    await db(transcript.append)(other.pk, "customer", "另一个")
    await db(desk.take_over)(conversation, ana)
    await console.open()
    seen = [m["seq"] for m in (await console.follow(conversation))["messages"]]
    others = [m["seq"] for m in (await console.follow(other))["messages"]]
    await asyncio.gather(visitor.close(), console.close())

    await db(talk)(conversation, ana, 150)
    await db(transcript.append)(other.pk, "customer", "再一个")

    visitor, console = Socket(cookie), Console(await db(cookie_of)(ana))
    welcome = await visitor.open(conversation=str(conversation.pk), after=1)
    got = [(1, "磁盘满了"), *((m["seq"], m["text"]) for m in welcome["messages"])]
    assert got == await db(rows)(conversation, public=True)

    last = {str(conversation.pk): max(seen), str(other.pk): max(others)}
    await console.open(**last)
    caught = {}
    for _both in last:
        opened = await console.until("opened")
        caught[opened["conversation"]] = opened["messages"]
    before = await db(lambda: rows(conversation, seq__lte=max(seen)))()
    told = before + [(m["seq"], m["text"]) for m in caught[str(conversation.pk)]]
    assert told == await db(rows)(conversation)
    assert [m["text"] for m in caught[str(other.pk)]] == ["再一个"]
    await asyncio.gather(visitor.close(), console.close())


async def test_what_happens_while_it_is_open_arrives_whole_and_in_order(console, ana, waiting):
    await console.open()
    await db(desk.claim)(waiting, ana)
    opened = await console.follow(waiting)
    got = [(m["seq"], m["text"]) for m in opened["messages"]]
    talking = asyncio.create_task(db(talk)(waiting, ana, 45))
    while len(got) < opened["messages"][-1]["seq"] + 45:
        message = (await console.until("message"))["message"]
        got.append((message["seq"], message["text"]))
    await talking
    assert got == await db(rows)(waiting)


# --- nothing let out ----------------------------------------------------------------------


async def test_a_note_reaches_no_customer(ana, console):
    cookie = visitor_cookie()
    visitor = Socket(cookie)
    conversation = await asked(visitor)
    await db(desk.take_over)(conversation, ana)
    await console.open()
    sent = await console.act("note", conversation, id="n1", text="机密备注")
    assert sent["type"] == "done"
    await console.act("reply", conversation, id="r1", epoch=1, text="您好")
    seqs = []
    while not seqs or seqs[-1] != sent["seq"] + 1:
        got = await visitor.until("message")
        assert "机密" not in str(got)
        seqs.append(got["message"]["seq"])
    assert sent["seq"] not in seqs
    again = Socket(cookie)
    assert "机密" not in str(await again.open(conversation=str(conversation.pk)))
    await asyncio.gather(visitor.close(), again.close())


def test_a_note_and_its_file_are_in_nothing_that_a_customer_can_fetch(ana, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    customer = User.objects.create_user("kunde")
    conversation = Conversation.objects.create(user=customer)
    asking.ask(conversation, "磁盘满了", "m1")
    desk.take_over(conversation, ana)
    agents, theirs = Client(), Client()
    agents.force_login(ana)
    theirs.force_login(customer)
    files = {}
    for action in ("note", "reply"):
        log = SimpleUploadedFile("syslog.txt", f"{action}: 日志".encode())
        files[action] = agents.post("/uploads/", {"file": log}).json()
        conversation.refresh_from_db()
        given = {"conversation": str(conversation.pk), "epoch": conversation.epoch}
        text = "机密" if action == "note" else ""
        sent = {"id": action, "text": text, "uploads": [files[action]["id"]]}
        acting.act(ana, action, given | sent)
    assert theirs.get(files["reply"]["url"]).status_code == 200
    assert theirs.get(files["note"]["url"]).status_code == 404
    assert agents.get(files["note"]["url"]).status_code == 200
    note = Message.objects.get(client_msg_id="note")
    assert note.uploads.count() == 1
    for suffix in ("pdf", "docx"):
        assert theirs.get(f"/messages/{note.pk}/export.{suffix}").status_code == 404
    answer = theirs.get(f"/api/v1/conversations/{conversation.pk}/")
    assert "机密" not in answer.content.decode()


def test_an_agent_attaches_no_file_of_the_customers(ana, waiting):
    kept = uploads.receive(ContentFile(b"log"), "a.log", visitor=waiting.visitor)
    desk.claim(waiting, ana)
    waiting.refresh_from_db()
    given = {"conversation": str(waiting.pk), "epoch": waiting.epoch, "id": "r1", "text": "看"}
    with pytest.raises(acting.Refused):
        acting.act(ana, "reply", given | {"uploads": [str(kept.pk)]})
    assert not Message.objects.filter(client_msg_id="r1").exists()


# --- who is there -------------------------------------------------------------------------


async def test_typing_and_presence_go_both_ways(ana, ben, console):
    visitor, second = Socket(visitor_cookie()), Console(await db(cookie_of)(ben))
    conversation = await asked(visitor)
    await db(desk.take_over)(conversation, ana)
    await console.open()
    await console.follow(conversation)
    assert (await console.until("customer"))["what"] == "here"
    await visitor.send({"type": "typing"})
    await console.until("customer", what="typing")
    await console.send({"type": "typing", "conversation": str(conversation.pk)})
    assert (await visitor.until("typing"))["agent"] == "ana"
    await second.open()
    await second.follow(conversation)
    assert (await second.until("here"))["name"] == "ana"
    await console.until("here", name="ben")
    await visitor.close()
    await console.until("customer", what="left")
    await second.close()
    assert (await console.until("gone"))["name"] == "ben"


async def test_an_open_console_keeps_its_agent_there(console, ana):
    await console.open()
    await db(Agent.objects.update)(seen_at=None)
    await console.send({"type": "ping"})
    await console.until("pong")
    assert await db(lambda: Agent.objects.get().seen_at)() is not None
    await console.send({"type": "duty", "on": False})
    assert (await console.until("people"))["me"]["on_duty"] is False


def test_queues_show_broken_promises_before_long_waits(ana, team):
    conversations = [Conversation.objects.create(visitor="v" * 32, title=str(n)) for n in range(3)]
    for conversation in conversations:
        asking.call_human(conversation, "asked")
    soon = timezone.now() + timedelta(minutes=3)
    Handoff.objects.filter(conversation=conversations[2]).update(first_due=soon)
    assert [row["title"] for row in queues.rows(ana)] == ["2", "0", "1"]


# --- what helps to write ------------------------------------------------------------------


@pytest.fixture
def base(db):
    audience = KnowledgeBase.Audience.VISITORS
    base = KnowledgeBase.objects.create(slug="ops", name="运维手册", audience=audience)
    fill(base)
    return base


@pytest.fixture
def conversation(team):
    made = Conversation.objects.create(visitor="v" * 32)
    asking.ask(made, "磁盘使用率超过 90% 怎么找出大的日志？", "m1")
    made.refresh_from_db()
    return made


async def test_a_reply_quotes_what_the_customer_may_read(base, ana, console, conversation):
    await db(desk.take_over)(conversation, ana)
    secret = await db(lambda: Chunk.objects.exclude(knowledge_base=base).first())()
    await console.open()
    wanted = {"conversation": str(conversation.pk), "query": "磁盘使用率 日志"}
    await console.send({"type": "knowledge", **wanted})
    passages = (await console.until("passages"))["passages"]
    assert passages[0]["title"] == "磁盘空间"
    cites = [passages[0]["chunk"]] + ([secret.pk] if secret else []) + [10**9]
    sent = await console.act(
        "reply", conversation, epoch=1, text="看这里 [1]，还有 [2]", cites=cites
    )
    assert sent["type"] == "done"
    cited = await db(
        lambda: list(Message.objects.get(seq=sent["seq"]).citations.values_list("n", "title"))
    )()
    assert cited == [(1, "磁盘空间")]


async def test_marks_keep_their_meaning_when_a_passage_is_gone(base, ana, console, conversation):
    await db(desk.take_over)(conversation, ana)
    await console.open()
    first, last = await db(lambda: list(Chunk.objects.values_list("pk", flat=True)[:2]))()
    said = {"text": "先看 [1]，再看 [2]，最后看 [3] 和 [4]。", "cites": [first, 10**9, last]}
    seq = (await console.act("reply", conversation, epoch=1, **said))["seq"]
    written = await db(lambda: Message.objects.get(conversation=conversation, seq=seq))()
    assert written.text == "先看 [1]，再看 ，最后看 [2] 和 [4]。"
    assert await db(lambda: list(written.citations.values_list("chunk", flat=True)))() == [
        first, last,
    ]  # fmt: skip


async def test_what_a_customer_thinks_of_an_answer_is_seen_at_once(base, console, conversation):
    def answered():
        asking.ask(conversation, "磁盘使用率超过 90% 怎么办", "m9")
        runner.run_waiting()
        return conversation.messages.filter(role="assistant").latest("seq").seq

    seq = await db(answered)()
    await console.open()
    await console.follow(conversation)
    await db(rating.rate)(conversation, seq, False, "wrong")
    rated = (await console.until("rated"))["message"]
    assert (rated["seq"], rated["rating"]["helpful"]) == (seq, False)


async def test_a_draft_is_made_by_the_graph_and_what_became_of_it_is_kept(
    base, ana, console, conversation
):
    await db(desk.take_over)(conversation, ana)
    await console.open()
    drafts = []
    for _each in range(4):
        await console.send({"type": "draft", "conversation": str(conversation.pk)})
        drafts.append(await console.until("draft"))
    first = drafts[0]
    assert "du -sh /var/log/*" in first["text"]
    assert first["citations"][0]["title"] == "磁盘空间"
    assert 0 < first["confidence"] <= 1
    cites = [citation["chunk"] for citation in first["citations"]]
    for draft, text in ((drafts[0], first["text"]), (drafts[1], "先别删。\n\n" + first["text"])):
        given = {"id": f"d{draft['draft']}", "text": text, "cites": cites}
        sent = await console.act("reply", conversation, epoch=1, draft=draft["draft"], **given)
        assert sent["type"] == "done"
    await console.send({"type": "dismiss", "draft": drafts[2]["draft"]})
    for draft in (drafts[0], drafts[3]):  # what was sent stays sent
        await console.send({"type": "inserted", "draft": draft["draft"]})
    await console.send({"type": "ping"})
    await console.until("pong")
    kept = await db(lambda: list(Draft.objects.order_by("pk").values_list("outcome", flat=True)))()
    assert kept == ["sent", "edited", "dismissed", "inserted"]
    assert await db(lambda: Draft.objects.last().message.citations.exists())()


def test_a_passage_that_is_deleted_meanwhile_is_left_out(base, waiting, monkeypatch):
    told = presenting.passages_json

    def deleted_first(chunks):
        Chunk.objects.filter(pk=chunks[0]).delete()
        return told(chunks)

    whole = assisting.passages(waiting, "磁盘")
    monkeypatch.setattr(presenting, "passages_json", deleted_first)
    assert whole
    assert assisting.passages(waiting, "磁盘") == whole[1:]


async def test_who_a_conversation_cannot_be_given_to_is_another_error_than_that_it_is_gone(
    console, owned
):
    await console.open()
    for given, code in (({"agent": 10**6}, "no_agent"), ({"team": 10**6}, "no_team")):
        refused = await console.act("transfer", owned, epoch=owned.epoch, **given)
        assert (refused["code"], refused["conversation"]) == (code, str(owned.pk))


def test_canned_replies_are_filled_in_and_of_the_team(ana, stranger, conversation):
    CannedReply.objects.create(name="hi", text="您好，我是 {agent}。{unknown}")
    CannedReply.objects.create(name="net", text="网络", team=Team.objects.get(name="网络"))
    assert assisting.canned(conversation, ana) == [
        {"name": "hi", "text": "您好，我是 ana。{unknown}"}
    ]


async def test_what_the_registry_offers_is_done_from_the_console(
    ana, console, conversation, settings
):
    settings.CONSOLE_ACTIONS = ["tests.handoff.consoles.Echo"]
    await console.open()
    assert (await console.follow(conversation))["background"]["actions"] == []
    wanted = {"type": "run", "conversation": str(conversation.pk), "name": "echo"}
    await console.send(wanted)
    assert (await console.until("error"))["code"] == "forbidden"
    await db(desk.take_over)(conversation, ana)
    offered = (await console.follow(conversation))["background"]["actions"]
    assert offered == [{"name": "echo", "title": "Echo"}]
    await console.send(wanted)
    assert (await console.until("ran"))["text"] == f"ana {conversation.title}"


# --- macros ---------------------------------------------------------------------------------


@pytest.fixture
def owned(waiting, ana):
    desk.claim(waiting, ana)
    waiting.refresh_from_db()
    return waiting


def use(user, macro, conversation, client_id="x"):
    conversation.refresh_from_db()
    given = {"conversation": str(conversation.pk), "epoch": conversation.epoch}
    return acting.act(user, "macro", given | {"macro": macro.pk, "id": client_id})


def test_a_macro_does_everything_once(ana, owned):
    macro = Macro.objects.create(
        name="等日志", reply="{customer}，请发日志。", note="等日志", priority=3, tags=["待日志"],
        then="snooze", minutes=30,
    )  # fmt: skip
    assert macros.offered(owned, ana)[0]["steps"] == [
        "内部备注", "回复", "优先级：紧急", "#待日志", "搁置 30 分钟",
    ]  # fmt: skip
    first, again = use(ana, macro, owned), use(ana, macro, owned)
    assert first == again
    assert [m.text for m in owned.messages.filter(role="agent")] == [
        "等日志",
        "尊敬的客户，请发日志。",
    ]
    handoff = Handoff.objects.get()
    assert (handoff.priority, handoff.tags) == (3, ["待日志"])
    assert handoff.snoozed_until > timezone.now()


@pytest.mark.parametrize("then", [choice for choice in Macro.Then.values if choice])
def test_a_macro_ends_as_it_says_and_its_epoch_is_the_agents(then, ana, owned, team):
    to = {"to_team": team} if then == "team" else {"minutes": 5} if then == "snooze" else {}
    macro = Macro.objects.create(name="完", reply="好了。", then=then, **to)
    use(ana, macro, owned)
    check_invariants(owned)
    states = {"team": "queued", "queue": "queued", "bot": "bot", "resolve": "resolved"}
    assert owned.state == states.get(then, "human")


def test_of_a_macro_that_fails_nothing_stays(ana, ben, owned):
    macro = Macro.objects.create(name="完", note="先记一笔", reply="好了。", tags=["a"])
    before = owned.last_seq
    with pytest.raises(acting.Refused) as refused:  # the note alone ben might write
        use(ben, macro, owned)
    assert refused.value.code == "conflict"
    with pytest.raises(acting.Refused):
        acting.act(ana, "macro", {
            "conversation": str(owned.pk), "epoch": owned.epoch - 1, "macro": macro.pk, "id": "x",
        })  # fmt: skip
    owned.refresh_from_db()
    assert (owned.last_seq, Handoff.objects.get().tags) == (before, [])


def test_a_macro_of_another_team_is_not_offered_and_does_nothing(ana, stranger, owned):
    macro = Macro.objects.create(name="网", reply="x", team=Team.objects.get(name="网络"))
    assert macros.offered(owned, ana) == []
    with pytest.raises(acting.Refused) as refused:
        use(ana, macro, owned)
    assert "宏" in str(refused.value)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"reply": "x", "then": "team"},
        {"reply": "x", "minutes": 5},
        {"then": "snooze"},
        {"reply": "x", "name": "a b"},
    ],
)
def test_a_macro_that_makes_no_sense_is_refused_in_the_form(fields, admin_client):
    given = {"name": "m", "reply": "", "note": "", "priority": "", "tags": "", "then": ""} | fields
    answer = admin_client.post("/admin/handoff/macro/add/", given)
    assert answer.status_code == 200
    assert answer.context["errors"]
    assert admin_client.post("/admin/handoff/macro/add/", given | {
        "name": "m", "then": "", "minutes": "", "reply": "好", "tags": "磁盘,日志",
    }).status_code == 302  # fmt: skip
    assert Macro.objects.get().tags == ["磁盘", "日志"]


# --- calling colleagues -----------------------------------------------------------------------


async def test_a_note_calls_colleagues_who_may_read_it(console, ana, ben, stranger, waiting):
    bens = Console(await db(cookie_of)(ben))
    await bens.open()
    await console.open()
    await console.send({"type": "canned", "conversation": str(waiting.pk)})
    assert [c["name"] for c in (await console.until("canned"))["colleagues"]] == ["ben"]
    await console.act("note", waiting, id="n1", text="@ben @carl @ana 看一下 a@ben.cn")
    called = await bens.until("mentioned")
    assert (called["by"], called["conversation"]) == ("ana", str(waiting.pk))
    (row,) = (await bens.until("queues"))["rows"]
    assert row["called"] is True
    assert await db(mentions.of)(stranger) == await db(mentions.of)(ana) == {}
    await bens.send({"type": "seen", "conversation": str(waiting.pk)})
    while (row := (await bens.until("queues"))["rows"][0])["called"]:
        pass
    await bens.close()


def test_a_longer_name_is_another_one(ana, ben, waiting):
    ana.first_name, ben.first_name = "王海", "王海燕"
    ana.save()
    ben.save()
    desk.note(waiting, User.objects.create_user("x"), "@王海燕 看一下")
    assert mentions.of(ana) == {}
    assert mentions.of(ben) == {waiting.pk: True}


def test_who_is_called_finds_it_also_when_nobody_has_it_any_more(ana, ben, owned):
    desk.note(owned, ana, "@ben 学习一下")
    desk.resolve(owned, ana)
    assert [(row["state"], row["called"]) for row in queues.rows(ben)] == [("resolved", True)]
    assert queues.rows(ana) == []


def asked_of(function, *args):
    with CaptureQueriesContext(connection) as asked:
        told = function(*args)
    return told, len(asked)


def test_the_queues_ask_as_much_for_many_as_for_one(ana, ben, stranger, team, monkeypatch):
    monkeypatch.setattr(mentions, "SHOWN", 4)
    network = KnowledgeBase.objects.get(slug="net")

    def finished(title, **fields):
        made = Conversation.objects.create(visitor="v" * 32, title=title, **fields)
        Mention.objects.create(message=transcript.append(made.pk, "agent", "@ben"), user=ben)
        return made

    finished("0")
    one, few = asked_of(queues.rows, ben)
    finished("别组的", knowledge_base=network)
    for title in "1234":
        desk.resolve(taken_by(finished(title), ana), ana)
    rows, many = asked_of(queues.rows, ben)
    assert ([row["title"] for row in one], [row["title"] for row in rows]) == (["0"], [*"4321"])
    assert many <= few + 1  # a handoff more is looked up, none for each
    found, searched = asked_of(queues.search, ben, "")
    assert {row["title"] for row in found} == {*"01234"}
    assert searched <= many + 1


def taken_by(conversation, agent):
    desk.take_over(conversation, agent)
    conversation.refresh_from_db()
    return conversation


# --- what is known, and changes -----------------------------------------------------------------


def test_the_same_person_is_known_again_across_visits_and_channels(ana, waiting):
    desk.leave_contact(waiting, "微信或 138 0000 0000")
    user = User.objects.create_user("kunde", email="k@example.com")
    others = [
        Conversation.objects.create(visitor=waiting.visitor, title="昨天"),
        Conversation.objects.create(channel="widget", visitor="w" * 32, title="组件"),
        Conversation.objects.create(user=user, title="登录"),
        Conversation.objects.create(channel="api", user=user, title="接口"),
        Conversation.objects.create(visitor="x" * 32, title="别人"),
    ]
    for one in others:
        asking.ask(one, one.title)
        if one.title in ("组件", "别人"):
            asking.call_human(one, "asked")
    desk.leave_contact(others[1], "电话 138 0000 0000")
    desk.leave_contact(others[-1], "139 0000 0000")
    told = background.of(waiting, ana)
    assert told["contacts"] == ["微信或 138 0000 0000"]
    found = {one["title"]: one["by"] for one in told["earlier"]}
    assert found == {"昨天": "browser", "组件": "contact"}
    desk.leave_contact(waiting, "K@example.com")
    found = {one["title"]: one["by"] for one in background.of(waiting, ana)["earlier"]}
    assert found["登录"] == "contact"
    assert "接口" not in found  # its account speaks for many


def left(contact, **fields):
    conversation = Conversation.objects.create(**fields)
    asking.ask(conversation, contact)
    asking.call_human(conversation, "asked")
    desk.leave_contact(conversation, contact)
    return conversation


def known(conversation, user):
    told = background.of(conversation, user)
    return told["contacts"], {one["title"] for one in told["earlier"]}


def test_customers_of_one_integration_are_strangers_to_each_other(db):
    root = User.objects.create_superuser("root")
    bridge = User.objects.create_user("bridge", email="bridge@example.com")
    first, *_others = [
        left(number, channel="api", user=bridge) for number in ("13800000001", "13800000002")
    ]
    assert known(first, root) == (["13800000001"], set())
    signed_in = left("13800000003", user=bridge)
    assert known(signed_in, root) == (["13800000003", "bridge@example.com"], set())


def test_who_signed_in_at_the_same_browser_is_somebody_else(db):
    root, user = User.objects.create_superuser("root"), User.objects.create_user("kunde")
    one = left("13800000001", visitor="v" * 32)
    left("13800000002", visitor="v" * 32, user=user)
    left("13800000003", visitor="v" * 32)
    assert known(one, root) == (["13800000003", "13800000001"], {"13800000003"})


def test_contacts_are_those_that_the_agent_may_see_and_few(ana, ben):
    conversations = [left(f"1380000000{n}", visitor="v" * 32) for n in range(8)]
    inner = Team.objects.create(name="内部")
    Membership.objects.create(team=inner, agent=ben.agent)
    Handoff.objects.filter(conversation=conversations[6]).update(team=inner)
    seen, _earlier = known(conversations[7], ana)
    assert seen == [f"1380000000{n}" for n in (7, 5, 4, 3, 2)]


async def test_what_changes_beside_a_conversation_is_told(console, ana, waiting):
    await console.open()
    await console.follow(waiting)
    await db(desk.leave_contact)(waiting, "13800000000")
    told = (await console.until("background"))["background"]
    assert told["contacts"] == ["13800000000"]
    await db(desk.claim)(waiting, ana)
    await db(desk.resolve)(waiting, ana)
    await db(desk.rate)(waiting, 4, "挺快")
    while not (told := (await console.until("background"))["background"])["rating"]:
        pass
    assert told["rating"] == {"score": 4, "comment": "挺快"}


@pytest.fixture
def model(configured, settings):  # noqa: F811
    settings.BACKENDS["llm"]["OPTIONS"]["timeout"] = 20  # of a busy machine
    return configured


async def test_the_models_paragraph_is_shown_when_it_arrives(console, waiting, model):
    problem = {"part": "problem", "text": "磁盘满了", "from": [1]}
    model.structured["handoff"] = {"statements": [problem], "mood": "calm"}
    await console.open()
    await console.follow(waiting)
    await db(lambda: summaries.refresh(Handoff.objects.get().pk))()
    told = (await console.until("background"))["background"]
    assert told["summary"] == "问题：磁盘满了。 情绪：平静。"


async def test_a_reply_is_said_to_have_arrived_when_it_has(console, ana):
    visitor = Socket(visitor_cookie())
    conversation = await asked(visitor)
    await db(desk.take_over)(conversation, ana)
    await console.open()
    await console.follow(conversation)
    sent = await console.act("reply", conversation, id="r1", epoch=1, text="您好")
    while (await console.until("customer"))["seq"] < sent["seq"]:
        pass
    await visitor.close()


async def test_who_waits_hears_how_many_are_in_front(team, hire):
    await db(hire)("ana")
    first = await db(Conversation.objects.create)(visitor="w" * 32)
    await db(asking.call_human)(first, "asked")
    visitor = Socket(visitor_cookie())
    await visitor.open()
    await visitor.send({"type": "person"})
    assert (await visitor.until("state", state="queued"))["waiting"] == 1
    await db(Handoff.objects.all().update)(priority=1)
    await db(Agent.objects.all().update)(on_duty=False)  # nobody is told of it
    await visitor.send({"type": "ping"})
    assert (await visitor.until("state"))["staffed"] is False
    await visitor.close()


KEYS = (
    "conversation", "after", "before", "query", "draft", "name", "open", "id", "text", "uploads",
    "cites", "agent", "team", "minutes", "macro", "priority", "tags", "epoch",
)  # fmt: skip


async def test_whatever_is_sent_is_refused_in_a_sentence(console, owned):
    await console.open()
    frames = [{"type": junk} for junk in (None, [], {}, "x")]
    for junk in ([], {}, "\x00", "\ud83d x", 10**30):
        frames += [
            dict.fromkeys(KEYS, junk) | {"type": door, "action": junk}
            for door in ConsoleConsumer.doors
            if door != "ping"
        ]
        there = {"type": "act", "conversation": str(owned.pk), "epoch": owned.epoch, "id": "x"}
        frames += [
            there | dict.fromkeys(KEYS[8:-1], junk) | {"action": action}
            for action in ("reply", "note", "assign", "snooze", "macro", "priority", "tags")
        ]
    told = []
    for frame in [*frames, {"type": "ping"}]:
        await console.send(frame)
    while (got := await console.receive())["type"] != "pong":
        told.append(got)
    refused = [one for one in told if one["type"] == "error"]
    assert len(refused) > len(frames) / 2
    assert {one["code"] for one in refused} <= {
        "bad_message", "not_found", "conflict", "length", "forbidden", "gone", "no_agent",
        "no_team",
    }  # fmt: skip
    assert all(len(one["text"]) > 5 for one in refused)
