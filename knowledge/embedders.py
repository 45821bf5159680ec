"""Texts as vectors: bge-m3 on this machine, or any server that speaks OpenAI's /embeddings."""

import array
import base64
import math
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pybreaker
from django.utils.translation import gettext as _
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from opsdesk.errors import ModelError

Vector = list[float]
TEMPORARY = (408, 409, 425, 429)  # refusals that may pass, besides all of 5xx


class Embedder:
    """Base class: an embedder implements `embed_batch`, everything else is here.

    `passages()` and `query()` give vectors of length 1 and of `dimensions` numbers, or raise
    ModelError. Some models want another prefix before a question than before a passage.
    """

    batch_size = 32

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

    def passages(self, texts: Iterable[str]) -> Iterator[Vector]:
        """The vectors of `texts`, in order, made batch by batch."""
        for batch in _batches((self.passage_prefix + text for text in texts), self.batch_size):
            yield from self._vectors(batch)

    def query(self, text: str) -> Vector:
        """The vector to look for when `text` is asked."""
        return self._vectors([self.query_prefix + text])[0]

    def _vectors(self, texts: list[str]) -> list[Vector]:
        vectors = self.embed_batch(texts)
        if len(vectors) != len(texts):
            raise ModelError(
                _("The embedding model gave %(got)d vectors for %(asked)d texts.")
                % {"got": len(vectors), "asked": len(texts)},
                permanent=False,
            )
        return [self._normal(vector) for vector in vectors]

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
    """The dense vectors of BAAI/bge-m3 by FlagEmbedding, which `requirements-bge.txt` installs.

    The weights come from `folder`, or from the Hugging Face hub on first use when it is empty.
    Loaded once, when the first text comes; on a CPU in single precision, as half precision is
    slower there.
    """

    batch_size = 12

    def __init__(
        self,
        model: str,
        dimensions: int = 1024,
        *,
        folder: str = "",
        device: str = "cpu",
        max_tokens: int = 2048,
        **options: Any,
    ) -> None:
        super().__init__(model, dimensions, **options)
        self.weights = folder or model
        self.device = device
        self.max_tokens = max_tokens
        self._lock = threading.Lock()
        self._loaded: Any = None

    def embed_batch(self, texts: list[str]) -> Sequence[Sequence[float]]:
        with self._lock:  # torch uses all cores for one batch already
            if self._loaded is None:
                self._loaded = self._load()
            made = self._loaded.encode(
                texts,
                batch_size=len(texts),
                max_length=self.max_tokens,
                return_dense=True,
                return_sparse=False,
                return_colbert_vecs=False,
            )
        vectors: list[Vector] = made["dense_vecs"].tolist()
        return vectors

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

    A request that may succeed later is tried three times; after five failures in a row the
    server is left alone for half a minute, so that questions don't wait for it.
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
            timeout=httpx.Timeout(timeout, connect=5),
        )
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=5, reset_timeout=30, exclude=[_is_permanent], throw_new_error_on_trip=False
        )

    def embed_batch(self, texts: list[str]) -> Sequence[Sequence[float]]:
        attempts = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(3),
            wait=wait_random_exponential(multiplier=0.3, max=4),
            reraise=True,
        )
        try:
            vectors: list[Vector] = attempts(self._breaker.call, self._ask, texts)
        except pybreaker.CircuitBreakerError as error:
            raise ModelError(
                _("The embedding server failed repeatedly and is left alone for a moment."),
                permanent=False,
            ) from error
        return vectors

    def _ask(self, texts: list[str]) -> list[Vector]:
        request = {"model": self.model, "input": texts, "encoding_format": "float"}
        try:
            answer = self._client.post("embeddings", json=request)
        except httpx.TransportError as error:
            raise ModelError(
                _("The embedding server does not answer (%(reason)s).")
                % {"reason": type(error).__name__},
                permanent=False,
            ) from error
        if answer.is_error:
            raise ModelError(
                _("The embedding server refused with status %(status)d: %(text)s")
                % {"status": answer.status_code, "text": answer.text[:200]},
                permanent=answer.status_code not in (408, 409, 425, 429)
                and answer.status_code < 500,
            )
        try:
            rows = sorted(answer.json()["data"], key=lambda row: row["index"])
            vectors = [_numbers(row["embedding"]) for row in rows]
        except (ValueError, KeyError, TypeError) as error:
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


def _is_permanent(error: BaseException) -> bool:
    return isinstance(error, ModelError) and error.permanent


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, ModelError) and not error.permanent


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(texts)
    while batch := list(islice(rest, size)):
        yield batch
