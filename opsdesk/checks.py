"""System checks of the settings: what is wrong, and what to set instead."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from django.db.utils import OperationalError

from opsdesk.postgres import PostgresError

TEMPERATURES = 0.1, 0.3
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
SPARE_CONNECTIONS = 5  # for commands, backups and a person with psql


@register()
def environment(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    wrong: list[CheckMessage] = [
        Error(problem.message, hint=problem.hint, id="opsdesk.E001")
        for problem in settings.ENVIRONMENT.problems
    ]
    return wrong + [
        Warning(
            f"Nothing reads the environment variable {name}.",
            hint="The README's configuration table has all names.",
            id="opsdesk.W002",
        )
        for name in settings.ENVIRONMENT.unknown()
    ]


@register()
def language_model(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    low, high = TEMPERATURES
    forced = settings.OPENAI_TEMPERATURE_FORCED
    if not forced and not low <= settings.OPENAI_TEMPERATURE <= high:
        yield Error(
            f"OPENAI_TEMPERATURE is {settings.OPENAI_TEMPERATURE}, outside {low}–{high}.",
            hint="Answers must stay with their sources. To insist: OPENAI_TEMPERATURE_FORCED=true.",
            id="opsdesk.E003",
        )
    if bool(settings.OPENAI_BASE_URL) != bool(settings.OPENAI_MODEL):
        yield Error(
            "OPENAI_BASE_URL and OPENAI_MODEL belong together, one of them is missing.",
            hint="Set both for generated answers, or neither for extractive ones.",
            id="opsdesk.E004",
        )


@register()
def embedder(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    if settings.EMBEDDER == "openai" and not (
        settings.OPENAI_EMBEDDING_MODEL and settings.OPENAI_EMBEDDING_BASE_URL
    ):
        yield Error(
            "OPSDESK_EMBEDDER=openai needs a model and its address.",
            hint="Set OPENAI_EMBEDDING_MODEL, and OPENAI_EMBEDDING_BASE_URL or OPENAI_BASE_URL.",
            id="opsdesk.E005",
        )
    if settings.EMBEDDER != "bge-m3":
        return
    if importlib.util.find_spec("FlagEmbedding") is None:
        yield Error(
            "OPSDESK_EMBEDDER=bge-m3 needs FlagEmbedding, which is not installed.",
            hint="Run `pip install -r requirements-bge.txt` in the environment of OpsDesk.",
            id="opsdesk.E006",
        )
    folder = settings.MODEL_CACHE
    if folder and not (Path(folder) / "config.json").is_file():
        yield Error(
            f"OPSDESK_MODEL_DIR: there is no config.json in {folder}.",
            hint="Name the folder that holds bge-m3's weights, or unset it to fetch them "
            "from the hub on first use (2.3 GB).",
            id="opsdesk.E007",
        )


@register()
def reranker(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    if settings.RERANKER == "endpoint" and not (settings.RERANK_URL and settings.RERANK_MODEL):
        yield Error(
            "OPSDESK_RERANKER=endpoint needs a model and its address.",
            hint="Set OPSDESK_RERANK_URL and OPSDESK_RERANK_MODEL.",
            id="opsdesk.E014",
        )
    if settings.RERANKER != "bge-reranker":
        return
    if importlib.util.find_spec("FlagEmbedding") is None:
        yield Error(
            "OPSDESK_RERANKER=bge-reranker needs FlagEmbedding, which is not installed.",
            hint="Run `pip install -r requirements-bge.txt` in the environment of OpsDesk.",
            id="opsdesk.E015",
        )


@register()
def reading(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    here = settings.PARSE_TIER != "native" and not settings.MINERU_URL
    if here and importlib.util.find_spec("mineru") is None:
        yield Error(
            f"OPSDESK_PARSE_TIER={settings.PARSE_TIER} needs MinerU, which is not installed.",
            hint="Set MINERU_URL to a MinerU server, or run "
            "`pip install -r requirements-mineru.txt` in the environment of OpsDesk.",
            id="opsdesk.E012",
        )


@register()
def store(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    if settings.STORE != "milvus":
        return
    if not settings.MILVUS_URI:
        yield Error(
            "OPSDESK_STORE=milvus needs the address of Milvus.",
            hint="Set MILVUS_URI, such as http://milvus:19530.",
            id="opsdesk.E017",
        )
    if importlib.util.find_spec("pymilvus") is None:
        yield Error(
            "OPSDESK_STORE=milvus needs pymilvus, which is not installed.",
            hint="Run `pip install -r requirements-milvus.txt` in the environment of OpsDesk.",
            id="opsdesk.E018",
        )


@register()
def vision(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    if bool(settings.VISION_BASE_URL) != bool(settings.VISION_MODEL):
        yield Error(
            "VISION_BASE_URL and VISION_MODEL belong together, one of them is missing.",
            hint="Set both to have figures described, or neither.",
            id="opsdesk.E013",
        )


@register()
def queue(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    common = {key: value for key, value in settings.Q_CLUSTER.items() if key != "ALT_CLUSTERS"}
    for name, changes in {"": {}, **settings.Q_CLUSTER.get("ALT_CLUSTERS", {})}.items():
        cluster = {**common, **changes}
        if not cluster["retry"] > cluster["timeout"]:
            yield Error(
                f"The task queue {name or cluster['name']} runs a task again after "
                f"{cluster['retry']} s, before it gives up the first run ({cluster['timeout']} s).",
                hint="Q_CLUSTER's retry must exceed its timeout, else a task runs twice at once.",
                id="opsdesk.E008",
            )


@register()
def production(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    if settings.DEBUG and (settings.DATABASE_URL or settings.HOST not in LOOPBACK):
        yield Warning(
            "OPSDESK_DEBUG is on where others can reach it: error pages show code and settings.",
            hint="Unset OPSDESK_DEBUG.",
            id="opsdesk.W009",
        )


@register(Tags.database)
def database_connections(
    app_configs: Any, databases: Iterable[str] | None = None, **kwargs: Any
) -> Iterable[CheckMessage]:
    if "default" not in (databases or ()):
        return
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('max_connections')::int"
                " - current_setting('superuser_reserved_connections')::int"
            )
            (available,) = cursor.fetchone()
    except (OperationalError, PostgresError) as error:
        yield Error(
            f"The database does not answer: {str(error).strip()}",
            hint="Start it, or correct DATABASE_URL.",
            id="opsdesk.E010",
        )
        return
    if (needed := connections_needed()) > available:
        yield Warning(
            f"OpsDesk may open {needed} database connections, the server allows {available}.",
            hint="Raise max_connections, or lower OPSDESK_WEB_CONNECTIONS, OPSDESK_WEB_PROCESSES, "
            "OPSDESK_WORKERS or OPSDESK_TURN_THREADS.",
            id="opsdesk.W011",
        )


def connections_needed() -> int:
    """At most, by all processes of `serve`, and some to spare."""
    held = sum(process["CONNECTIONS"] for process in settings.PROCESSES.values())
    return int(held + SPARE_CONNECTIONS)
