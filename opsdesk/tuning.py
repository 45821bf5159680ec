"""Settings that hold for one piece of work: a turn, or a question that is replayed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from django.conf import settings

_given: ContextVar[Mapping[str, Any]] = ContextVar("tuned", default=MappingProxyType({}))


def tuned(name: str) -> Any:
    """What holds here for the setting called `name`."""
    given = _given.get()
    return given[name] if name in given else getattr(settings, name)


def given() -> Mapping[str, Any]:
    """What holds here instead of settings."""
    return _given.get()


@contextmanager
def tuning(overrides: Mapping[str, Any]) -> Iterator[None]:
    """`overrides` hold until the block ends, over what held before."""
    token = _given.set({**_given.get(), **overrides})
    try:
        yield
    finally:
        _given.reset(token)
