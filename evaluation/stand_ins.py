"""Stand-ins for model servers, on loopback: they speak the protocols and know nothing.

What they give is made of letters alone, so figures got with them say how the ladder behaves, not
how well a real model answers.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from knowledge.likeness import normal
from knowledge.sentences import sentences

DIMENSIONS = 256
PIECE = 12  # characters that the model streams at once
SAID = 3  # sentences of an answer
_PASSAGE = re.compile(r'<段落 编号="(\d+)"[^>]*>\n(.*?)\n</段落>', re.DOTALL)
_QUESTION = re.compile(r"<问题>\n(.*?)\n</问题>", re.DOTALL)


@contextmanager
def serving() -> Iterator[str]:
    """The address of one server that is all of them, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            rows = [
                {"index": n, "embedding": vector(text)} for n, text in enumerate(asked["input"])
            ]
            self._reply({"data": rows})
        elif self.path.endswith("/rerank"):
            scores = enumerate(shared(asked["query"], text) for text in asked["documents"])
            self._reply({"results": [{"index": n, "relevance_score": one} for n, one in scores]})
        elif "response_format" in asked or '{"title":' in asked["messages"][0]["content"]:
            self._reply({"error": {"message": "no structured output"}}, 400)
        else:
            self._stream(answer(asked["messages"][-1]["content"]))

    def _reply(self, body: Any, status: int = 200) -> None:
        written = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def _stream(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for start in range(0, len(text), PIECE):
            self._event({"content": text[start : start + PIECE]}, None)
        self._event({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, delta: dict[str, str], finish: str | None) -> None:
        chunk = {
            "id": "x", "object": "chat.completion.chunk", "created": int(time.time()),
            "model": "stand-in",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }  # fmt: skip
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def log_message(self, *args: object) -> None:
        pass


def pairs(text: str) -> list[str]:
    plain = normal(text)
    return [plain[at : at + 2] for at in range(len(plain) - 1)] or [plain]


def vector(text: str) -> list[float]:
    """Its pairs of letters, counted in DIMENSIONS places."""
    counts = [0.0] * DIMENSIONS
    for pair in pairs(text):
        place = hashlib.blake2b(pair.encode(), digest_size=2).digest()
        counts[int.from_bytes(place) % DIMENSIONS] += 1.0
    return [count**0.5 + 1e-6 for count in counts]


def shared(query: str, text: str) -> float:
    """The share of the question's pairs of letters that stand in `text`."""
    asked = set(pairs(query))
    return len(asked & set(pairs(text))) / len(asked)


def answer(prompt: str) -> str:
    """The sentences of the first passages that share most with the question, each with its mark."""
    asked = _QUESTION.search(prompt)
    question = asked[1] if asked else prompt
    told = [
        (shared(question, sentence), f"{sentence.strip()}[{n}]")
        for n, passage in _PASSAGE.findall(prompt)[:2]
        for sentence in sentences(passage)
        if sentence.strip()
    ]
    best = sorted(told, key=lambda one: -one[0])[:SAID]
    return "\n".join(sentence for _score, sentence in best) or "NO_ANSWER"
