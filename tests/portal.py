"""A site that shows the chat in its pages, and says who its visitor is, if it knows."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

PAGE = """<!DOCTYPE html><html lang="zh-CN"><head><meta charset="utf-8"><title>门户</title>
<meta name="viewport" content="width=device-width"></head><body><main><h1>员工门户</h1>
<p>欢迎。</p></main><script src="/who.js"></script>
<script async src="{opsdesk}/widget.js" data-site="{key}" data-title="运维咨询"
 data-colour="#ffd500"></script></body></html>"""
POLICY = "default-src 'self'; script-src 'self' {opsdesk}; frame-src {opsdesk}; style-src 'self'"


class Portal:
    def __init__(self, opsdesk):
        self.opsdesk, self.key, self.visitor, self.seconds = opsdesk, "", "", 600
        self.asked = 0
        portal = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body, kind = portal.answer(self.path)
                self.send_response(200)
                self.send_header("Content-Type", kind)
                policy = POLICY.format(opsdesk=portal.opsdesk)
                self.send_header("Content-Security-Policy", policy)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://localhost:{self.server.server_port}"

    def answer(self, path):
        if path == "/who.js":
            return (
                "opsdeskIdentity = () => fetch('/token').then((a) => a.text());",
                "text/javascript",
            )
        if path == "/token":
            self.asked += 1
            return self.token(), "text/plain"
        return PAGE.format(opsdesk=self.opsdesk, key=self.key), "text/html"

    def token(self):
        if not self.visitor:
            return ""
        ends = int(time.time()) + self.seconds
        return jwt.encode({"sub": self.visitor, "exp": ends}, self.secret, "HS256")


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()
