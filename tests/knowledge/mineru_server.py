"""A server on loopback that speaks MinerU's /v1, and misbehaves when told to."""

import io
import json
import zipfile

from tests import loopback
from tests.knowledge.parsing import files


class MinerUServer(loopback.Server):
    """Reads nothing: every file holds what `result` says. `script` holds what to do instead of
    answering the next requests: a status code, "garbage" or "hang up"."""

    def __init__(self):
        super().__init__(Handler)
        self.script, self.requests = [], []  # (method, path, body, headers)
        self.known, self.jobs = set(), {}  # hashes; polls left of each job
        self.polls = 1
        self.error = None  # of every job
        self.result = bundle()

    @property
    def url(self):
        return f"{self.address}"

    def asked(self, path):
        return [body for _, asked, body, _ in self.requests if asked == path]


class Handler(loopback.Handler):
    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Type") == "application/json":
            body = json.loads(body)
        self.server.requests.append((self.command, self.path, body, dict(self.headers)))
        todo = self.server.script.pop(0) if self.server.script else ""
        if todo == "hang up":
            self.close_connection = True
        elif isinstance(todo, int):
            error = {"type": "api_error", "code": "x", "message": f"scripted {todo}", "param": None}
            self.reply({"error": error}, todo)
        elif todo == "garbage":
            self.reply(b"<html>not what was asked</html>")
        else:
            self.serve(body)

    do_GET = do_POST = do_PUT = handle_any

    def serve(self, body):
        server, parts = self.server, self.path.strip("/").split("/")
        match self.command, parts:
            case "POST", ["v1", "uploads"]:
                sha256 = body["sha256sum"]
                self.reply(self.upload(sha256, sha256 in server.known))
            case "PUT", ["v1", "uploads", _, "content"]:
                self.reply(b"")
            case "POST", ["v1", "uploads", sha256, "complete"]:
                server.known.add(sha256)
                self.reply(self.upload(sha256, True))
            case "POST", ["v1", "parse", "jobs"]:
                name = f"job_{len(server.jobs)}"
                server.jobs[name] = server.polls
                self.reply(self.job(name, "queued"), 202)
            case "GET", ["v1", "parse", "jobs", name] if name in server.jobs:
                server.jobs[name] -= 1
                ended = "failed" if server.error else "completed"
                self.reply(self.job(name, "running" if server.jobs[name] >= 0 else ended))
            case "GET", ["v1", "files", "file-zip", "content"]:
                self.reply(server.result)
            case _:
                error = {"type": "invalid_request_error", "code": "not_found", "message": "nothing"}
                self.reply({"error": error}, 404)

    def upload(self, sha256, completed):
        return {
            "id": sha256,
            "object": "upload",
            "status": "completed" if completed else "pending",
            "upload_url": None if completed else f"{self.server.url}/v1/uploads/{sha256}/content",
            "upload_method": None if completed else "PUT",
            "upload_headers": None if completed else {"Content-Type": "application/pdf"},
            "file": {"id": f"file-{sha256[:8]}"} if completed else None,
        }

    def job(self, name, status):
        made = status == "completed"
        output = {"file_id": "file-zip", "bytes": len(self.server.result)} if made else None
        error = {"type": "engine_error", "code": "parse_failed", "message": self.server.error}
        return {
            "job_id": name,
            "status": status,
            "tier": "standard",
            "output_formats": ["zip"],
            "files": [
                {
                    "status": status,
                    "output_files": {"markdown": None, "zip": output} if made else None,
                    "error": error if status == "failed" else None,
                }
            ],
        }

    def reply(self, answer, status=200):
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send(content, status)


def mineru_server():
    return loopback.serving(MinerUServer())


TABLE = "<table><tr><th>级别</th><th>时限</th></tr><tr><td rowspan='2'>P1</td><td>15 分钟</td></tr>"
TABLE += "<tr><td>30 分钟</td></tr></table>"


def text(words):
    return [{"type": "text", "content": words}]


def bundle():
    """A result as the real server packs it: a heading, a table, a formula and a picture."""
    box = [0.1, 0.1, 0.9, 0.2]
    blocks = [
        {"type": "paragraph_title", "level": 2, "content": text("故障处理")},
        {"type": "text", "content": text("先切换主库。")},
        {
            "type": "table",
            "content": [
                {"type": "table_caption", "content": text("表 1 分级")},
                {"type": "table_body", "content": TABLE},
            ],
        },
        {"type": "equation", "content": r"\frac{a}{b}"},
        {
            "type": "image",
            "content": [
                {"type": "image_body", "image_path": "images/page_0_image_0.png", "content": ""},
                {"type": "image_caption", "content": text("图 1 架构")},
            ],
        },
    ]
    for index, block in enumerate(blocks):
        block |= {"index": index, "bbox": box}
        for part in block["content"] if block["type"] in {"table", "image"} else ():
            part |= {"index": index, "bbox": box}
    middle = {
        "schema": "docvortex.middle",
        "schema_version": "2.0",
        "is_full_document": True,
        "metadata": {"file_suffix": "pdf", "producer": {"name": "mineru", "version": "4.0.12"}},
        "extensions": {"mineru": {"tier": "standard", "parse_mode": "ocr"}},
        "pages": [{"page_idx": 0, "blocks": blocks}],
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("middle_json.json", json.dumps(middle))
        archive.writestr("markdown.md", "# 故障处理")
        archive.writestr("images/page_0_image_0.png", files.picture((40, 40)))
    return packed.getvalue()
