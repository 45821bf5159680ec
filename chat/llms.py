"""Language models behind any OpenAI-compatible server."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import pybreaker
from django.utils.translation import gettext as _
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from opsdesk.errors import ModelError

ATTEMPTS = 3  # before the first token; after it, nothing is tried again
FAILURES = 3  # in a row; then the model is left alone …
REST = 30  # … for so many seconds
FIRST_WAIT, LONGEST_WAIT = 0.3, 5.0  # seconds between attempts

Messages = list[dict[str, str]]


def _never() -> bool:
    return False


class OpenAIModel:
    """`stream` gives a model's words as they come.

    Failing requests are tried again with growing, random pauses until the first token; after
    FAILURES of them in a row the model is not asked for REST seconds.
    """

    def __init__(
        self, *, base_url: str, api_key: str, model: str, temperature: float, timeout: float
    ) -> None:
        self.base_url, self.api_key, self.model = base_url, api_key, model
        self.temperature, self.timeout = temperature, timeout
        self.breaker = pybreaker.CircuitBreaker(fail_max=FAILURES, reset_timeout=REST)

    @cached_property
    def _client(self) -> Any:
        import openai  # takes a second; only who asks a model pays

        return openai.OpenAI(
            base_url=self.base_url, api_key=self.api_key, timeout=self.timeout, max_retries=0
        )

    def stream(
        self,
        messages: Messages,
        *,
        deadline: float,
        cancelled: Callable[[], bool] = _never,
    ) -> Iterator[str]:
        """The answer to `messages` in pieces, until `deadline` (of time.monotonic()).

        Raises ModelError: permanent when asking again cannot help.
        """
        first, rest = self._begin(messages, deadline)
        clock = threading.Timer(max(deadline - time.monotonic(), 0), rest.close)
        clock.daemon = True
        clock.start()  # a server that goes silent is cut off in time
        try:
            yield first
            for text in _texts(rest, deadline):
                if cancelled():
                    raise ModelError("The answer is no longer wanted.", permanent=False)
                yield text
        finally:
            clock.cancel()
            rest.close()

    def _begin(self, messages: Messages, deadline: float) -> tuple[str, Any]:
        """The first text and what follows it."""
        try:
            for attempt in _attempts(deadline):
                with attempt, self.breaker.calling():  # `call` would let in one at a time
                    return self._open(messages, deadline)
        except pybreaker.CircuitBreakerError as error:
            sentence = _("The model failed repeatedly and is left alone for a moment.")
            raise ModelError(sentence, permanent=False) from error
        raise AssertionError("an attempt returns or raises")

    def _open(self, messages: Messages, deadline: float) -> tuple[str, Any]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ModelError(_("The model took too long."), permanent=False)
        import openai

        try:
            stream = self._client.chat.completions.create(
                model=self.model, messages=messages, temperature=self.temperature, stream=True,
                timeout=min(self.timeout, left),
            )  # fmt: skip
        except (openai.OpenAIError, ValueError) as error:
            raise _model_error(error) from error
        try:
            return next(_texts(stream, deadline)), stream
        except StopIteration:
            stream.close()
            raise ModelError(_("The model said nothing."), permanent=False) from None


def _texts(stream: Any, deadline: float) -> Iterator[str]:
    """The texts of a stream's chunks. Raises ModelError when it breaks or ends unfinished."""
    import httpx
    import openai

    finished = False
    try:
        for chunk in stream:
            if time.monotonic() > deadline:
                break
            for choice in chunk.choices or ():
                finished = finished or bool(choice.finish_reason)
                if choice.delta and choice.delta.content:
                    yield choice.delta.content
    except (openai.OpenAIError, httpx.HTTPError, httpx.StreamError, ValueError) as error:
        raise _model_error(error) from error
    if time.monotonic() > deadline:
        raise ModelError(_("The model took too long."), permanent=False)
    if not finished:
        raise ModelError(_("The model broke off."), permanent=False)


def _attempts(deadline: float) -> Retrying:
    def worthwhile(error: BaseException) -> bool:
        if not isinstance(error, ModelError) or error.permanent:
            return False
        return time.monotonic() + FIRST_WAIT < deadline

    return Retrying(
        retry=retry_if_exception(worthwhile),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(FIRST_WAIT, LONGEST_WAIT),
        reraise=True,
    )


def _model_error(error: Exception) -> ModelError:
    """A refusal of the request is permanent; limits, failures and silence are not."""
    status = getattr(error, "status_code", None)
    permanent = status is not None and 400 <= status < 500 and status not in (408, 409, 429)
    return ModelError(f"{type(error).__name__}: {error}", permanent=permanent)
