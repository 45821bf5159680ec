"""A server on loopback that speaks Feishu's open API as its documentation has it.

Tokens expire, a refresh token can be used once, lists come in pages (also empty ones), limits
are told in a header, an export is a task that is asked about until it is done.
"""

import hashlib
import itertools
import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests import loopback

APP_ID, APP_SECRET = "cli_test", "app-secret"


@dataclass
class Doc:
    """A document, and its place in the wiki or the drive."""

    token: str
    title: str
    content: bytes = b""
    type: str = "docx"
    edited: int = 1
    parent: str = ""  # node token of the wiki, or folder token of the drive
    forbidden: bool = False
    deleted: bool = False
    children_forbidden: bool = False
    extra: dict = field(default_factory=dict)

    @property
    def node(self):
        return f"node{self.token}"


class FeishuServer(loopback.Server):
    def __init__(self):
        super().__init__(Handler)
        self.docs = []
        self.page_size = 2
        self.lifetime = 7200
        self.calls = []  # "GET /wiki/v2/…"
        self.limit = []  # seconds to wait, for the calls to come
        self.numbers = itertools.count(1)
        self.tokens = {}  # access token → when it ends
        self.refresh_tokens = {}  # → whether it was used
        self.codes = {}  # → (redirect_uri, code_challenge)
        self.tasks = {}  # ticket → (document, how often it was asked about)

    @property
    def url(self):
        return f"{self.address}"

    def add(self, *args, **kwargs):
        self.docs.append(Doc(*args, **kwargs))
        return self.docs[-1]

    def doc(self, token):
        return next((doc for doc in self.docs if doc.token == token), None)

    def expire(self):
        self.tokens = dict.fromkeys(self.tokens, 0)

    def authorize(self, redirect_uri, challenge):
        """A person said yes; the code they come back with."""
        code = f"code{next(self.numbers)}"
        self.codes[code] = (redirect_uri, challenge)
        return code


class Handler(loopback.Handler):
    def do_GET(self):
        self.handle_call({})

    def do_POST(self):
        self.handle_call(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def handle_call(self, body):
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/open-apis")
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        server = self.server
        server.calls.append(f"{self.command} {path}")
        if path == "/auth/v3/tenant_access_token/internal":
            return self.tenant_token(body)
        if path == "/authen/v2/oauth/token":
            return self.user_token(body)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if server.tokens.get(token, 0) <= time.time():
            code = 99991677 if token.startswith("u-") else 99991663
            return self.reply({"code": code, "msg": "Invalid access token"}, 401)
        if server.limit:
            headers = {"x-ogw-ratelimit-reset": str(server.limit.pop(0))}
            refusal = {"code": 99991400, "msg": "request trigger frequency limit"}
            return self.reply(refusal, 429, headers)
        match path.strip("/").split("/"):
            case ["wiki", "v2", "spaces", "get_node"]:
                self.get_node(asked["token"])
            case ["wiki", "v2", "spaces", _space, "nodes"]:
                self.nodes(asked)
            case ["drive", "v1", "files"]:
                self.files(asked)
            case ["drive", "v1", "files", file_token, "download"]:
                self.send(server.doc(file_token).content)
            case ["drive", "v1", "export_tasks"]:
                self.export(body)
            case ["drive", "v1", "export_tasks", "file", file_token, "download"]:
                self.send(server.doc(file_token.removeprefix("made")).content)
            case ["drive", "v1", "export_tasks", ticket]:
                self.export_task(ticket)
            case _:
                self.reply({"code": 1, "msg": "no such path"}, 404)

    # --- tokens

    def tenant_token(self, body):
        if body != {"app_id": APP_ID, "app_secret": APP_SECRET}:
            return self.reply({"code": 10014, "msg": "app secret invalid"})
        self.reply({"code": 0, "msg": "ok", "tenant_access_token": self.token("t"),
                    "expire": self.server.lifetime})  # fmt: skip

    def token(self, kind):
        token = f"{kind}-{next(self.server.numbers)}"
        self.server.tokens[token] = time.time() + self.server.lifetime
        return token

    def user_token(self, body):
        if (body.get("client_id"), body.get("client_secret")) != (APP_ID, APP_SECRET):
            return self.oauth_error(20002, "The client secret is invalid.")
        if body["grant_type"] == "authorization_code":
            redirect_uri, challenge = self.server.codes.pop(body["code"], ("", ""))
            digest = hashlib.sha256(body.get("code_verifier", "").encode()).digest()
            if redirect_uri != body["redirect_uri"]:
                return self.oauth_error(20003, "The authorization code is not found.")
            if urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge:
                return self.oauth_error(20049, "PKCE verification failed.")
        else:
            used = self.server.refresh_tokens.get(body["refresh_token"])
            if used is None:
                return self.oauth_error(20026, "The refresh token is invalid.")
            if used:
                return self.oauth_error(20073, "The refresh token has been used.")
            self.server.refresh_tokens[body["refresh_token"]] = True
        refresh = f"r-{next(self.server.numbers)}"
        self.server.refresh_tokens[refresh] = False
        self.reply({"code": 0, "access_token": self.token("u"), "token_type": "Bearer",
                    "expires_in": self.server.lifetime, "refresh_token": refresh,
                    "refresh_token_expires_in": 604800, "scope": "offline_access"})  # fmt: skip

    def oauth_error(self, code, description):
        error = {"code": code, "error": "invalid_grant", "error_description": description}
        self.reply(error, 400)

    # --- lists

    def as_node(self, doc):
        children = any(other.parent == doc.node for other in self.server.docs)
        return {"space_id": "7000", "node_token": doc.node, "obj_token": doc.token,
                "obj_type": doc.type, "parent_node_token": doc.parent, "node_type": "origin",
                "has_child": children, "title": doc.title, "obj_edit_time": str(doc.edited),
                **doc.extra}  # fmt: skip

    def get_node(self, token):
        doc = next((doc for doc in self.server.docs if doc.node == token), None)
        if doc is None:
            return self.reply({"code": 131005, "msg": "node not found"}, 400)
        self.reply({"code": 0, "msg": "success", "data": {"node": self.as_node(doc)}})

    def nodes(self, asked):
        parent = next(
            (d for d in self.server.docs if d.node == asked.get("parent_node_token")), None
        )
        if parent and parent.children_forbidden:
            refusal = {"code": 131006, "msg": "permission denied: wiki node"}
            return self.reply(refusal, 400)
        rows = [doc for doc in self.server.docs if doc.parent == asked.get("parent_node_token", "")]
        rows = [None, *rows]  # what this app may not see leaves a page with fewer, even none
        shown, more = self.page(rows, asked)
        items = [self.as_node(doc) for doc in shown if doc]
        data = {"items": items, "page_token": more, "has_more": bool(more)}
        self.reply({"code": 0, "msg": "success", "data": data})

    def files(self, asked):
        rows = [doc for doc in self.server.docs if doc.parent == asked.get("folder_token", "")]
        shown, more = self.page(rows, asked)
        files = [{"token": doc.token, "name": doc.title, "type": doc.type,
                  "parent_token": doc.parent, "modified_time": str(doc.edited),
                  "url": f"https://x.feishu.cn/{doc.type}/{doc.token}", **doc.extra}
                 for doc in shown]  # fmt: skip
        data = {"files": files, "has_more": bool(more)}
        if more:
            data["next_page_token"] = more
        self.reply({"code": 0, "msg": "success", "data": data})

    def page(self, rows, asked):
        start = int(asked.get("page_token") or 0)
        end = start + min(self.server.page_size, int(asked["page_size"]))
        return rows[start:end], str(end) if end < len(rows) else ""

    # --- exports

    def export(self, body):
        doc = self.server.doc(body["token"])
        if doc is None or doc.deleted:
            return self.reply({"code": 1069906, "msg": "docs deleted"}, 400)
        if doc.forbidden:
            return self.reply({"code": 1069902, "msg": "no permission"}, 403)
        ticket = str(next(self.server.numbers))
        self.server.tasks[ticket] = [doc, body["file_extension"], 0]
        self.reply({"code": 0, "msg": "success", "data": {"ticket": ticket}})

    def export_task(self, ticket):
        task = self.server.tasks[ticket]
        doc, extension, asked = task
        task[2] += 1
        result = {"file_extension": extension, "type": doc.type, "file_name": doc.title}
        result |= {"file_token": "", "file_size": 0, "job_error_msg": "", "job_status": 2}
        if asked:
            result |= {"job_status": 0, "file_token": f"made{doc.token}"}
        self.reply({"code": 0, "msg": "success", "data": {"result": result}})

    # --- answers

    def reply(self, answer, status=200, headers=None):
        self.send(json.dumps(answer).encode(), status, "application/json", headers)

    def send(self, content, status=200, kind="application/octet-stream", headers=None):
        super().send(content, status, {"Content-Type": kind, **(headers or {})})


def feishu_server():
    return loopback.serving(FeishuServer())
