"""The process that answers: claims turns, makes them in threads, survives what goes away.

Beside the web process, so that a killed server loses no question: a turn is a row, its lease
is renewed while it is made, and a sweeper queues again what nobody renews.
"""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error as DatabaseError
from django.db import IntegrityError, connection, connections
from django.utils import timezone, translation
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from structlog.contextvars import bound_contextvars

from chat import graph, kept, rules, screenshots, transcript, turns
from chat.asking import WAKE_CHANNEL
from chat.models import Conversation, Turn
from chat.state import TurnState
from knowledge import citing
from knowledge.models import KnowledgeBase
from opsdesk import health, replicas
from opsdesk.backends import backend
from opsdesk.errors import BoundaryError, Conflict
from opsdesk.postgres import PostgresError
from opsdesk.realtime import listen_parameters, notify_all

logger = logging.getLogger(__name__)

POLL = 2.0  # seconds; a wake-up comes sooner
RENEW = 10.0  # seconds between renewals of the leases, each a sign of life too
TRIES = 5  # answers to one question, while what they cite is replaced again and again
GRACE = 5.0  # seconds that a stop waits for answers in the making
DELTA = 1000  # characters of an answer that one notification carries
WARMING = "OpsDesk 的端口 8080 怎么改"  # a question like any other
PAUSES = 0.2, 5.0  # first and longest wait for a database that went away

GONE = (DatabaseError, psycopg.Error, PostgresError)
# What one row does to a sweep: the turns and the other sweeps go on.
SWEEPING = (BoundaryError, Conflict, IntegrityError, ObjectDoesNotExist)


def alive() -> bool:
    """Whether some runner gave a sign of life lately."""
    return health.beating("turns")


def warm() -> None:
    """Pay before the first question what it would wait for: imports, word lists, models that
    search. Nothing is written, and no language model asked."""
    turn = graph.outside(WARMING, KnowledgeBase.objects.all())
    turn.tuned = {"LLM": False}
    try:
        graph.run(turn)
    except GONE as error:
        logger.warning("Database away: %s", str(error).strip())


def run_waiting() -> int:
    """Make all turns that wait, one after the other, in this thread; how many there were."""
    count = 0
    while turn := turns.claim():
        make(turn, threading.Event())
        count += 1
    return count


def make(turn: Turn, cancelled: threading.Event) -> None:
    """Answer one claimed turn. Errors leave it claimed: its lease runs out."""
    conversation = turn.conversation
    with bound_contextvars(turn=turn.pk), translation.override(conversation.language):
        deadline = time.monotonic() + settings.TURN_SECONDS
        _look_at_pictures(turn, conversation, deadline)
        for tried in range(TRIES):
            state = turns.load(turn, deadline)
            try:
                if turn.attempt > turns.ATTEMPTS:
                    state = graph.escalate(state.call_person("failed"))
                elif conversation.epoch == turn.epoch:
                    state.emit, state.cancelled = _emitter(turn, state), cancelled.is_set
                    # A replica may not know yet what replaced a passage that answers no more.
                    with replicas.primary() if tried else nullcontext():
                        if tried or not kept.answer(state):
                            state = graph.run(state)
                outcome = turns.finish(turn, state)
                break
            except citing.Outdated:
                logger.info("Turn %s cites what was replaced meanwhile: once more", turn.pk)
        else:
            state = turns.load(turn, deadline).call_person("failed")
            outcome = turns.finish(turn, graph.escalate(state))
        logger.info("Turn %s ended: %s", turn.pk, outcome or "lease lost")


def _look_at_pictures(turn: Turn, conversation: Conversation, deadline: float) -> None:
    """Read the screenshots that came with the message, once."""
    pictures = list(screenshots.waiting(turn.message))
    if not pictures or turn.attempt > turns.ATTEMPTS or conversation.epoch != turn.epoch:
        return
    _emitter(turn)("notice", text=_("Reading the picture…"))
    screenshots.read(pictures, deadline)


def _emitter(turn: Turn, state: TurnState | None = None) -> Any:
    """Tells those who watch the conversation: hints, the message that follows is the truth.

    Where nothing takes long they leave with that message: each on its own would be a commit.
    """
    group = transcript.group(turn.conversation_id)
    held = state.hints if state and not _takes_long(state) else None

    def emit(kind: str, **data: Any) -> None:
        if kind == "delta":
            text = data["text"]
            pieces = [{"text": text[i : i + DELTA]} for i in range(0, len(text), DELTA)]
        elif kind == "citations":  # passages, in the order of their marks
            pieces = [{"chunks": [passage.chunk_id for passage in data["citations"]]}]
        else:
            pieces = [data]
        event = {"type": f"conversation.{kind}", "turn": turn.pk, "seq": turn.message.seq}
        hints = [{**event, **piece} for piece in pieces]
        if held is None:
            if kind == "delta":
                _note_first(turn)
            notify_all(group, hints)
        else:
            held.extend(hints)

    return emit


def _takes_long(state: TurnState) -> bool:
    """Whether something outside this machine may be waited for."""
    return bool(rules.of(state).tools) or any(map(backend, ("llm", "embedder", "reranker")))


def _note_first(turn: Turn) -> None:
    """Keep in the trace how long the customer waited for the first sentence (ms)."""
    waited = timezone.now() - turn.message.created_at
    turn.trace.setdefault("first_ms", round(waited.total_seconds() * 1000))


class Runner:
    """Makes turns until `stop` is called."""

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads or settings.TURN_THREADS
        self._stopping = threading.Event()
        self._cancelled = threading.Event()
        self._making: dict[Future[None], Turn] = {}

    def stop(self, *_: Any) -> None:
        """Claim nothing more; `run` returns when what is being made is ended or given back."""
        self._stopping.set()

    def run(self) -> bool:
        """Claims and makes turns. Returns whether all threads came to an end."""
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="turn")
        pause = PAUSES[0]
        while not self._stopping.is_set():
            try:
                with _listening() as listening:
                    pause = PAUSES[0]
                    self._serve(pool, listening)
            except GONE as error:
                logger.warning("Database away: %s", str(error).strip())
                connection.close()
                self._stopping.wait(pause)
                pause = min(pause * 2, PAUSES[1])
        return self._wind_up(pool)

    def _serve(self, pool: ThreadPoolExecutor, listening: "psycopg.Connection[Any]") -> None:
        renewed = swept = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            if now - swept >= POLL:
                for sweep in settings.SWEEPS:
                    _swept(sweep)
                swept = now
            if now - renewed >= RENEW:
                turns.renew(list(self._making.values()))
                health.beat("turns")
                renewed = now
            self._collect()
            if free := self.threads - len(self._making):
                for turn in turns.claim_some(free):
                    self._making[pool.submit(_make_in_thread, turn, self._cancelled)] = turn
            self._wait(listening)

    def _wait(self, listening: "psycopg.Connection[Any]") -> None:
        """Until a turn may be there to claim, or it is time to look after leases."""
        if len(self._making) >= self.threads:
            wait(self._making, timeout=0.2)
            return
        timeout = 0.2 if self._making else POLL / 2
        for _notice in listening.notifies(timeout=timeout, stop_after=1):
            return

    def _collect(self) -> None:
        """Look at the threads that came to an end; what failed is tried again later."""
        for future in [future for future in self._making if future.done()]:
            turn = self._making.pop(future)
            if error := future.exception():
                logger.error("Turn %s failed", turn.pk, exc_info=error)
                turns.retry_later(turn, f"{type(error).__name__}: {error}")

    def _wind_up(self, pool: ThreadPoolExecutor) -> bool:
        _done, unfinished = wait(self._making, timeout=GRACE)
        self._cancelled.set()
        try:
            self._collect()
            for turn in self._making.values():
                turns.give_back(turn)
        except GONE as error:  # the lease runs out by itself
            logger.warning("Database away while stopping: %s", str(error).strip())
        pool.shutdown(wait=False, cancel_futures=True)
        return not unfinished


def _swept(sweep: str) -> None:
    try:
        import_string(sweep)()
    except SWEEPING as error:
        logger.error("Sweep %s failed", sweep, exc_info=error)


def _make_in_thread(turn: Turn, cancelled: threading.Event) -> None:
    try:
        for one in connections.all(initialized_only=True):
            one.close_if_unusable_or_obsolete()
        make(turn, cancelled)
    finally:
        for one in connections.all(initialized_only=True):
            if one.errors_occurred:
                one.close()


@contextmanager
def _listening() -> Iterator["psycopg.Connection[Any]"]:
    """A connection that hears wake-ups."""
    with psycopg.connect(**listen_parameters()) as listening:
        listening.execute(f"LISTEN {WAKE_CHANNEL}")
        yield listening
