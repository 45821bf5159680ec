"""An OpenAI-compatible server on the loopback that misbehaves on demand."""

import json
import re
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeModel:
    """Answers each request by the next of `script`, the last one for ever.

    A script entry is a text to stream (in pieces of `size` characters), a dict (the JSON it
    answers; {"think": seconds, "say": text} writes thoughts before the text), a status code,
    "stall" (headers, then silence), "silence" (nothing at all), "garbage", "break" (half a text),
    "heartbeat" (comments for ever) or "empty".

    What asks for JSON is answered by `structured`, an entry or a list of them by the name of its
    schema, so that the calls of a turn need no order; of "answer" by `script` where it has none,
    and any other that has none is refused and not kept in `requests`. `refuses` holds what it
    knows not: "json_schema", "json_object", "stream_options".
    """

    def __init__(self, size=3):
        self.script, self.requests, self.size = ["你好。[1]"], [], size
        self.structured, self.refuses = {}, set()
        self.finish = "stop"  # why its words end
        self._stop = threading.Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                fake._answer(self, fake._next(json.loads(self.rfile.read(length))))

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        serve = self.server.serve_forever
        self.thread = threading.Thread(target=serve, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        self._stop.set()
        self.server.shutdown()
        self.server.server_close()

    def _next(self, request):
        """What it does about `request`."""
        name = _schema(request)
        if name not in self.structured and name not in ("", "answer"):
            return 400
        self.requests.append(request)
        form = request.get("response_format", {}).get("type", "")
        if form in self.refuses or self.refuses & set(request):
            return 400
        script = self.structured.get(name, self.script)
        if not isinstance(script, list):
            return script
        return script.pop(0) if len(script) > 1 else script[0]

    def _answer(self, handler, does):
        if isinstance(does, int):
            handler.send_response(does)
            body = json.dumps({"error": {"message": f"refused: {sorted(self.refuses)}"}}).encode()
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
            return
        thinks = does.get("think", 0) if isinstance(does, dict) else 0
        if thinks:
            does = does["say"]
        elif isinstance(does, dict):
            does = json.dumps(does, ensure_ascii=False, separators=(",", ":"))
        if does == "silence":
            self._stop.wait(60)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        for _thought in range(round(thinks * 10)):
            self._write(handler, _chunk("嗯", name="reasoning_content"))
            self._stop.wait(0.1)
        if does == "stall":
            self._write(handler, _chunk("先说半句"))
            self._stop.wait(60)
        elif does == "heartbeat":
            with suppress(OSError):
                while not self._stop.wait(0.1):
                    handler.wfile.write(b": still there\n\n")
                    handler.wfile.flush()
        elif does == "garbage":
            handler.wfile.write(b"data: {not json\n\n\x00\xff\n\n")
        elif does == "break":
            self._write(handler, _chunk("说了一半"))
        elif does == "empty":
            self._write(handler, _chunk(None, "stop"))
            handler.wfile.write(b"data: [DONE]\n\n")
        else:
            for start in range(0, len(does), self.size):
                self._write(handler, _chunk(does[start : start + self.size]))
            self._write(handler, _chunk(None, self.finish))
            self._write(handler, USAGE)
            handler.wfile.write(b"data: [DONE]\n\n")

    def _write(self, handler, chunk):
        handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        handler.wfile.flush()


def _schema(request):
    """The name of the schema that `request` asks for, "" when it asks for none."""
    named = re.search(r'\{"title":"(\w+)"', request["messages"][0]["content"])
    return named[1] if named else ""


def _chunk(text, finish=None, name="content"):
    delta = {name: text} if text is not None else {}
    return {
        "id": "x", "object": "chat.completion.chunk", "created": int(time.time()), "model": "fake",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }  # fmt: skip


USAGE = {
    "id": "x", "object": "chat.completion.chunk", "created": 0, "model": "fake", "choices": [],
    "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
}  # fmt: skip
