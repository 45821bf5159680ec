"""A web site on loopback: pages with ETags, a robots.txt, redirects, and whatever goes wrong."""

import hashlib
from dataclasses import dataclass, field

from tests import loopback


@dataclass
class Answer:
    body: bytes | str = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    etag: bool = True


class WebServer(loopback.Server):
    """`pages` by path; what is not there is 404. `log` keeps (path, status, headers asked)."""

    def __init__(self):
        super().__init__(Handler)
        self.pages = {}
        self.log = []

    @property
    def url(self):
        return f"{self.address}"

    def asked(self, path):
        return [status for asked, status, _headers in self.log if asked == path]

    def put(self, path, title, text, links=()):
        self.pages[path] = page(title, text, links)


def page(title, text, links=()):
    """A page as they are: with a menu around what it says."""
    anchors = "".join(f'<p>另见 <a href="{link}">{link} 的说明</a>。</p>' for link in links)
    return Answer(
        f"<!doctype html><html><head><meta charset=utf-8><title>{title}</title></head><body>"
        f"<nav><ul><li><a href='/login'>登录</a></li><li>首页</li></ul></nav><main><article>"
        f"<h1>{title}</h1><p>{text}</p><p>{text * 2}</p>{anchors}</article></main>"
        f"<footer>版权所有 备案号</footer></body></html>",
        headers={"Content-Type": "text/html; charset=utf-8"},
    )


class Handler(loopback.Handler):
    def do_GET(self):
        answer = self.server.pages.get(self.path, Answer(b"nothing", 404))
        if callable(answer):
            answer = answer(self)
            if answer is None:
                return
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        headers = dict(answer.headers)
        if answer.status == 200 and answer.etag:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        status = answer.status
        if self.headers["If-None-Match"] and self.headers["If-None-Match"] == headers.get("ETag"):
            status, body = 304, b""
        self.server.log.append((self.path, status, dict(self.headers)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def web_server():
    return loopback.serving(WebServer())
