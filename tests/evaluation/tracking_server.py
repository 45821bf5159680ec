"""As much of MLflow's tracking server as is asked for, on this machine."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class TrackingServer:
    """What it was told: `params`, `metrics`, `artifacts`, `status`, `experiments`."""

    def __init__(self):
        self.params, self.metrics, self.artifacts = {}, {}, {}
        self.experiments, self.status, self.failing = {}, "", 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path, given):
        """(status, JSON) of a request to `path`."""
        if path == "experiments/get-by-name":
            name = given["experiment_name"][0]
            if name not in self.experiments:
                return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}
            return 200, {"experiment": {"experiment_id": self.experiments[name]}}
        if path == "experiments/create":
            self.experiments[given["name"]] = "7"
            return 200, {"experiment_id": "7"}
        if path in ("runs/create", "runs/get"):
            info = {"run_id": "r1", "artifact_uri": "mlflow-artifacts:/7/r1/artifacts"}
            return 200, {"run": {"info": info}}
        if path == "runs/log-batch":
            self.params |= {row["key"]: row["value"] for row in given.get("params", [])}
            self.metrics |= {row["key"]: row["value"] for row in given.get("metrics", [])}
            return 200, {}
        self.status = given["status"]
        return 200, {}


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(parse_qs(urlsplit(self.path).query))

        def do_POST(self):
            self._answer(json.loads(self._body()))

        def do_PUT(self):
            place = self.path.removeprefix("/api/2.0/mlflow-artifacts/artifacts/")
            server.artifacts[place] = self._body()
            self._send(200, {})

        def _answer(self, given):
            path = urlsplit(self.path).path.removeprefix("/api/2.0/mlflow/")
            self._send(*((server.failing, {}) if server.failing else server.answer(path, given)))

        def _body(self):
            return self.rfile.read(int(self.headers["Content-Length"]))

        def _send(self, status, made):
            body = json.dumps(made).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Nothing."""

    return Handler
