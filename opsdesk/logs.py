"""Logs on standard output, of everything that goes through `logging` or structlog: JSON lines,
on a terminal lines to read.

`structlog.contextvars.bind_contextvars(turn=…)` adds a field to all that is logged in that
context; the web process binds `request_id`.
"""

import logging.config
import re
import sys
import uuid
import warnings
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from structlog.contextvars import bind_contextvars, clear_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "•••"
SECRET_NAMES = re.compile(r"(?i)password|passwd|secret|token|api_?key|authorization|cookie")
# In running text: our tokens, keys of model servers, `Bearer …`, `password=…`, `//user:password@`.
SECRET_TEXT = re.compile(
    r"""(?ix) \b(?:opsdesk_|sk-)[\w-]{8,}
    | (?<=\bbearer\ )[^\s"',]+
    | (?<=//)[^\s/:@]*:[^\s/@]+(?=@)
    | (?:(?<=password=)|(?<=token=)|(?<=api_key=)|(?<=apikey=)|(?<=secret=))[^\s&"',]+
    """
)
REQUEST_ID = re.compile(r"[\w.-]{8,64}", re.ASCII)


def mask_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Blank what is named like a secret, and secrets inside text."""
    return {name: _masked(name, value) for name, value in event.items()}


def _masked(name: str, value: Any) -> Any:
    if SECRET_NAMES.search(name):
        return MASK
    if isinstance(value, str):
        return SECRET_TEXT.sub(MASK, value)
    if isinstance(value, dict):
        return {key: _masked(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", inner) for inner in value]
    return value


def plain_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """uvicorn's access line as fields, without the query string; no objects, no colours."""
    for name in ("request", "color_message", "server_time"):
        event.pop(name, None)
    arguments = event.pop("positional_args", ())
    if event["logger"] == "uvicorn.access" and len(arguments) == 5:
        address, verb, path, _version, status = arguments
        path = path.partition("?")[0]
        event.update(event="request", address=address, method=verb, path=path, status=status)
    return event


def _brief(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Without what only a program asks for."""
    event.pop("request_id", None)
    return event


BEFORE: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


# What they say beside warnings tells who reads along nothing: every request, every task.
TALKATIVE = ("uvicorn", "uvicorn.error", "uvicorn.access", "django-q")


def configure(options: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG. `options`: level, and format: "json", "text", or "" for text on a
    terminal and JSON elsewhere."""
    terminal = sys.stdout.isatty()
    text = options["format"] == "text" or (terminal and not options["format"])
    last: list[Processor] = [structlog.processors.format_exc_info, mask_secrets]
    if text:
        plain = structlog.dev.plain_traceback
        last.append(structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False))
        last.append(_brief)
        last.append(structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain))
    else:
        last.append(structlog.processors.JSONRenderer(ensure_ascii=False, default=str))
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "pass_foreign_args": True,
        "foreign_pre_chain": [*BEFORE, structlog.stdlib.ExtraAdder(), plain_fields],
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    }
    # Takes the place of the handlers that Django, uvicorn and django-q give their loggers.
    ours = {"handlers": [], "level": "NOTSET", "propagate": True}
    theirs = ("django", "django.server", "uvicorn", "uvicorn.error", "uvicorn.access", "django-q")
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"structlog": formatter},
            "handlers": {
                "stdout": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stdout",
                    "formatter": "structlog",
                }
            },
            "root": {"handlers": ["stdout"], "level": options["level"]},
            "loggers": {
                **dict.fromkeys(theirs, ours),
                **{name: {**ours, "level": "WARNING"} for name in TALKATIVE if text},
                "httpx": {"level": "WARNING"},
            },
        }
    )
    logging.captureWarnings(True)
    # Of each static file that WhiteNoise sends, which is right.
    warnings.filterwarnings("ignore", "StreamingHttpResponse must consume")
    structlog.configure(
        processors=[*BEFORE, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _bind(request: HttpRequest) -> str:
    """Bind the request's id, and leave it bound: uvicorn writes its access line afterwards."""
    given = request.headers.get("X-Request-ID", "")
    name = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    clear_contextvars()
    bind_contextvars(request_id=name)
    return name


@sync_and_async_middleware
def request_context(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """`request_id` in all that a request logs, and in its answer's X-Request-ID.

    A proxy's own X-Request-ID is kept when it looks like one.
    """
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            name = _bind(request)
            response = await get_response(request)
            response["X-Request-ID"] = name
            return response

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        name = _bind(request)
        response = get_response(request)
        response["X-Request-ID"] = name
        return response

    return synchronous
