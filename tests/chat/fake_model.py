"""An OpenAI-compatible server on the loopback that misbehaves on demand."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeModel:
    """Answers each request by the next of `script`, the last one for ever.

    A script entry is a text to stream (in pieces of `size` characters), a status code,
    "stall" (headers, then silence), "silence" (nothing at all), "garbage", "break" (half a text)
    or "empty".
    """

    def __init__(self, size=3):
        self.script, self.requests, self.size = ["你好。[1]"], [], size
        self._stop = threading.Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                fake.requests.append(json.loads(self.rfile.read(length)))
                fake._answer(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self._stop.set()
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, handler):
        does = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(does, int):
            handler.send_response(does)
            handler.send_header("Content-Length", "2")
            handler.end_headers()
            handler.wfile.write(b"{}")
            return
        if does == "silence":
            self._stop.wait(20)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        if does == "stall":
            self._write(handler, _chunk("先说半句"))
            self._stop.wait(20)
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
            self._write(handler, _chunk(None, "stop"))
            handler.wfile.write(b"data: [DONE]\n\n")

    def _write(self, handler, chunk):
        handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        handler.wfile.flush()


def _chunk(text, finish=None):
    delta = {"content": text} if text is not None else {}
    return {
        "id": "x", "object": "chat.completion.chunk", "created": int(time.time()), "model": "fake",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }  # fmt: skip
