"""A server on loopback that speaks OpenAI's /chat/completions with pictures, and misbehaves."""

import base64
import hashlib
import json
import threading

from tests import loopback


class VisionServer(loopback.Server):
    """Describes each picture by its digest, or by `says`; `script` holds what to do instead, in
    order: a status code, "stall", "garbage", "empty", "html" or a text to say."""

    def __init__(self):
        super().__init__(Handler)
        self.script, self.requests = [], []
        self.says = None
        self.busy, self.busiest, self.lock = 0, 0, threading.Lock()

    @property
    def url(self):
        return f"{self.address}/v1"


def words(data):
    return f"架构图，编号 {hashlib.sha256(data).hexdigest()[:8]}，三个节点。"


class Handler(loopback.Handler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append(body)
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
            todo = server.script.pop(0) if server.script else ""
        try:
            self.answer(body, todo)
        finally:
            with server.lock:
                server.busy -= 1

    def answer(self, body, todo):
        if self.path != "/v1/chat/completions":
            return self.reply({"error": {"message": "no such path"}}, 404)
        if isinstance(todo, int):
            return self.reply({"error": {"message": f"scripted {todo}"}}, todo)
        if todo == "stall":
            return self.hang()
        if todo == "garbage":
            return self.reply({"choices": "not what was asked"})
        if todo == "html":
            return self.reply(b"<html>a proxy's page</html>", kind="text/html")
        content = body["messages"][-1]["content"]
        shown = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
        data = base64.b64decode(shown.partition("base64,")[2], validate=True)
        said = "" if todo == "empty" else todo or self.server.says or words(data)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": said},
            "finish_reason": "stop",
        }
        whole = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
        return self.reply({**whole, "choices": [choice], "usage": None})

    def reply(self, answer, status=200, kind="application/json"):
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send(content, status, {"Content-Type": kind})


def vision_server():
    return loopback.serving(VisionServer())
