"""Language models behind any OpenAI-compatible server."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import pybreaker
from django.utils.translation import gettext as _
from jsonschema.validators import validator_for
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from chat.prompting import prompt
from opsdesk import tuning
from opsdesk.backends import backend
from opsdesk.breakers import breaker
from opsdesk.errors import ModelError

ATTEMPTS = 3  # before the first token; after it, nothing that was passed on is tried again
FIRST_WAIT, LONGEST_WAIT = 0.3, 5.0  # seconds between attempts
BRACES = 50  # places of a text where a JSON object is looked for

# Ways to ask, the best first. A server that refuses one is asked by the next.
SCHEMA, OBJECT, TEXT, BARE = "json_schema", "json_object", "text", "bare"
CUT = ("length", "content_filter")  # reasons why words end that the model has not
# A server that knows no limit, or has no room for it behind the prompt, says so.
_LIMIT = re.compile("max_tokens|context length")
REFUSING = (400, 422, 501)  # statuses of a server that knows a field of the request not

Messages = list[dict[str, str]]
Schema = dict[str, Any]


@dataclass(frozen=True)
class Usage:
    """What one request came to. The numbers of tokens are None where the server tells none."""

    model: str
    way: str  # SCHEMA, OBJECT, TEXT or BARE
    tokens_in: int | None
    tokens_out: int | None
    ms: int


class RefusedError(ModelError):
    """The server does not take such a request: it is alive, and may take another."""


class SilentError(ModelError):
    """The server said nothing for as long as a customer is to wait: not tried again."""


class CutError(ModelError):
    """The words end at the limit of tokens, or where the server stopped them, not where the model
    did."""


# Settings that a turn may have others of, and the options that they are.
TUNED = {"OPENAI_MODEL": "model", "OPENAI_TEMPERATURE": "temperature"}


def model() -> Any:
    """The model that answers here, None without one."""
    given = tuning.given()
    if not given.get("LLM", True):
        return None
    return backend("llm", **{TUNED[name]: value for name, value in given.items() if name in TUNED})


def _never() -> bool:
    return False


def _unread(usage: Usage) -> None:
    """Nobody counts."""


@dataclass(frozen=True)
class _Way:
    """One way to ask for the same."""

    kind: str  # SCHEMA, OBJECT, TEXT or BARE
    name: str  # of the schema
    messages: Messages

    def fields(self, schema: Schema | None, max_tokens: int) -> dict[str, Any]:
        """Fields of the request that not every server knows."""
        fields: dict[str, Any] = {}
        if self.kind != BARE:
            fields["stream_options"] = {"include_usage": True}
            if max_tokens:
                fields["max_tokens"] = max_tokens
        if self.kind == SCHEMA:
            wanted = {"name": self.name, "schema": schema, "strict": True}
            fields["response_format"] = {"type": SCHEMA, SCHEMA: wanted}
        elif self.kind == OBJECT:
            fields["response_format"] = {"type": OBJECT}
        return fields


class OpenAIModel:
    """`stream` gives a model's words as they come, `structured` one JSON object.

    Failing requests are tried again with growing, random pauses until the first token; one that
    is silent for `first_timeout` seconds, in which neither a word nor a thought comes, is not.
    While the breaker is open the model is not asked. A server that knows no
    `response_format` or no `stream_options` is asked without, for as long as the process lives.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        model: str,
        temperature: float,
        timeout: float,
        first_timeout: float = 20.0,
        max_tokens: int = 0,
    ) -> None:
        self.base_url, self.api_key, self.model = base_url, api_key, model
        self.temperature, self.timeout, self.max_tokens = temperature, timeout, max_tokens
        self.first_timeout = min(first_timeout, timeout)
        self.breaker = breaker("model")
        self._refused: set[tuple[str, str]] = set()  # kinds of ways, by the schema's name

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
        report: Callable[[Usage], None] = _unread,
        schema: Schema | None = None,
        name: str = "",
        otherwise: Messages | None = None,
    ) -> Iterator[str]:
        """The answer to `messages` in pieces, until `deadline` (of time.monotonic()).

        With a `schema` (called `name`) the pieces are JSON as well as the server can: not all
        enforce it, and one that refuses is sent the messages `otherwise`, to answer as it likes.
        Raises ModelError, permanent when asking again cannot help; CutError at the end of words
        that are not all.
        """
        ways = [_Way(kind, name, otherwise or messages) for kind in (TEXT, BARE)]
        if schema:
            asking = _asking(messages, schema, name)
            ways = [*(_Way(kind, name, asking) for kind in (SCHEMA, OBJECT)), *ways]
        for attempt in _attempts(deadline):
            with attempt:
                reading = self._begin(ways, schema, deadline)
        yield from _flow(reading, cancelled, report)

    def structured(
        self,
        messages: Messages,
        schema: Schema,
        *,
        name: str,
        deadline: float,
        cancelled: Callable[[], bool] = _never,
        report: Callable[[Usage], None] = _unread,
    ) -> dict[str, Any]:
        """One JSON object, valid by `schema` (called `name`: letters, digits, "_").

        Asked for by json_schema, where the server refuses that by json_object, else as text with
        the object in it. What is no such object is asked for again. Raises ModelError, permanent
        when asking again cannot help.
        """
        asking = _asking(messages, schema, name)
        ways = [_Way(kind, name, asking) for kind in (SCHEMA, OBJECT, TEXT, BARE)]
        for attempt in _attempts(deadline):
            with attempt:
                reading = self._begin(ways, schema, deadline)
                return parsed("".join(_flow(reading, cancelled, report)), schema)
        raise AssertionError("an attempt returns or raises")

    def _begin(self, ways: list[_Way], schema: Schema | None, deadline: float) -> "_Reading":
        """A response that has begun, by the first of `ways` that the server takes."""
        refused: set[tuple[str, str]] = set()
        for way in ways:
            if (way.name, way.kind) in self._refused:
                continue
            try:
                with ExitStack() as breaking:
                    breaking.enter_context(self._breaking())
                    reading = self._open(way, schema, deadline)
                    reading.breaking = breaking.pop_all()  # up to its end
            except RefusedError as error:
                refused.add((way.name, way.kind))
                refusal = error
            else:
                self._refused |= refused  # the request is good: it was the way
                return reading
        raise refusal

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        try:
            with self.breaker.calling():  # `call` would let in one at a time
                yield
        except pybreaker.CircuitBreakerError as error:
            sentence = _("The model failed repeatedly and is left alone for a moment.")
            raise ModelError(sentence, permanent=False) from error

    def _open(self, way: _Way, schema: Schema | None, deadline: float) -> "_Reading":
        left = deadline - time.monotonic()
        if left <= 0:
            raise ModelError(_("The model took too long."), permanent=False)
        import openai

        begun = time.monotonic()
        try:
            response = self._client.chat.completions.create(
                model=self.model, messages=way.messages, temperature=self.temperature, stream=True,
                timeout=min(self.first_timeout, left), **way.fields(schema, self.max_tokens),
            )  # fmt: skip
        except (openai.OpenAIError, ValueError) as error:
            if self.max_tokens and _LIMIT.search(str(error)):  # it is that, not the way
                self.max_tokens = 0
                return self._open(way, schema, deadline)
            raise _model_error(error) from error
        usage = Usage(self.model, way.kind, None, None, 0)
        timeouts = self.first_timeout, self.timeout
        return _Reading(response, usage, begun, deadline, timeouts)


class _Reading:
    """A response of which the first text has come. Raises ModelError when none does in time."""

    breaking: AbstractContextManager[Any] = nullcontext()  # sees whether it breaks off

    def __init__(
        self,
        response: Any,
        usage: Usage,
        begun: float,
        deadline: float,
        timeouts: tuple[float, float],  # seconds to its first thought, and to its first word
    ) -> None:
        self.response, self.begun, self.deadline = response, begun, deadline
        self._usage, self._tokens = usage, None
        self._silent, (first, self._timeout) = True, timeouts
        self._cut_off(min(deadline, begun + first))
        self._rest = self._texts()
        try:
            self._first = next(self._rest)
        except StopIteration:
            self.close()
            raise ModelError(_("The model said nothing."), permanent=False) from None
        except ModelError as error:
            self.close()
            if self._silent and not error.permanent and time.monotonic() >= self._until:
                raise SilentError(_("The model took too long."), permanent=False) from error
            raise
        self._clock.cancel()
        self._cut_off(deadline)

    def _cut_off(self, at: float) -> None:
        """Closes the response at a time, whether its server is silent or sends but heartbeats."""
        self._until = at
        self._clock = threading.Timer(max(at - time.monotonic(), 0), self.response.close)
        self._clock.daemon = True
        self._clock.start()

    def __iter__(self) -> Iterator[str]:
        return chain([self._first], self._rest)

    def close(self) -> None:
        self._clock.cancel()
        self.response.close()

    @property
    def usage(self) -> Usage:
        return replace(
            self._usage,
            tokens_in=getattr(self._tokens, "prompt_tokens", None),
            tokens_out=getattr(self._tokens, "completion_tokens", None),
            ms=round((time.monotonic() - self.begun) * 1000),
        )

    def _texts(self) -> Iterator[str]:
        """The texts of the chunks. Raises ModelError when they break or end unfinished."""
        import httpx
        import openai

        finished = ""
        try:
            for chunk in self.response:
                if time.monotonic() > self.deadline:
                    break
                self._tokens = chunk.usage or self._tokens
                for choice in chunk.choices or ():
                    finished = finished or choice.finish_reason or ""
                    if self._silent and _thinks(choice.delta):
                        self._silent = False
                        self._clock.cancel()
                        self._cut_off(min(self.deadline, self.begun + self._timeout))
                    if choice.delta and choice.delta.content:
                        yield _storable(choice.delta.content)
        except (openai.OpenAIError, httpx.HTTPError, httpx.StreamError, ValueError) as error:
            if time.monotonic() < self.deadline:  # else it was cut off
                raise _model_error(error) from error
        if time.monotonic() > self.deadline:
            raise ModelError(_("The model took too long."), permanent=False)
        if not finished:
            raise ModelError(_("The model broke off."), permanent=False)
        if finished in CUT:
            raise CutError(f"The model was cut off: {finished}", permanent=True)


def _thinks(delta: Any) -> bool:
    """Whether a model writes, be it only thoughts that nobody is shown."""
    names = ("content", "reasoning_content", "reasoning")
    return any(getattr(delta, name, None) for name in names)


def _flow(
    reading: _Reading, cancelled: Callable[[], bool], report: Callable[[Usage], None]
) -> Iterator[str]:
    try:
        with reading.breaking:
            yield from _wanted(reading, cancelled)
    finally:
        reading.close()
        report(reading.usage)


def _wanted(reading: _Reading, cancelled: Callable[[], bool]) -> Iterator[str]:
    for text in reading:
        if cancelled():
            raise ModelError("The answer is no longer wanted.", permanent=True)
        yield text


def _storable(text: str) -> str:
    """Without NUL and halves of characters, which no database takes."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode()


def _asking(messages: Messages, schema: Schema, name: str) -> Messages:
    """`messages` with what the schema wants, in words: not every server enforces it."""
    written = json.dumps({"title": name, **schema}, ensure_ascii=False, separators=(",", ":"))
    wanted = prompt("structured").substitute(schema=written)
    system, *others = messages
    return [{**system, "content": f"{system['content']}\n\n{wanted}"}, *others]


def parsed(text: str, schema: Schema) -> dict[str, Any]:
    """The first JSON object in `text` that is valid by `schema`. Raises ModelError."""
    valid = validator_for(schema)(schema).is_valid
    decoder = json.JSONDecoder(strict=False)
    place = text.find("{")
    for _try in range(BRACES):
        if place < 0:
            break
        try:
            found, _end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and _can_be_kept(found) and valid(found):
            return found
        place = text.find("{", place + 1)
    raise ModelError(_("The model's words are not the JSON asked for."), permanent=False)


def _can_be_kept(found: dict[str, Any]) -> bool:
    try:
        written = json.dumps(found, ensure_ascii=False, allow_nan=False)
        return b"\\u0000" not in written.encode()
    except ValueError:  # not a number, or half a character
        return False


def _attempts(deadline: float) -> Retrying:
    def worthwhile(error: BaseException) -> bool:
        silent = isinstance(error, SilentError)
        return isinstance(error, ModelError) and not error.permanent and not silent

    return Retrying(
        retry=retry_if_exception(worthwhile),
        stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(deadline - time.monotonic()),
        wait=wait_random_exponential(FIRST_WAIT, LONGEST_WAIT),
        reraise=True,
    )


def _model_error(error: Exception) -> ModelError:
    """A refusal of the request is permanent; limits, failures and silence are not."""
    status = getattr(error, "status_code", None)
    sentence = f"{type(error).__name__}: {error}"
    if status in REFUSING:
        return RefusedError(sentence, permanent=True)
    if type(error).__name__ == "APITimeoutError":
        return SilentError(sentence, permanent=False)
    permanent = status is not None and 400 <= status < 500 and status not in (408, 409, 429)
    return ModelError(sentence, permanent=permanent)
