"""A browser's end of the chat socket, spoken directly to the ASGI application."""

import asyncio
import json
import uuid

from asgiref.testing import ApplicationCommunicator

from chat import visitors
from opsdesk.asgi import application

SECONDS = 30  # at most, on a busy machine


def visitor_cookie():
    return f"{visitors.COOKIE}={visitors._signer.sign(uuid.uuid4().hex)}"


class Socket:
    path = "/ws/chat/"

    def __init__(self, cookie, origin="http://localhost", query=""):
        self.cookie = cookie
        headers = {"origin": origin, "host": "localhost", "cookie": cookie}
        self.app = ApplicationCommunicator(
            application,
            {
                "type": "websocket", "path": self.path, "query_string": query.encode(),
                "subprotocols": [],
                "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
                "client": ["127.0.0.1", 4711],
            },
        )  # fmt: skip

    async def connect(self):
        """Whether the server accepts, and the code with which it closes otherwise."""
        await self.app.send_input({"type": "websocket.connect"})
        answer = await self.app.receive_output(timeout=SECONDS)
        return answer["type"] == "websocket.accept", answer.get("code")

    async def open(self, **hello):
        assert (await self.connect())[0]
        await self.send({"type": "hello", "conversation": None, "after": 0, **hello})
        return await self.until("welcome")

    async def close(self):
        if not self.app.future.done():
            await self.app.send_input({"type": "websocket.disconnect", "code": 1000})
            await asyncio.wait([self.app.future], timeout=SECONDS)

    async def send(self, content):
        await self.send_text(json.dumps(content))

    async def send_text(self, text):
        await self.app.send_input({"type": "websocket.receive", "text": text})

    async def say(self, text, client_id=None):
        await self.send({"type": "message", "id": client_id or uuid.uuid4().hex, "text": text})

    async def receive(self):
        return json.loads((await self.app.receive_output(timeout=SECONDS))["text"])

    async def closed(self):
        """The code with which the server closes, after whatever it still says."""
        while True:
            output = await self.app.receive_output(timeout=SECONDS)
            if output["type"] == "websocket.close":
                return output["code"]

    async def until(self, kind, **wanted):
        while True:
            got = await self.receive()
            if got["type"] == kind and all(got.get(key) == value for key, value in wanted.items()):
                return got

    async def message(self, role):
        while True:
            message = (await self.until("message"))["message"]
            if message["role"] == role:
                return message
