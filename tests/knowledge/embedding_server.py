"""A server on loopback that speaks OpenAI's /embeddings, and misbehaves when told to."""

import base64
import hashlib
import json
import struct

from tests import loopback


class EmbeddingServer(loopback.Server):
    """Answers with vectors made from the texts; `script` holds what to do before that, in order:
    a status code, "short", "garbage", "base64", "shuffled", "hang up", "silent" or "drip"."""

    def __init__(self, dimensions=8):
        super().__init__(Handler)
        self.dimensions = dimensions
        self.script = []
        self.requests = []  # (headers, body)

    @property
    def url(self):
        return f"{self.address}/v1"


def vector(text, dimensions):
    """What the server says of `text`: the same for the same text, not of length 1."""
    digest = hashlib.shake_128(text.encode()).digest(dimensions)
    return [byte + 1.0 for byte in digest]


class Handler(loopback.Handler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((dict(self.headers), body))
        todo = self.server.script.pop(0) if self.server.script else ""
        if todo == "hang up":
            self.close_connection = True
        elif todo == "silent":
            self.hang()
        elif todo == "drip":
            self.drip()
        elif isinstance(todo, int):
            self.reply({"error": {"message": f"scripted {todo}"}}, todo)
        elif todo == "garbage":
            self.reply("not what was asked")
        elif self.path != "/v1/embeddings":
            self.reply({"error": {"message": "no such path"}}, 404)
        else:
            self.reply({"object": "list", "data": self.rows(body["input"], todo)})

    def rows(self, texts, todo):
        rows = []
        for index, text in enumerate(texts):
            numbers = vector(text, self.server.dimensions)
            if todo == "base64":
                packed = struct.pack(f"<{len(numbers)}f", *numbers)
                numbers = base64.b64encode(packed).decode()
            rows.append({"object": "embedding", "index": index, "embedding": numbers})
        if todo == "shuffled":
            rows.reverse()
        return rows[:-1] if todo == "short" else rows

    def reply(self, answer, status=200):
        self.send(json.dumps(answer).encode(), status, {"Content-Type": "application/json"})


def embedding_server(dimensions=8):
    return loopback.serving(EmbeddingServer(dimensions))
