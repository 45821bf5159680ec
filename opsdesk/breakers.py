"""A circuit breaker for each service outside: after some failures in a row it is left alone for
a while, and staff are told (`opsdesk.outages`)."""

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pybreaker
from django.conf import settings

from opsdesk import outages
from opsdesk.errors import BoundaryError

log = logging.getLogger(__name__)


def breaker(name: str) -> pybreaker.CircuitBreaker:
    """One for the service `name` in this process: `with made.calling(): …`.

    Opens after OPSDESK_BREAKER_FAILURES failures in a row, of which those that the request itself
    is to blame for are none, and lets a request through again after OPSDESK_BREAKER_SECONDS.
    Until then `calling` raises CircuitBreakerError.
    """
    return _Breaker(
        fail_max=settings.BREAKER_FAILURES,
        reset_timeout=settings.BREAKER_SECONDS,
        exclude=[_says_nothing_of_the_service],
        listeners=[_Watch()],
        name=name,
        throw_new_error_on_trip=False,
    )


class _Breaker(pybreaker.CircuitBreaker):
    """For pybreaker what is excluded is a success: one bad request would close it. Here it counts
    as nothing."""

    @contextmanager
    def calling(self) -> Iterator[None]:
        counted = self.call(_passed)  # refused while open; what is not begun counts not
        try:
            yield
        except BoundaryError as error:
            if self.is_system_error(error):
                next(counted)
                counted.throw(error)
            raise
        list(counted)


def _passed() -> Generator[None, None, None]:
    yield


def _says_nothing_of_the_service(error: BaseException) -> bool:
    return not isinstance(error, BoundaryError) or error.permanent


class _Watch(pybreaker.CircuitBreakerListener):
    """Has what opens and closes written down for all processes."""

    def __init__(self) -> None:
        self.reason = ""

    def failure(self, cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:
        self.reason = str(exc)

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        name = cb.name or ""
        if new_state.name == pybreaker.STATE_OPEN:
            log.error("%s failed and is left alone for a while: %s", name, self.reason)
            outages.begin(name, self.reason)
        elif new_state.name == pybreaker.STATE_CLOSED:
            log.warning("%s answers again", name)
            outages.end(name)
