"""Who may what: every route and every door of a socket, for everybody.

A route or a door that is added without a row here fails the first tests. The columns are ROLES;
the conversation is a customer's, with a person of one team.
"""

import json
import uuid

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, get_resolver

from chat import asking, transcript, uploads, visitors
from chat.consumers import ChatConsumer
from chat.models import Citation, Conversation
from handoff import acting, desk, overseeing
from handoff.consumers import ConsoleConsumer
from handoff.models import Calendar, CannedReply, Draft, Macro, Membership, Team
from handoff.overseeing import OverviewConsumer
from knowledge.models import KnowledgeBase
from tests.chat.sockets import Socket
from tests.handoff.consoles import Console, cookie_of

pytestmark = pytest.mark.django_db

ROLES = ("other", "own", "clerk", "stranger", "agent", "owner", "lead", "root")


@pytest.fixture
def people(hire):
    """By role. "other" is a visitor who is not signed in, "own" the customer, "clerk" plain staff,
    "stranger" an agent of another team, "lead" supervises the team."""
    team, far = Team.objects.create(name="运维"), Team.objects.create(name="网络")
    far.bases.add(KnowledgeBase.objects.create(name="网络", slug="net"))
    made = {
        "other": None,
        "own": User.objects.create_user("kunde"),
        "clerk": User.objects.create_user("clerk", is_staff=True),
        "root": User.objects.create_superuser("root"),
    }
    for role in ("stranger", "agent", "owner", "lead"):
        made[role] = hire(role)
        Membership.objects.create(
            team=far if role == "stranger" else team, agent=made[role].agent, leads=role == "lead"
        )
    return made


@pytest.fixture
def held(people, settings, tmp_path):
    """The customer's conversation, which "owner" has: with an answer, files, and a note."""
    settings.MEDIA_ROOT = tmp_path
    settings.CONSOLE_ACTIONS = ["tests.handoff.consoles.Echo"]
    conversation = Conversation.objects.create(user=people["own"])
    asking.ask(conversation, "磁盘满了", "m1")
    answer = transcript.append(conversation.pk, "assistant", "请清理日志 [1]")
    Citation.objects.create(message=answer, n=1, title="手册", quote="清理日志")
    conversation.turns.update(reply=answer, status="done", outcome="answered")
    asking.call_human(conversation, "asked")
    desk.claim(conversation, people["owner"])
    desk.note(conversation, people["owner"], "机密", "n1")
    sent(conversation, answer.conversation.messages.get(client_msg_id="m1"), people["own"])
    sent(conversation, conversation.messages.get(client_msg_id="n1"), people["owner"])
    conversation.refresh_from_db()
    return conversation


@transaction.atomic
def sent(conversation, message, user):
    file = SimpleUploadedFile("syslog.txt", b"kernel: disk full")
    uploads.attach(message, [uploads.receive(file, file.name, user=user).pk], by=user)


def client_of(user):
    client = Client()
    if user:
        client.force_login(user)
    else:
        client.cookies[visitors.COOKIE] = visitors._signer.sign(uuid.uuid4().hex)
    return client


# --- routes ---------------------------------------------------------------------------------
OURS = ("chat.", "handoff.")
ADMIN = ("admin/handoff/", "admin/chat/conversation/", "admin/chat/turn/")
EVERYBODY = (200,) * 8
NO_SITE = (404,) * 8
SIGNED_IN = (401, *[201] * 7)
THEIRS = (404, 200, 404, 404, 200, 200, 200, 200)  # the customer's, the team's
CUSTOMERS = (401, 200, *[404] * 6)
ADMINISTRATORS = (302, 302, *[403] * 5, 200)
# "method pattern": what each role gets. Some patterns stand twice, with a word behind.
ROUTES = {
    "GET ": EVERYBODY,
    "GET widget.js": EVERYBODY,
    "GET embed/<str:key>/": NO_SITE,
    "POST embed/<str:key>/identity/": NO_SITE,
    "POST api/v1/ask/": CUSTOMERS,
    "POST api/v1/conversations/": SIGNED_IN,
    "GET api/v1/conversations/<uuid:pk>/": CUSTOMERS,
    "POST api/v1/conversations/<uuid:pk>/person/": CUSTOMERS,
    "DELETE api/v1/conversations/<uuid:pk>/person/": (401, 409, *[404] * 6),
    "PUT api/v1/conversations/<uuid:pk>/contact/": (401, 204, *[404] * 6),
    "PUT api/v1/conversations/<uuid:pk>/satisfaction/": (401, 409, *[404] * 6),
    "PUT api/v1/conversations/<uuid:pk>/messages/<int:seq>/rating/": (401, 204, *[404] * 6),
    "POST api/v1/uploads/": (401, *[400] * 7),  # there is no file
    "POST uploads/": (400,) * 8,
    "GET uploads/<uuid:pk>/": THEIRS,
    "GET uploads/<uuid:pk>/ note": (404, *THEIRS[:1], *THEIRS[2:]),
    "DELETE uploads/<uuid:pk>/": (404,) * 8,  # what was sent stays
    "GET messages/<int:pk>/export.pdf": THEIRS,
    "GET messages/<int:pk>/export.docx": THEIRS,
    "GET messages/<int:pk>/export.pdf note": (404,) * 8,
    "GET console/": (302, 403, 403, *[200] * 5),
    "GET console/overview/": (302, *[403] * 5, 200, 200),
}
# Administration pages: a model's list, form, history … For who has no permission all are closed.
READ_ONLY = {"chat/conversation", "chat/turn", "handoff/handoff", "handoff/draft",
             "handoff/ownershipchange"}  # fmt: skip
WRITTEN = {"handoff/agent", "handoff/team", "handoff/calendar", "handoff/cannedreply",
           "handoff/macro"}  # fmt: skip
PAGES = {  # what administrators get of a model that is only read, and of one that is written
    "": (200, 200),
    "add/": (403, 200),
    "<path:object_id>/history/": (200, 200),
    "<path:object_id>/delete/": (403, 200),
    "<path:object_id>/change/": (200, 200),
    "<path:object_id>/": (302, 302),
}


def routes(resolver, before=""):
    """(pattern, dotted name of its view) of everything below."""
    for one in resolver.url_patterns:
        pattern = before + str(one.pattern)
        if isinstance(one, URLPattern):
            yield pattern, one.lookup_str
        else:
            yield from routes(one, pattern)


def test_every_route_has_a_row():
    found = set(routes(get_resolver()))
    pages = {pattern for pattern, _view in found if pattern.startswith(ADMIN)}
    assert pages == {f"admin/{m}/{suffix}" for m in READ_ONLY | WRITTEN for suffix in PAGES}
    ours = {p for p, view in found if view.startswith(OURS) and not p.startswith("admin/")}
    assert ours == {row.split(" ")[1] for row in ROUTES}


def place(conversation):
    """What stands in an address of this conversation, by the row's last word."""
    answer = conversation.messages.get(role="assistant")
    note = conversation.messages.get(client_msg_id="n1")
    asked = conversation.messages.get(client_msg_id="m1")

    def fill(pattern, about):
        pk = conversation.pk
        if pattern.startswith("uploads/"):
            pk = (note if about else asked).uploads.get().pk
        if pattern.startswith("messages/"):
            pk = (note if about else answer).pk
        filled = {"<uuid:pk>": pk, "<int:pk>": pk, "<int:seq>": answer.seq, "<str:key>": "none"}
        for name, value in filled.items():
            pattern = pattern.replace(name, str(value))
        return f"/{pattern}"

    return fill


def test_routes(people, held, monkeypatch):
    for kind in ("pdf", "docx"):
        monkeypatch.setattr(f"chat.exports.{kind}.export", lambda answer: b"")
    KnowledgeBase.objects.create(name="运维", slug="ops", audience="visitors")
    bodies = {
        "api/v1/ask/": {"conversation": str(held.pk), "question": "在吗"},
        "api/v1/conversations/": {"knowledge_base": "ops"},
        "api/v1/conversations/<uuid:pk>/contact/": {"text": "13800000000"},
        "api/v1/conversations/<uuid:pk>/satisfaction/": {"score": 5},
        "api/v1/conversations/<uuid:pk>/messages/<int:seq>/rating/": {"helpful": True},
    }
    fill, clients = place(held), {role: client_of(people[role]) for role in ROLES}
    got = {}
    for row in ROUTES:
        method, pattern, *about = row.split(" ")
        given = {"data": bodies.get(pattern, {})}
        if pattern.startswith("api/") and "uploads" not in pattern:
            given["content_type"] = "application/json"
        if method == "GET":
            given = {}
        path = fill(pattern, about)
        call = [getattr(clients[role], method.lower()) for role in ROLES]
        got[row] = tuple(one(path, **given).status_code for one in call)
    assert got == {row: tuple(expected) for row, expected in ROUTES.items()}


def test_administration_pages(people, held):
    team = Team.objects.get(name="运维")
    made = {
        "chat/conversation": held,
        "chat/turn": held.turns.get(),
        "handoff/handoff": held.handoffs.get(),
        "handoff/ownershipchange": held.ownership_changes.first(),
        "handoff/draft": Draft.objects.create(conversation=held, text="…"),
        "handoff/agent": people["agent"].agent,
        "handoff/team": team,
        "handoff/calendar": Calendar.objects.create(name="白天"),
        "handoff/cannedreply": CannedReply.objects.create(name="hi", text="您好"),
        "handoff/macro": Macro.objects.create(name="m", note="看过"),
    }
    # To these pages all agents are alike.
    clients = {role: client_of(people[role]) for role in ("other", "own", "clerk", "lead", "root")}
    got, expected = {}, {}
    for model, row in made.items():
        for suffix, administrators in PAGES.items():
            path = f"/admin/{model}/{suffix}".replace("<path:object_id>", str(row.pk))
            got[path] = tuple(client.get(path).status_code for client in clients.values())
            last = administrators[model in WRITTEN]
            redirects = suffix == "<path:object_id>/"
            expected[path] = (302, 302, *[302 if redirects else 403] * 2, last)
    assert got == expected


# --- what agents do ----------------------------------------------------------------------------
def test_every_action_has_a_row():
    assert set(acting.ACTIONS) == set(ACTIONS)
    assert set(ACTIONS) >= overseeing.ACTIONS


NO, LATE, OK = "forbidden", "conflict", "ok"
# Of what "owner" has: a colleague may look and note; the team's supervisor may move it.
ACTIONS = {
    "claim": (NO, NO, NO, NO, LATE, LATE, LATE, LATE),
    "accept": (NO, NO, NO, NO, LATE, LATE, LATE, LATE),
    "decline": (NO, NO, NO, NO, LATE, LATE, LATE, LATE),
    "take_over": (NO, NO, NO, NO, LATE, LATE, LATE, LATE),
    "reopen": (NO, NO, NO, NO, LATE, LATE, LATE, LATE),
    "return_to_bot": (NO, NO, NO, NO, LATE, OK, OK, OK),
    "resolve": (NO, NO, NO, NO, LATE, OK, OK, OK),
    "reply": (NO, NO, NO, NO, LATE, OK, LATE, LATE),
    "note": (NO, NO, NO, NO, OK, OK, OK, OK),
    "transfer": (NO, NO, NO, NO, LATE, OK, OK, OK),
    "assign": (NO, NO, NO, NO, LATE, LATE, OK, OK),
    "snooze": (NO, NO, NO, NO, LATE, OK, LATE, LATE),
    "macro": (NO, NO, NO, NO, LATE, OK, LATE, LATE),
    "priority": (NO, NO, NO, NO, LATE, OK, OK, OK),
    "tags": (NO, NO, NO, NO, LATE, OK, OK, OK),
}


def contents(people):
    macro = Macro.objects.create(name="done", reply="已处理")
    return {
        "reply": {"text": "您好"},
        "note": {"text": "看过日志"},
        "assign": {"agent": people["agent"].pk},
        "snooze": {"minutes": 5},
        "macro": {"macro": macro.pk},
        "priority": {"priority": 2},
        "tags": {"tags": ["磁盘"]},
    }


def outcome(user, action, content):
    """What comes of it; afterwards all is as before."""
    try:
        with transaction.atomic():
            acting.act(user or AnonymousUser(), action, content)
            transaction.set_rollback(True)
    except acting.Refused as refused:
        return refused.code
    return OK


def test_actions(people, held):
    more = contents(people)
    about = {"conversation": str(held.pk), "epoch": held.epoch, "id": "x"}
    got = {
        action: tuple(outcome(people[role], action, about | more.get(action, {})) for role in ROLES)
        for action in ACTIONS
    }
    assert got == ACTIONS


# --- sockets --------------------------------------------------------------------------------------
OUT, GONE, NONE = "4401", "4403", "no_conversation"
MISSING = "not_found"
# Doors with what goes through them. Of the chat: whoever is not its customer has no conversation.
CHAT = {
    "hello": (MISSING, OK, *[MISSING] * 6),
    "message": (NONE, OK, *[NONE] * 6),
    "person": (NONE, OK, *[NONE] * 6),
    "withdraw": (NONE, LATE, *[NONE] * 6),  # a person has it
    "contact": (NONE, OK, *[NONE] * 6),
    "rate": (NONE, OK, *[NONE] * 6),
    "satisfaction": (NONE, LATE, *[NONE] * 6),  # it is not resolved
    "history": (OK,) * 8,  # everybody's own
    "typing": (OK,) * 8,
    "ping": (OK,) * 8,
    "new": (OK,) * 8,
}
CLOSED = (OUT, GONE, GONE)  # who is no agent
TEAM = (*CLOSED, NO, OK, OK, OK, OK)
AGENTS = (*CLOSED, *[OK] * 5)
CONSOLE = {
    "hello": AGENTS,
    "open": TEAM,
    "close": TEAM,
    "earlier": TEAM,
    "act": TEAM,  # a note; the rest is above
    "typing": TEAM,
    "duty": AGENTS,
    "people": AGENTS,
    "search": AGENTS,
    "knowledge": TEAM,
    "draft": TEAM,
    "inserted": AGENTS,  # of drafts of their own
    "dismiss": AGENTS,
    "seen": TEAM,
    "canned": TEAM,
    "run": (*CLOSED, NO, NO, OK, NO, NO),
    "ping": AGENTS,
}
LEADS = (OUT, *[GONE] * 5, OK, OK)
OVERVIEW = {
    "hello": LEADS,
    "act": (*LEADS[:7], LATE),  # the lead moved it just before
    "duty": LEADS,
    "ping": LEADS,
}


def test_every_door_has_a_row():
    assert set(CHAT) == set(ChatConsumer.doors)
    assert set(CONSOLE) == set(ConsoleConsumer.doors)
    assert set(OVERVIEW) == set(OverviewConsumer.doors)


class Overview(Socket):
    path = "/ws/overview/"


async def through(socket, frames):
    """What comes of each frame, in their order: "ok", the code of an error, or of the close."""
    await socket.connect()
    got = {}
    for name, frame in frames.items():
        own = {"id": uuid.uuid4().hex} if "id" in frame else {}  # each role writes its own
        for content in (frame | {"type": name} | own, {"type": "ping"}):
            if not socket.app.future.done():
                await socket.send(content)
        # An action at the console is done beside what follows it.
        beside = name == "act" and isinstance(socket, Console)
        got[name] = await answer(socket, {"pong", "done"} if beside else {"pong"})
    await socket.close()
    return got


async def answer(socket, awaited):
    code = OK
    while awaited:
        output = await socket.app.receive_output(timeout=30)
        if output["type"] == "websocket.close":
            return str(output["code"])
        told = json.loads(output["text"])
        awaited = awaited - {told["type"]}
        if told["type"] == "error":
            code, awaited = told["code"], awaited - {"done"}
    return code


async def table(kind, people, doors, frames):
    """`doors` as they are found: door → what each role gets."""
    got = {door: [] for door in doors}
    for role in ROLES:
        cookie = f"{visitors.COOKIE}={visitors._signer.sign(uuid.uuid4().hex)}"
        if people[role]:
            cookie += "; " + await database_sync_to_async(cookie_of)(people[role])
        results = {}
        if doors is CHAT or doors[next(iter(doors))][ROLES.index(role)] == OK:
            results = await through(kind(cookie), {door: frames.get(door, {}) for door in doors})
        else:
            one = kind(cookie)
            await one.connect()
            results = dict.fromkeys(doors, str(await one.closed()))
        for door in doors:
            got[door].append(results[door])
    return {door: tuple(each) for door, each in got.items()}


@pytest.mark.django_db(transaction=True)
async def test_sockets(people, held):
    seq = await database_sync_to_async(lambda: held.messages.get(role="assistant").seq)()
    pk = str(held.pk)
    said = {"id": "x1", "text": "在吗"}
    frames = {
        "hello": {"conversation": pk, "after": 0}, "message": said, "contact": {"text": "1380"},
        "rate": {"seq": seq, "helpful": True}, "satisfaction": {"score": 5},
    }  # fmt: skip
    assert await table(Socket, people, CHAT, frames) == CHAT
    about = {"conversation": pk, "id": "n2", "after": 0}
    note = {"action": "note", "text": "看过"}
    more = {
        "hello": {}, "search": {"query": ""}, "earlier": about | {"before": 3},
        "knowledge": about | {"query": "磁盘"}, "run": about | {"name": "echo"},
        "act": about | note, "duty": {"on": True},
    }  # fmt: skip
    frames = dict.fromkeys(CONSOLE, about) | more
    assert await table(Console, people, CONSOLE, frames) == CONSOLE
    epoch = await database_sync_to_async(lambda: Conversation.objects.get(pk=held.pk).epoch)()
    give = {"action": "assign", "conversation": pk, "agent": people["agent"].pk}
    frames = {"act": give | {"epoch": epoch}, "duty": {"agent": people["agent"].pk, "on": False}}
    assert await table(Overview, people, OVERVIEW, frames) == OVERVIEW
