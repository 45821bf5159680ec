"""A vision model behind any OpenAI-compatible server: what a picture shows, in words."""

import base64
import re
import time
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from string import Template
from typing import Any

import pybreaker
from django.utils.translation import gettext as _
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from opsdesk.breakers import breaker
from opsdesk.errors import ModelError

PROMPTS = Path(__file__).parent / "prompts"
NOTHING = "NONE"  # what the model says of decoration
LONGEST = 2000  # characters of a description; longer ones are cut after a sentence
SHORTEST = 4
CAPTION, TEXT = 500, 1500  # characters of the caption and the recognised text that it is told
TOKENS = 800
ATTEMPTS = 2
PASSING = (408, 409, 425, 429)  # refusals that may pass, besides all of 5xx
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Picture:
    data: bytes
    media_type: str
    title: str = ""  # of its document
    caption: str = ""
    text: str = ""  # what text recognition read in it


class VisionModel:
    """`describe` may be called from several threads at once. While its breaker is open the model
    is not asked."""

    def __init__(self, *, base_url: str, api_key: str, model: str, timeout: float = 120) -> None:
        self.base_url, self.api_key, self.model, self.timeout = base_url, api_key, model, timeout
        self._breaker = breaker("vision")

    @cached_property
    def _client(self) -> Any:
        import openai  # takes a second; only who asks a model pays

        return openai.OpenAI(
            base_url=self.base_url, api_key=self.api_key, timeout=self.timeout, max_retries=0
        )

    def describe(self, picture: Picture, seconds: float | None = None) -> str:
        """What the picture shows, or "" when there is nothing to say of it; within `seconds`, if
        somebody waits.

        Raises ModelError: permanent when asking again cannot help.
        """
        deadline = time.monotonic() + (ATTEMPTS * self.timeout if seconds is None else seconds)
        attempts = Retrying(
            retry=retry_if_exception(
                lambda error: isinstance(error, ModelError) and not error.permanent
            ),
            stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(deadline - time.monotonic()),
            wait=wait_random_exponential(multiplier=0.5, max=8),
            reraise=True,
        )
        try:
            for attempt in attempts:
                with attempt, self._breaker.calling():
                    return self._ask(_messages(picture), deadline)
        except pybreaker.CircuitBreakerError as error:
            raise ModelError(
                _("The vision model failed repeatedly and is left alone for a moment."),
                permanent=False,
            ) from error
        raise AssertionError("an attempt returns or raises")

    def _ask(self, messages: list[dict[str, Any]], deadline: float) -> str:
        import openai

        left = max(deadline - time.monotonic(), 0.001)
        try:
            answer = self._client.chat.completions.create(
                model=self.model, messages=messages, max_tokens=TOKENS, temperature=0.1,
                timeout=min(self.timeout, left),
            )  # fmt: skip
        except openai.APIStatusError as error:
            raise ModelError(
                _("The vision model refused with status %(status)d: %(text)s")
                % {"status": error.status_code, "text": _reason(error)[:200]},
                permanent=error.status_code not in PASSING and error.status_code < 500,
            ) from error
        except (openai.OpenAIError, ValueError) as error:
            raise ModelError(
                _("The vision model does not answer (%(reason)s).")
                % {"reason": type(error).__name__},
                permanent=False,
            ) from error
        return _checked(answer)


def _messages(picture: Picture) -> list[dict[str, Any]]:
    asked = _prompt("describe.user.md").substitute(
        title=picture.title[:CAPTION], caption=picture.caption[:CAPTION], text=picture.text[:TEXT]
    )
    shown = f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode()}"
    return [
        {"role": "system", "content": _prompt("describe.system.md").template},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": shown}},
                {"type": "text", "text": asked},
            ],
        },
    ]


def _reason(error: Any) -> str:
    said = error.body.get("message") if isinstance(error.body, dict) else None
    return str(said or error.message)


def _checked(answer: Any) -> str:
    """The description in an answer, which may be anything. Raises ModelError."""
    choices = getattr(answer, "choices", None) or [None]
    message = getattr(choices[0], "message", None)
    words = _THOUGHTS.sub("", getattr(message, "content", None) or "").strip()
    if words.strip(" .。`*") == NOTHING:
        return ""
    if len(words) < SHORTEST:
        raise ModelError(_("The vision model gave no description."), permanent=False)
    cut = getattr(choices[0], "finish_reason", "") == "length" or len(words) > LONGEST
    return _whole_sentences(words[:LONGEST]) if cut else words


def _whole_sentences(words: str) -> str:
    end = max(words.rfind(mark) for mark in "。！？\n.!?")
    return words[: end + 1].strip() if end > SHORTEST else words


@cache
def _prompt(name: str) -> Template:
    return Template((PROMPTS / name).read_text(encoding="utf-8").strip())
