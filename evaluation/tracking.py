"""Telling a tracking server of runs, where one is configured.

`Tracker` is all that is wanted of one: MLflow is here by its REST API; another, such as Weights &
Biases, is a class with the same three methods, named in `settings.TRACKER`. That the server fails
never fails a run.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

import httpx
from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.tasks import async_task

from evaluation import comparing, running
from evaluation.models import Run
from opsdesk.errors import BoundaryError

log = logging.getLogger(__name__)

SECONDS = 10.0
VALUE = 500  # characters of a parameter, the least that any version of MLflow takes
AT_ONCE = 100  # parameters in one request


class TrackingError(BoundaryError):
    """The tracking server did not take it."""


class Tracker:
    """Where runs are written down. Each method raises TrackingError."""

    def start(self, name: str, params: Mapping[str, str]) -> str:
        """Begin a run with these parameters; its id there."""
        raise NotImplementedError

    def metrics(self, run: str, values: Mapping[str, float]) -> None:
        raise NotImplementedError

    def finish(self, run: str, name: str, artifact: bytes) -> None:
        """End it, with a file beside it."""
        raise NotImplementedError


class MLflow(Tracker):
    """MLflow's tracking server (REST API 2.0)."""

    def __init__(self, *, url: str, experiment: str, token: str = "") -> None:
        self.experiment = experiment
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=SECONDS)

    def start(self, name: str, params: Mapping[str, str]) -> str:
        made = self._ask(
            "runs/create",
            experiment_id=self._experiment(),
            start_time=_now(),
            run_name=name,
        )
        run = str(made["run"]["info"]["run_id"])
        rows = [{"key": key[:250], "value": value[:VALUE]} for key, value in params.items()]
        for begin in range(0, len(rows), AT_ONCE):
            self._ask("runs/log-batch", run_id=run, params=rows[begin : begin + AT_ONCE])
        return run

    def metrics(self, run: str, values: Mapping[str, float]) -> None:
        rows = [
            {"key": key, "value": value, "timestamp": _now(), "step": 0}
            for key, value in values.items()
        ]
        self._ask("runs/log-batch", run_id=run, metrics=rows)

    def finish(self, run: str, name: str, artifact: bytes) -> None:
        info = self._send("GET", "runs/get", params={"run_id": run})["run"]["info"]
        place = str(info.get("artifact_uri", ""))
        if place.startswith("mlflow-artifacts:"):  # else it lies where only MLflow's client reaches
            path = place.removeprefix("mlflow-artifacts:").lstrip("/")
            self._put(f"/api/2.0/mlflow-artifacts/artifacts/{path}/{name}", artifact)
        self._ask("runs/update", run_id=run, status="FINISHED", end_time=_now())

    def _experiment(self) -> str:
        try:
            found = self._send(
                "GET", "experiments/get-by-name", params={"experiment_name": self.experiment}
            )
            return str(found["experiment"]["experiment_id"])
        except TrackingError as error:
            if not error.permanent:
                raise
        return str(self._ask("experiments/create", name=self.experiment)["experiment_id"])

    def _ask(self, path: str, **body: Any) -> dict[str, Any]:
        return self._send("POST", path, json=body)

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._request(method, f"/api/2.0/mlflow/{path}", **options)
        try:
            made = answer.json()
        except ValueError as error:
            raise TrackingError(f"{path}: no JSON", permanent=False) from error
        return made if isinstance(made, dict) else {}

    def _put(self, path: str, content: bytes) -> None:
        self._request("PUT", path, content=content)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **options)
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            permanent = error.response.status_code < 500
            raise TrackingError(str(error), permanent=permanent) from error
        except httpx.HTTPError as error:
            raise TrackingError(f"{type(error).__name__}: {error}", permanent=False) from error
        return answer


def _now() -> int:
    return int(timezone.now().timestamp() * 1000)


def tracker() -> Tracker | None:
    """The one in `settings.TRACKER`, None without one."""
    if not settings.TRACKER:
        return None
    made: Tracker = import_string(settings.TRACKER["BACKEND"])(**settings.TRACKER["OPTIONS"])
    return made


def later(run: Run) -> None:
    """Tell of a run that ended, in a task of its own."""
    if settings.TRACKER:
        async_task("evaluation.tracking.tell", run.pk, cluster="short")


def tell(pk: int) -> None:
    """Write a run down at the tracking server, once; a task."""
    run = Run.objects.filter(pk=pk, tracked="", state=Run.State.DONE).first()
    there = tracker()
    if run is None or there is None:
        return
    try:
        name = there.start(str(run), params(run))
        Run.objects.filter(pk=pk).update(tracked=name)
        there.metrics(name, metrics(run))
        there.finish(name, "results.json", artifact(run))
    except TrackingError as error:
        log.warning("run %s is not tracked: %s", pk, error)
    except (KeyError, TypeError) as error:
        log.warning("run %s is not tracked: an answer lacks %s", pk, error)


def params(run: Run) -> dict[str, str]:
    """The versions, flat: {"documents.ops": "12", …}."""
    return dict(_flat("", {**run.versions, "kind": run.kind, "run": run.pk}))


def _flat(before: str, values: Mapping[str, Any]) -> Any:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{before}{name}.", value)
        else:
            yield f"{before}{name}", str(value)


def metrics(run: Run) -> dict[str, float]:
    made = running.summary(run.results.all())
    if run.baseline:
        apart = comparing.compare(run.baseline, run).difference
        made |= {"won": apart.won, "lost": apart.lost, "p": apart.p}
    return {name: float(value) for name, value in made.items() if value is not None}


def artifact(run: Run) -> bytes:
    rows = [row.as_dict() for row in run.results.all()]
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()
