"""Backends named in `settings.BACKENDS` the way Django names `STORAGES`, made once a process."""

from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string


@cache
def backend(alias: str, **options: Any) -> Any:
    """The backend called `alias` ("embedder", "llm", …), or None when it is not configured.

    `options` take the place of those in the settings.
    """
    backends: dict[str, dict[str, Any] | None] = settings.BACKENDS
    config = backends.get(alias)
    if config is None:
        return None
    return import_string(config["BACKEND"])(**{**config.get("OPTIONS", {}), **options})


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "BACKENDS":
        backend.cache_clear()


setting_changed.connect(_forget)
