"""A service on loopback that knows orders, and misbehaves where its path says so."""

import json
import socket
import time
from urllib.parse import parse_qs, unquote, urlsplit

from tests import loopback

ORDERS = {
    "AB123456": {"status": "运输中", "eta": "2026-11-23", "items": [{"name": "交换机"}]},
    "AB000001": {"status": "已签收", "eta": "2026-11-20", "items": []},
}


class OrderService(loopback.Server):
    """`does` is what it does instead of answering, in order: a status, a number of seconds as a
    float, "garbage", "huge", "hang up", "drip", or a text that is sent as it is. `asked` keeps
    (method, path, query, headers, body)."""

    def __init__(self, port=0):
        super().__init__(Handler, port)
        self.does, self.asked = [], []


class Handler(loopback.Handler):
    def do_GET(self):
        self._answer()

    do_POST = do_PUT = do_PATCH = do_GET

    def _answer(self):
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(
            (self.command, parts.path, parse_qs(parts.query), dict(self.headers), body)
        )
        does = self.server.does.pop(0) if self.server.does else None
        if isinstance(does, float):
            self.server.stopped.wait(does)
        elif isinstance(does, int):
            return self.send(b"{}", does, {"Location": "/elsewhere"})
        elif does == "garbage":
            return self.send(b"<html>\xff not json")
        elif does == "huge":
            return self.send(b'{"status": "' + b"x" * 3_000_000 + b'"}')
        elif does == "hang up":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        elif does == "drip":
            return self._drip()
        elif does is not None:
            return self.send(does.encode())
        order = ORDERS.get(unquote(parts.path.rsplit("/", 1)[-1]))
        if self.command == "GET" and order is None:
            return self.send(b'{"error": "no such order"}', 404)
        return self.send(json.dumps({"code": 0, "data": order or {"id": "R-1"}}).encode())

    def _drip(self):
        self.send_response(200)
        self.end_headers()
        for _piece in range(200):
            try:
                self.wfile.write(b" ")
                self.wfile.flush()
            except OSError:
                return None
            time.sleep(0.05)
        return None
