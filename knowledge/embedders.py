"""Texts as vectors: bge-m3 on this machine, or any server that speaks OpenAI's /embeddings."""

import array
import base64
import json
import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pybreaker
from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from knowledge import replies
from opsdesk.breakers import breaker
from opsdesk.errors import ModelError

Vector = list[float]
Weights = dict[int, float]  # what tokens are worth (> 0), by their numbers in the vocabulary
TEMPORARY = (408, 409, 425, 429)  # refusals that may pass, besides all of 5xx
ATTEMPTS = 3
CONNECT_SECONDS = 5.0
ANSWER = 64 << 20  # bytes: no answer is longer
WAITING = 4  # questions that wait for a model on this machine
COLBERT_BATCH = 4  # texts: small, so that the time allowed is kept


class Meaning(NamedTuple):
    """A text as a model understands it."""

    vector: Vector  # of length 1
    weights: Weights | None = None  # None: the model has learned none


class Embedder:
    """Base class: an embedder implements `embed_batch`, everything else is here.

    `passages()` and `query()` give vectors of length 1 and of `dimensions` numbers, or raise
    ModelError. Some models want another prefix before a question than before a passage. A model
    that has learned what tokens are worth says `sparse` and implements `encode_batch` instead;
    one that gives a vector for each token says `late` and implements `token_vectors`.
    """

    batch_size = 32
    sparse = False
    late = False

    def __init__(
        self,
        model: str,
        dimensions: int,
        *,
        batch_size: int | None = None,
        query_prefix: str = "",
        passage_prefix: str = "",
    ) -> None:
        self.model = model
        self.dimensions = dimensions
        self.batch_size = batch_size or self.batch_size
        self.query_prefix = query_prefix
        self.passage_prefix = passage_prefix

    def embed_batch(self, texts: list[str]) -> Sequence[Sequence[float]]:
        """One vector for each of at most `batch_size` texts, in their order."""
        raise NotImplementedError

    def encode_batch(
        self, texts: list[str]
    ) -> tuple[Sequence[Sequence[float]], Sequence[Weights] | None]:
        """As `embed_batch`, and the weights of the tokens of each text if there are any."""
        return self.embed_batch(texts), None

    def token_vectors(self, texts: list[str]) -> Sequence[np.ndarray]:
        """For each text one row a token, each of length 1."""
        raise NotImplementedError

    def passages(self, texts: Iterable[str]) -> Iterator[Meaning]:
        """What `texts` mean, in order, made batch by batch."""
        for batch in _batches((self.passage_prefix + text for text in texts), self.batch_size):
            yield from self._meanings(batch)

    def query(self, text: str) -> Meaning:
        """What to look for when `text` is asked."""
        return self._meanings([self.query_prefix + text])[0]

    def colbert(self, query: str, texts: Iterable[str], seconds: float) -> list[float]:
        """How well texts meet a question token by token (ColBERT's late interaction), 0–1.

        Of so many texts, from the first one on, as there is time for; one batch at least.
        """
        deadline = time.monotonic() + seconds
        (asked,) = self.token_vectors([self.query_prefix + query])
        scores: list[float] = []
        for batch in _batches((self.passage_prefix + text for text in texts), COLBERT_BATCH):
            start = time.monotonic()
            scores += [_late(asked, passage) for passage in self.token_vectors(batch)]
            now = time.monotonic()
            if now + (now - start) > deadline:  # the next batch would be late
                break
        return scores

    def _meanings(self, texts: list[str]) -> list[Meaning]:
        vectors, weights = self.encode_batch(texts)
        if len(vectors) != len(texts):
            raise ModelError(
                _("The embedding model gave %(got)d vectors for %(asked)d texts.")
                % {"got": len(vectors), "asked": len(texts)},
                permanent=False,
            )
        every = map(self._normal, vectors)
        return list(map(Meaning, every, weights if weights is not None else [None] * len(texts)))

    def _normal(self, vector: Sequence[float]) -> Vector:
        if len(vector) != self.dimensions:
            raise ModelError(
                _(
                    "The embedding model %(model)s gives vectors of %(got)d numbers, "
                    "but the settings say %(expected)d."
                )
                % {"model": self.model, "got": len(vector), "expected": self.dimensions},
                permanent=True,
            )
        length = math.hypot(*vector)
        if not (math.isfinite(length) and length):
            raise ModelError(
                _("The embedding model %(model)s gave a vector without direction.")
                % {"model": self.model},
                permanent=False,
            )
        return [float(number) / length for number in vector]


class FlagEmbedder(Embedder):
    """BAAI/bge-m3 by FlagEmbedding, which `requirements-bge.txt` installs: dense vectors, learned
    weights of tokens and vectors of tokens.

    The weights come from `folder`, or from the Hugging Face hub on first use when it is empty.
    Loaded once, when the first text comes; on a CPU in single precision, as half precision is
    slower there.
    """

    batch_size = 12
    sparse = True
    late = True

    def __init__(
        self,
        model: str,
        dimensions: int = 1024,
        *,
        folder: str = "",
        device: str = "cpu",
        max_tokens: int = 2048,
        colbert_tokens: int = 512,  # of a passage that is looked at while somebody waits
        **options: Any,
    ) -> None:
        super().__init__(model, dimensions, **options)
        self.weights = folder or model
        self.device = device
        self.max_tokens = max_tokens
        self.colbert_tokens = colbert_tokens
        self._lock = threading.Lock()
        self._loaded: Any = None
        self._asking = ThreadPoolExecutor(WAITING, thread_name_prefix="embedder")

    def query(self, text: str) -> Meaning:
        """Also while the weights are being loaded nobody waits longer than for a server."""
        made = self._asking.submit(copy_context().run, super().query, text)
        try:
            return made.result(timeout=settings.EMBED_SECONDS)
        except TimeoutError as error:
            made.cancel()
            raise ModelError(_("The embedding model took too long."), permanent=False) from error

    def encode_batch(
        self, texts: list[str]
    ) -> tuple[Sequence[Sequence[float]], Sequence[Weights] | None]:
        made = self._encode(texts, self.max_tokens, return_dense=True, return_sparse=True)
        weights = [
            {int(token): float(weight) for token, weight in tokens.items()}
            for tokens in made["lexical_weights"]
        ]
        return made["dense_vecs"].tolist(), weights

    def token_vectors(self, texts: list[str]) -> Sequence[np.ndarray]:
        made = self._encode(
            texts, self.colbert_tokens, return_dense=False, return_colbert_vecs=True
        )
        return [vectors.astype(np.float32) for vectors in made["colbert_vecs"]]

    def _encode(self, texts: list[str], tokens: int, **wanted: bool) -> Any:
        with self._lock:  # torch uses all cores for one batch already
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded.encode(texts, batch_size=len(texts), max_length=tokens, **wanted)

    def _load(self) -> Any:
        local = self.weights != self.model
        if local and not Path(self.weights).is_dir():  # or the hub would be asked for it
            raise self._unloadable(_("there is no such folder"), permanent=True)
        try:
            from FlagEmbedding import BGEM3FlagModel
            from safetensors import SafetensorError
        except ImportError as error:
            raise ModelError(
                _("FlagEmbedding is not installed: pip install -r requirements-bge.txt"),
                permanent=True,
            ) from error
        try:
            return BGEM3FlagModel(self.weights, use_fp16=self.device != "cpu", devices=self.device)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise self._unloadable(reason, permanent=local) from error

    def _unloadable(self, reason: str, *, permanent: bool) -> ModelError:
        return ModelError(
            _(
                "The weights %(weights)s could not be loaded (%(reason)s). Set "
                "OPSDESK_MODEL_DIR to a folder that holds bge-m3, or let this machine reach "
                "huggingface.co once."
            )
            % {"weights": self.weights, "reason": reason},
            permanent=permanent,
        )


class OpenAIEmbedder(Embedder):
    """Any server with an OpenAI-compatible `/embeddings`.

    A request that may succeed later is tried three times, of a question as long as it may wait;
    while the breaker is open the server is not asked.
    """

    def __init__(
        self,
        model: str,
        dimensions: int,
        *,
        base_url: str,
        api_key: str = "none",
        timeout: float = 30,
        **options: Any,
    ) -> None:
        super().__init__(model, dimensions, **options)
        self._client = httpx.Client(
            base_url=base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {api_key}"},
        )
        self.timeout = timeout
        self._breaker = breaker("embedder")

    def embed_batch(self, texts: list[str]) -> Sequence[Sequence[float]]:
        return self._vectors(texts, time.monotonic() + ATTEMPTS * self.timeout)

    def query(self, text: str) -> Meaning:
        deadline = time.monotonic() + settings.EMBED_SECONDS
        (vector,) = self._vectors([self.query_prefix + text], deadline)
        return Meaning(self._normal(vector))

    def _vectors(self, texts: list[str], deadline: float) -> list[Vector]:
        attempts = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(deadline - time.monotonic()),
            wait=wait_random_exponential(multiplier=0.3, max=4),
            reraise=True,
        )
        try:
            for attempt in attempts:
                with attempt, self._breaker.calling():  # `call` would let in one at a time
                    return self._ask(texts, deadline)
        except pybreaker.CircuitBreakerError as error:
            raise ModelError(
                _("The embedding server failed repeatedly and is left alone for a moment."),
                permanent=False,
            ) from error
        raise AssertionError("an attempt returns or raises")

    def _ask(self, texts: list[str], deadline: float) -> list[Vector]:
        request = {"model": self.model, "input": texts, "encoding_format": "float"}
        left = max(deadline - time.monotonic(), 0.001)
        limits = httpx.Timeout(min(self.timeout, left), connect=min(CONNECT_SECONDS, left))
        try:
            with self._client.stream("POST", "embeddings", json=request, timeout=limits) as answer:
                body = replies.read(answer, deadline, ANSWER)
        except (httpx.RequestError, replies.TooLate) as error:
            raise ModelError(
                _("The embedding server does not answer (%(reason)s).")
                % {"reason": type(error).__name__},
                permanent=False,
            ) from error
        except replies.TooLong as error:
            raise self._unreadable() from error
        if answer.is_error:
            raise ModelError(
                _("The embedding server refused with status %(status)d: %(text)s")
                % {"status": answer.status_code, "text": body[:200].decode(errors="replace")},
                permanent=answer.status_code not in TEMPORARY and answer.status_code < 500,
            )
        try:
            rows = sorted(json.loads(body)["data"], key=lambda row: row["index"])
            vectors = [_numbers(row["embedding"]) for row in rows]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise self._unreadable() from error
        if len(vectors) != len(texts):
            raise self._unreadable()
        return vectors

    def _unreadable(self) -> ModelError:
        return ModelError(
            _("The embedding server gave an answer that does not hold what was asked."),
            permanent=False,
        )


def _numbers(embedding: str | list[float]) -> Vector:
    """A vector as JSON numbers, or as base64 of little-endian 32-bit floats. ValueError."""
    if not isinstance(embedding, str):
        return [float(number) for number in embedding]
    numbers = array.array("f", base64.b64decode(embedding, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _late(asked: np.ndarray, passage: np.ndarray) -> float:
    """For each token of the question the nearest one of the passage; their mean cosine."""
    return float(np.clip((asked @ passage.T).max(axis=1).mean(), 0.0, 1.0))


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, ModelError) and not error.permanent


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(texts)
    while batch := list(islice(rest, size)):
        yield batch


# --- by name ----------------------------------------------------------------------------


def named(name: str) -> Embedder:
    """The embedder called `name` in `settings.EMBEDDERS`; a permanent ModelError without one."""
    options = settings.EMBEDDERS.get(name, {}).get("OPTIONS", {})
    return made(name, options.get("model", ""), options.get("dimensions", 0))


@cache
def made(name: str, model: str, dimensions: int) -> Embedder:
    """The one that makes such vectors, the same each time."""
    config = settings.EMBEDDERS.get(name)
    if config is None:
        raise ModelError(
            _("There is no embedder called %(name)s in the settings.") % {"name": name},
            permanent=True,
        )
    options = {**config.get("OPTIONS", {}), "model": model, "dimensions": dimensions}
    embedder: Embedder = import_string(config["BACKEND"])(**options)
    return embedder


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "EMBEDDERS":
        made.cache_clear()


setting_changed.connect(_forget)
