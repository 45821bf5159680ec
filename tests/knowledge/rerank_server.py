"""A server on loopback with a `/rerank` like Jina's and Cohere's that misbehaves when told to."""

import json

from tests import loopback


class RerankServer(loopback.Server):
    """Prefers documents that share letters with the question; `script` holds what to do before
    that, in order: a status code, "short", "garbage", "nan", "drip", "silent" or "hang up"."""

    def __init__(self):
        super().__init__(Handler)
        self.script = []
        self.requests = []  # (headers, body)

    @property
    def url(self):
        return f"{self.address}/v1"


def score(query, text):
    """What the server says of a document: not between 0 and 1, as with many."""
    return 20 * len(set(query) & set(text)) / len(set(query)) - 10


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
            self.reply({"message": f"scripted {todo}"}, todo)
        elif todo == "garbage":
            self.reply(["not what was asked"])
        elif self.path != "/v1/rerank":
            self.reply({"message": "no such path"}, 404)
        else:
            self.reply({"results": self.rows(body, todo)})

    def rows(self, body, todo):
        rows = [
            {"index": index, "relevance_score": score(body["query"], text)}
            for index, text in enumerate(body["documents"])
        ]
        if todo == "nan":
            rows[0]["relevance_score"] = float("nan")
        rows.sort(key=lambda row: -row["relevance_score"])
        return rows[: body["top_n"] - (todo == "short")]

    def reply(self, answer, status=200):
        self.send(json.dumps(answer).encode(), status, {"Content-Type": "application/json"})


def rerank_server():
    return loopback.serving(RerankServer())
