"""Question and passage read together by a model: bge-reranker on this machine, any server with a
`/rerank` like Jina's, Cohere's or vLLM's, or bge-m3's vectors of tokens.

An order without a reranker is at hand, so one that fails or is slow is soon given up.
"""

import json
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pybreaker
from django.utils.translation import gettext as _
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from knowledge import dense, embedding, replies
from opsdesk.breakers import breaker
from opsdesk.errors import ModelError

QUESTION, PASSAGE = 1000, 1600  # characters that are sent of them
ANSWER = 1 << 20  # bytes: no answer is longer
TEMPORARY = (408, 409, 425, 429)  # refusals that may pass, besides all of 5xx


class Reranker:
    """Base class: a reranker implements `score`, everything else is here.

    `scores()` gives a number for each text, the higher the better it answers: of so many, from
    the first one on, as `seconds` allow. Else it raises ModelError; at once while its breaker is
    open.
    """

    # What it says in the order; the stages before it say the rest. It reads question and passage
    # together and knows better, but takes one code for another: exact words keep a say.
    share = 0.7
    faq_share = 0.7  # the same of entries of a FAQ

    def __init__(self, model: str, *, seconds: float = 5.0) -> None:
        self.model = model
        self.seconds = seconds
        self._breaker = breaker("reranker")

    def score(self, query: str, texts: Sequence[str], deadline: float) -> Sequence[float]:
        """A number for each text, in their order, by `deadline` (of time.monotonic()); of the
        first ones when there is no time for all."""
        raise NotImplementedError

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each of `texts` answers `query`, on a scale of the model's own."""
        if not texts:
            return []
        try:
            with self._breaker.calling():  # `call` would let one question in at a time
                return self._checked(query[:QUESTION], [text[:PASSAGE] for text in texts])
        except pybreaker.CircuitBreakerError as error:
            raise ModelError(
                _("The reranker failed repeatedly and is left alone for a moment."),
                permanent=False,
            ) from error

    def _checked(self, query: str, texts: list[str]) -> list[float]:
        deadline = time.monotonic() + self.seconds
        scores = [float(score) for score in self.score(query, texts, deadline)]
        if not scores:
            raise _slow()
        if len(scores) > len(texts) or not all(map(math.isfinite, scores)):
            raise _unreadable()
        return scores


class EndpointReranker(Reranker):
    """A server that takes `{"model", "query", "documents", "top_n"}` at `/rerank` and gives
    `{"results": [{"index", "relevance_score"}]}`. What may pass is tried three times."""

    def __init__(self, model: str, *, url: str, api_key: str = "none", **options: Any) -> None:
        super().__init__(model, **options)
        self.url = url if url.endswith("/rerank") else f"{url}/rerank"
        self._client = httpx.Client(headers={"Authorization": f"Bearer {api_key}"})

    def score(self, query: str, texts: Sequence[str], deadline: float) -> Sequence[float]:
        attempts = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(3) | stop_before_delay(deadline - time.monotonic()),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            reraise=True,
        )
        scores: list[float] = attempts(self._ask, query, texts, deadline)
        return scores

    def _ask(self, query: str, texts: Sequence[str], deadline: float) -> list[float]:
        request = {
            "model": self.model, "query": query, "documents": list(texts), "top_n": len(texts),
        }  # fmt: skip
        left = max(deadline - time.monotonic(), 0.001)
        try:
            with self._client.stream("POST", self.url, json=request, timeout=left) as answer:
                body = replies.read(answer, deadline, ANSWER)
        except (httpx.TimeoutException, replies.TooLate) as error:
            raise _slow() from error
        except replies.TooLong as error:
            raise _unreadable() from error
        except httpx.RequestError as error:
            raise ModelError(
                _("The reranker does not answer (%(reason)s).") % {"reason": type(error).__name__},
                permanent=False,
            ) from error
        if answer.is_error:
            raise ModelError(
                _("The reranker refused with status %(status)d: %(text)s")
                % {"status": answer.status_code, "text": body[:200].decode(errors="replace")},
                permanent=answer.status_code not in TEMPORARY and answer.status_code < 500,
            )
        return _scores(body, len(texts))


def _scores(body: bytes, count: int) -> list[float]:
    try:
        by_index = {
            int(row["index"]): float(row["relevance_score"]) for row in json.loads(body)["results"]
        }
        return [by_index[index] for index in range(count)]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _unreadable() from error


class FlagReranker(Reranker):
    """BAAI/bge-reranker-v2-m3 by FlagEmbedding, which `requirements-bge.txt` installs. Scores are
    0–1.

    `model` may be a folder with the weights. They are loaded behind the first question, which
    waits for them no longer than for its scores.
    """

    batch_size = 4

    def __init__(
        self, model: str, *, device: str = "cpu", max_tokens: int = 1024, **options: Any
    ) -> None:
        super().__init__(model, **options)
        self.device = device
        self.max_tokens = max_tokens
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="reranker")
        self._loaded: Future[Any] | None = None

    def score(self, query: str, texts: Sequence[str], deadline: float) -> Sequence[float]:
        model = self._model(deadline)
        # torch uses all cores for one question already.
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise _slow()
        try:
            return self._sigmoids(model, query, texts, deadline)
        finally:
            self._lock.release()

    def _sigmoids(
        self, loaded: Any, query: str, texts: Sequence[str], deadline: float
    ) -> list[float]:
        """What `compute_score(normalize=True)` gives; but that reads its first batch twice,
        draws progress bars, and does not know when it is late."""
        import torch

        scores: list[float] = []
        took = 0.0
        while len(scores) < len(texts) and (begun := time.monotonic()) + took < deadline:
            some = list(texts[len(scores) : len(scores) + self.batch_size])
            inputs = loaded.tokenizer(
                [query] * len(some), some,
                padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt",
            ).to(self.device)  # fmt: skip
            with torch.inference_mode():
                logits = loaded.model(**inputs).logits.view(-1).float()
            scores += torch.sigmoid(logits).tolist()
            took = time.monotonic() - begun
        return scores

    def _model(self, deadline: float) -> Any:
        with self._loading:
            if self._loaded is None or (self._loaded.done() and self._loaded.exception()):
                self._loaded = self._loader.submit(self._load)
        try:
            return self._loaded.result(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            raise ModelError(_("The reranker is being loaded."), permanent=False) from error

    def _load(self) -> Any:
        try:
            import FlagEmbedding
            from safetensors import SafetensorError
        except ImportError as error:
            raise ModelError(
                _("FlagEmbedding is not installed: pip install -r requirements-bge.txt"),
                permanent=True,
            ) from error
        try:
            loaded = FlagEmbedding.FlagReranker(
                self.model, use_fp16=self.device != "cpu", devices=self.device
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ModelError(
                _(
                    "The weights %(weights)s could not be loaded (%(reason)s). Set "
                    "OPSDESK_RERANK_MODEL to a folder that holds the reranker, or let this "
                    "machine reach huggingface.co once."
                )
                % {"weights": self.model, "reason": reason},
                permanent=False,
            ) from error
        loaded.model.to(self.device).eval()
        return loaded


class ColbertReranker(Reranker):
    """The vectors of tokens that the embedder of the active index gives (bge-m3 does), each of
    the question held against those of the passage. Scores are 0–1.

    Such a comparison found entries of a FAQ far better, and passages worse (docs/retrieval.md).
    """

    share = 0.3

    def __init__(self, **options: Any) -> None:
        super().__init__("colbert", **options)

    def score(self, query: str, texts: Sequence[str], deadline: float) -> Sequence[float]:
        index = embedding.active() or embedding.configured()
        if index is None:
            raise ModelError(_("No embedder is configured: set OPSDESK_EMBEDDER."), permanent=True)
        return dense.colbert(index, query, texts, deadline - time.monotonic())


def _slow() -> ModelError:
    return ModelError(_("The reranker took too long."), permanent=False)


def _unreadable() -> ModelError:
    return ModelError(
        _("The reranker gave an answer that does not hold what was asked."), permanent=False
    )


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, ModelError) and not error.permanent
