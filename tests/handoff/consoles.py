"""An agent's end of the console's socket, and their page."""

from channels.db import database_sync_to_async
from django.conf import settings
from django.test import Client

from chat.models import Conversation
from handoff.actions import Action, Done
from tests.chat.sockets import Socket


def cookie_of(user):
    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


async def asked(visitor):
    """The conversation of a visitor who comes and asks."""
    welcome = await visitor.open()
    await visitor.say("磁盘满了", "m1")
    await visitor.until("ack")
    read = database_sync_to_async(Conversation.objects.get, thread_sensitive=False)
    return await read(pk=welcome["conversation"])


class Echo(Action):
    name, title = "echo", "Echo"

    def allowed(self, user, conversation):
        return conversation.owner_id == user.pk

    def run(self, user, conversation):
        return Done(f"{user} {conversation.title}")


class Console(Socket):
    path = "/ws/console/"

    async def open(self, **held):
        assert (await self.connect())[0]
        await self.send({"type": "hello", "open": held})
        return await self.until("welcome")

    async def act(self, action, conversation, **content):
        """What the server says to it: "done" or "error"."""
        wanted = {"type": "act", "action": action, "conversation": str(conversation.pk)}
        await self.send(wanted | {"id": "a1"} | content)
        while (got := await self.receive())["type"] not in ("done", "error"):
            pass
        return got

    async def follow(self, conversation, after=0):
        pk = str(conversation.pk)
        await self.send({"type": "open", "conversation": pk, "after": after})
        while (got := await self.receive())["type"] not in ("opened", "error"):
            pass
        return got
