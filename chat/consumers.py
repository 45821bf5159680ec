"""The chat page's socket: translates what comes in, tells what changed. No rules here."""

import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from chat import (
    asking,
    following,
    history,
    identities,
    presenting,
    rating,
    transcript,
    uploads,
    visitors,
)
from chat.following import Draft
from chat.identities import Known
from chat.limits import allow
from chat.models import Conversation, Message, WidgetSite
from knowledge.models import KnowledgeBase
from opsdesk.errors import Conflict
from opsdesk.languages import language_of
from opsdesk.sockets import AWAY, Refused, Socket, not_understood, signed_in

MESSAGES_A_MINUTE = 20  # of one visitor
MESSAGES_A_MINUTE_ADDRESS = 200  # of one address: a whole company may share it
_ID = re.compile(r"[!-~]{1,64}")  # a client's own for a message
TYPING_EVERY = 1.0  # s between two hints
NO_COOKIE, LOGGED_OUT, NO_SITE = 4401, 4403, 4404  # close a socket whose page must change first
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # NUL and halves of characters


class ChatConsumer(Socket):
    doors = {
        "hello": "hello",
        "message": "message",
        "person": "person",
        "withdraw": "withdraw",
        "contact": "contact",
        "rate": "rate",
        "satisfaction": "satisfaction",
        "new": "new",
        "history": "history",
        "typing": "typing",
        "ping": "ping",
    }
    pool = ThreadPoolExecutor(8, thread_name_prefix="chat")
    conversation_id: uuid.UUID | None = None
    typed = 0.0  # when the last hint that they type went on
    waits = False  # for a person, as this client was told last
    last_seq = replied_seq = 0  # of the last message this client was sent, and the last reply
    identified = False  # a site said, when the socket was opened, who this is

    async def connect(self) -> None:
        asked = parse_qs(self.scope.get("query_string", b"").decode("latin-1"))
        self.site_key, self.base = asked.get("site", [""])[0], asked.get("base", [""])[0]
        # In a site's frame nobody is signed in: what a site shows is for its visitors.
        self.user: Any = AnonymousUser() if self.site_key else self.scope["user"]
        self.visitor = visitors.visitor(self.scope.get("cookies", {}))
        self.address = (self.scope.get("client") or ["?"])[0]
        self.language = language_of(self.scope, asked.get("language", [""])[0])
        await self.accept()  # else the browser is not told the code
        if not self.visitor and not self.user.is_authenticated:
            await self.close(code=NO_COOKIE)
            return
        try:
            self.identified = bool(await self._db(self._who))
        except Refused:
            await self.close(code=NO_SITE)

    async def disconnect(self, code: int) -> None:
        await self._present("left")
        await self.channel_layer.forget(self.channel_name)

    async def dispatch(self, message: dict[str, Any]) -> None:
        try:
            await super().dispatch(message)
        except Refused as refused:  # what it watched is another's by now
            await self._leave()
            await self._error(refused.code, str(refused))

    # --- From the client ---------------------------------------------------------

    async def admit(self, within: float = 0.0) -> None:
        if self.user.is_authenticated:  # a visitor has nothing to lose
            await super().admit(within)

    def unfit(self) -> str:
        return _too_long(asking.LONGEST)

    async def hello(self, content: dict[str, Any]) -> None:
        after = content.get("after")
        wanted = await self._db(self._find, content.get("conversation"))
        await self._watch(wanted, after if isinstance(after, int) and after >= 0 else 0)

    async def new(self, content: dict[str, Any]) -> None:
        await self._watch(uuid.uuid4(), 0)

    async def message(self, content: dict[str, Any]) -> None:
        text, client_id = content.get("text"), content.get("id")
        uploaded = content.get("uploads", [])  # ids that `POST /uploads/` gave
        if not isinstance(client_id, str) or not _ID.fullmatch(client_id):
            raise Refused("bad_message", self._say(not_understood))
        if not isinstance(uploaded, list) or not all(isinstance(one, str) for one in uploaded):
            raise Refused("bad_message", self._say(not_understood))
        told = "" if uploaded and not text else self._text(text, asking.LONGEST)
        said = await self._db(self._ask, told, client_id, uploaded)
        await self.send_json({"type": "ack", "id": client_id, "seq": said.seq})
        await self._tell_unheard(said.seq)

    async def person(self, content: dict[str, Any]) -> None:
        await self._db(self._call_human)

    async def withdraw(self, content: dict[str, Any]) -> None:
        """OpsDesk shall answer; no person is wanted any more."""
        await self._db(self._withdraw)

    async def contact(self, content: dict[str, Any]) -> None:
        await self._db(self._leave_contact, self._text(content.get("text")))

    async def rate(self, content: dict[str, Any]) -> None:
        seq, helpful = content.get("seq"), content.get("helpful")
        reason, comment = content.get("reason", ""), content.get("comment", "")
        good = isinstance(seq, int) and helpful in (True, False, None)
        if not good or not isinstance(reason, str) or not isinstance(comment, str):
            raise Refused("bad_message", self._say(not_understood))
        comment = _UNSTORABLE.sub("", comment).strip()
        await self._db(self._rate, seq, helpful, reason, comment)

    async def satisfaction(self, content: dict[str, Any]) -> None:
        """How the person who resolved the conversation helped."""
        score, comment = content.get("score"), content.get("comment", "")
        if type(score) is not int or not isinstance(comment, str):
            raise Refused("bad_message", self._say(not_understood))
        await self._db(self._judge, score, _UNSTORABLE.sub("", comment).strip())

    async def history(self, content: dict[str, Any]) -> None:
        query, offset = content.get("query", ""), content.get("offset", 0)
        if not isinstance(query, str) or not isinstance(offset, int) or not 0 <= offset < 10**6:
            raise Refused("bad_message", self._say(not_understood))
        found = await self._db(self._past, _UNSTORABLE.sub("", query).strip()[:100], offset)
        await self.send_json({"type": "history", "query": query, "offset": offset, **found})

    async def typing(self, content: dict[str, Any]) -> None:
        if time.monotonic() - self.typed > TYPING_EVERY:
            self.typed = time.monotonic()
            await self._present("typing")

    async def ping(self, content: dict[str, Any]) -> None:
        await self.send_json({"type": "pong"})
        await self._tell_unheard(self.last_seq)
        if self.waits:  # who is in front, and whether somebody is there, changes without a word
            await self._send_state()

    def _text(self, text: Any, limit: int = asking.MESSAGE_LENGTH) -> str:
        if not isinstance(text, str) or not text.strip() or _UNSTORABLE.search(text):
            raise Refused("bad_message", self._say(not_understood))
        if len(text) > limit:
            raise Refused("too_long", self._say(partial(_too_long, limit)))
        return text.strip()

    # --- From the realtime layer: what a hint does not carry is read from the database -----

    async def conversation_message(self, event: dict[str, Any]) -> None:
        here = event["conversation"] == str(self.conversation_id)  # else it came too late
        if not here or event["seq"] <= self.last_seq:
            return
        if event["seq"] > self.last_seq + 1 or not self._told_whole(event):
            await self._catch_up()
            return
        self._sent(event["message"])
        await self.send_json({"type": "message", "message": event["message"]})
        if event["message"]["role"] == Message.Role.AGENT:
            await self._present("here")

    def _told_whole(self, event: dict[str, Any]) -> bool:
        """Whether a hint carries its message for whoever is here. Whom a site shows its visitors'
        conversations is looked up each time: its word is good for minutes."""
        whole = "message" in event and not self.site_key
        return whole and visitors.owns(self.user, self.visitor, event["whose"])

    async def conversation_rating(self, event: dict[str, Any]) -> None:
        """Told to every window of the conversation."""
        for message in await self._db(following.message, self.conversation_id, event["seq"]):
            await self.send_json({"type": "message", "message": message})

    async def conversation_step(self, event: dict[str, Any]) -> None:
        if event["seq"] > self.replied_seq:  # else its reply overtook it
            await self.send_json({"type": "step", "turn": event["turn"], "step": event["step"]})

    async def conversation_citations(self, event: dict[str, Any]) -> None:
        """Before the first sentence that is marked with them, so that the marks open them."""
        if event["seq"] > self.replied_seq:
            draft = self._draft(event["turn"])
            draft.citations = await self._db(presenting.passages_json, event["chunks"])
            told = {"type": "citations", "turn": event["turn"], "citations": draft.citations}
            await self.send_json(told)

    async def conversation_delta(self, event: dict[str, Any]) -> None:
        if event["seq"] > self.replied_seq:
            draft = self._draft(event["turn"])
            draft.text += event["text"]
            html = presenting.html(draft.text, len(draft.citations))
            told = {"type": "delta", "turn": event["turn"], "text": event["text"], "html": html}
            await self.send_json(told)

    async def conversation_afresh(self, event: dict[str, Any]) -> None:
        """What was said so far is taken back: the model failed in the middle."""
        self.draft = Draft(event["turn"])
        await self.send_json({"type": "afresh", "turn": event["turn"]})

    async def conversation_notice(self, event: dict[str, Any]) -> None:
        """Something takes longer."""
        if event["seq"] > self.replied_seq:
            await self.send_json({"type": "notice", "turn": event["turn"], "text": event["text"]})

    async def conversation_turn(self, event: dict[str, Any]) -> None:
        """A turn ended; its message came before."""

    async def conversation_typing(self, event: dict[str, Any]) -> None:
        await self.send_json({"type": "typing", "agent": event["agent"]})

    async def conversation_who(self, event: dict[str, Any]) -> None:
        """An agent began to look."""
        await self._present("here")

    async def conversation_customer(self, event: dict[str, Any]) -> None:
        """For agents: a window of the customer's is here, typing, or left."""

    async def conversation_state(self, event: dict[str, Any]) -> None:
        await self._send_state()

    async def realtime_reconnected(self, event: dict[str, Any]) -> None:
        await self._catch_up()
        await self._send_state()

    # --- Sending -----------------------------------------------------------------

    async def _watch(self, conversation_id: uuid.UUID, after: int) -> None:
        await self._leave()
        self.conversation_id, self.last_seq, self.replied_seq = conversation_id, after, 0
        self.draft = Draft(0)
        await self.channel_layer.group_add(transcript.group(conversation_id), self.channel_name)
        welcome = await self._db(self._welcome)
        for message in welcome["messages"]:
            self._sent(message)
        await self.send_json(welcome)
        if after:
            await self._catch_up()
        await self._send_state()
        await self._tell_unheard(self.last_seq)
        await self._present("here")

    async def _tell_unheard(self, seq: int) -> None:
        """What was said as `seq` waits, and nobody is there to answer it."""
        if seq > self.replied_seq and await self._db(following.unheard, self.conversation_id):
            await self.send_json({"type": "notice", "turn": 0, "text": self._say(_unheard)})

    async def _present(self, what: str) -> None:
        if self.conversation_id:
            told: dict[str, Any] = {
                "type": "conversation.customer",
                "conversation": str(self.conversation_id),
                "seq": self.last_seq,  # what has arrived there
            }
            with suppress(*AWAY):  # only a hint
                group = transcript.group(self.conversation_id)
                await self.channel_layer.group_send(group, {**told, "what": what})

    async def _leave(self) -> None:
        if self.conversation_id:
            group = transcript.group(self.conversation_id)
            await self.channel_layer.group_discard(group, self.channel_name)
            self.conversation_id = None

    async def _catch_up(self) -> None:
        """Everything after what the client has, a batch at a time."""
        by_agent = False
        full = True
        while full:
            messages = await self._db(self._missed)
            full = len(messages) == following.HISTORY
            for message in messages:
                self._sent(message)
                await self.send_json({"type": "message", "message": message})
                by_agent |= message["role"] == Message.Role.AGENT
        if by_agent:
            await self._present("here")

    def _draft(self, turn: int) -> Draft:
        if self.draft.turn != turn:
            self.draft = Draft(turn)
        return self.draft

    def _sent(self, message: dict[str, Any]) -> None:
        self.last_seq = max(self.last_seq, message["seq"])
        late = message["id"].startswith(transcript.LATE)  # not the reply to what is being answered
        if message["role"] != Message.Role.CUSTOMER and not late:
            self.replied_seq = max(self.replied_seq, message["seq"])

    async def _send_state(self) -> None:
        state = await self._db(following.state, self.conversation_id)
        self.waits = state["state"] in (Conversation.State.QUEUED, Conversation.State.OFFERED)
        await self.send_json({"type": "state", **state})

    # --- In the pool's threads ------------------------------------------------------

    def shut_out(self) -> int | None:
        user = signed_in(self.scope)
        if user != self.user:
            return LOGGED_OUT
        self.user = user
        return None

    def _welcome(self) -> dict[str, Any]:
        bases = KnowledgeBase.objects.readable_by(self.user)
        if self.base:
            bases = bases.filter(slug=self.base)
        return {
            "type": "welcome",
            "conversation": str(self.conversation_id),
            "state": following.state(self.conversation_id)["state"],
            "messages": following.messages(self.conversation_id, self.last_seq),
            "bases": [{"slug": base.slug, "name": base.name} for base in bases],
            "user": str(self.user) if self.user.is_authenticated else None,
            "verified": self.user.is_authenticated or self.identified,
        }

    def _missed(self) -> list[dict[str, Any]]:
        if self.conversation_id:
            self._refuse_anothers(self.conversation_id)
        return following.messages(self.conversation_id, self.last_seq)

    def _conversation(self) -> Conversation:
        """The row, made when there is something to write in it. It is a user's from when they
        write in it signed in, and answered from what they may read."""
        if self.conversation_id is None:
            raise Refused("no_conversation", _("Say hello first."))
        who, user = self._who(), self.user if self.user.is_authenticated else None
        conversation = self._mine().filter(pk=self.conversation_id).first()
        if conversation is None:
            conversation, _made = Conversation.objects.get_or_create(
                pk=self.conversation_id,
                defaults={
                    "visitor": "" if user else self.visitor, "user": user,
                    "language": self.language, **self._shown_by(who),
                },
            )  # fmt: skip
            self._refuse_anothers(conversation.pk)
        if user and conversation.user_id is None:
            _claim(conversation, user=user, visitor="")
        # What is sent with a message is of the visitor of this browser.
        if who and (conversation.identity, conversation.visitor) != (who.identity, self.visitor):
            _claim(conversation, identity=who.identity, visitor=self.visitor)
        return conversation

    def _shown_by(self, who: Known | None) -> dict[str, Any]:
        """What a conversation in the frame of a site begins with."""
        if not self.site_key:
            return {}
        return {
            "channel": Conversation.Channel.WIDGET,
            "site": self._site(),
            "identity": who.identity if who else "",
            "knowledge_base": self._asked_base(),
        }

    def _asked_base(self) -> KnowledgeBase | None:
        """The site's, whatever the address says; None: all that visitors may read."""
        base = self._site().knowledge_base
        if base or not self.base:
            return base
        named = KnowledgeBase.objects.readable_by(self.user).filter(slug=self.base).first()
        if named is None:
            raise Refused("no_base", _("There is no such knowledge base, or you may not read it."))
        return named

    def _site(self) -> WidgetSite:
        site = WidgetSite.objects.filter(key=self.site_key, enabled=True).first()
        if site is None:
            raise Refused("no_site", _("The chat is not offered here any more."))
        return site

    def _who(self) -> Known | None:
        """Whom a site vouches for, looked at again each time: its word is good for minutes."""
        if not self.site_key:
            return None
        site, who = self._site(), identities.known(self.scope.get("cookies", {}))
        if who is None or who.site != site.pk:
            if self.identified:
                raise Refused("identity_expired", _("Please sign in again on this site."))
            return None
        return who

    def _mine(self) -> QuerySet[Conversation]:
        mine = visitors.conversations(self.user, self.visitor, self._who())
        return mine.filter(site__key=self.site_key) if self.site_key else mine

    def _find(self, wanted: Any) -> uuid.UUID:
        """The conversation asked for; a new one's id when none is. Raises Refused for another's."""
        try:
            pk = uuid.UUID(wanted) if isinstance(wanted, str) else self._latest()
        except ValueError:
            pk = uuid.uuid4()
        self._refuse_anothers(pk)
        return pk

    def _latest(self) -> uuid.UUID:
        """Where a frame goes on, in which browsers may let no script keep anything; a page of
        ours, and who has said nothing yet, begins a new one."""
        mine = self._mine().filter(visitor=self.visitor) if self.site_key else None
        row = mine.order_by("-updated_at").first() if mine is not None else None
        return row.pk if row else uuid.uuid4()

    def _refuse_anothers(self, pk: uuid.UUID) -> None:
        """Also checked when something is written or sent: a client may wait at an id it heard
        of."""
        if not self._mine().filter(pk=pk).exists() and Conversation.objects.filter(pk=pk).exists():
            raise Refused("not_found", _("There is no such conversation."))

    def _past(self, query: str, offset: int) -> dict[str, Any]:
        known = self.user.is_authenticated or self.identified
        return history.past(self._mine() if known else Conversation.objects.none(), query, offset)

    def _limit(self) -> None:
        who = self.visitor or f"user {self.user.pk}"
        if not (
            allow(f"chat:{who}", MESSAGES_A_MINUTE)
            and allow(f"chat:{self.address}", MESSAGES_A_MINUTE_ADDRESS)
        ):
            raise Refused("too_many", _("Too many messages. Please wait a minute."))

    def _ask(self, text: str, client_id: str, uploaded: list[str]) -> Message:
        self._limit()
        try:
            message, _turn = asking.ask(self._conversation(), text, client_id, uploaded=uploaded)
        except uploads.Refused as refused:
            raise Refused(refused.code, str(refused)) from refused
        return message

    def _call_human(self) -> None:
        self._limit()
        asking.call_human(self._conversation(), "asked")

    def _withdraw(self) -> None:
        self._limit()
        try:
            asking.withdraw(self._conversation())
        except Conflict as conflict:
            raise Refused("conflict", str(conflict)) from conflict

    def _leave_contact(self, text: str) -> None:
        self._limit()
        try:
            asking.desk("leave_contact")(self._conversation(), text)
        except Conflict as conflict:
            raise Refused("conflict", str(conflict)) from conflict

    def _rate(self, seq: int, helpful: bool | None, reason: str, comment: str) -> None:
        self._limit()
        try:
            rating.rate(self._conversation(), seq, helpful, reason, comment)
        except Conflict as conflict:
            raise Refused("conflict", str(conflict)) from conflict

    def _judge(self, score: int, comment: str) -> None:
        self._limit()
        try:
            asking.desk("rate")(self._conversation(), score, comment)
        except Conflict as conflict:
            raise Refused("conflict", str(conflict)) from conflict


def _claim(conversation: Conversation, **whose: Any) -> None:
    Conversation.objects.filter(pk=conversation.pk).update(**whose)
    for name, value in whose.items():
        setattr(conversation, name, value)


def _unheard() -> str:
    return _(
        "Your message has arrived. The assistant is starting or not running, and answers once it "
        "is there. You can also talk to a person."
    )


def _too_long(limit: int) -> str:
    return _("This message is too long: at most %(limit)s characters.") % {"limit": limit}
