"""A server on loopback that speaks OpenAI's /embeddings, and misbehaves when told to."""

import base64
import hashlib
import json
import struct
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class EmbeddingServer(ThreadingHTTPServer):
    """Answers with vectors made from the texts; `script` holds what to do before that, in order:
    a status code, "short", "garbage", "base64", "shuffled" or "hang up"."""

    def __init__(self, dimensions=8):
        super().__init__(("127.0.0.1", 0), Handler)
        self.dimensions = dimensions
        self.script = []
        self.requests = []  # (headers, body)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


def vector(text, dimensions):
    """What the server says of `text`: the same for the same text, not of length 1."""
    digest = hashlib.shake_128(text.encode()).digest(dimensions)
    return [byte + 1.0 for byte in digest]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((dict(self.headers), body))
        todo = self.server.script.pop(0) if self.server.script else ""
        if todo == "hang up":
            self.close_connection = True
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
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@contextmanager
def embedding_server(dimensions=8):
    server = EmbeddingServer(dimensions)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
