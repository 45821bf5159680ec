"""How fast much knowledge comes in, in how much memory, and how long answers take meanwhile."""

import csv
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from chat.asking import ask
from chat.models import Conversation, Turn
from evaluation.metrics import percentile
from knowledge import demo, uploading
from knowledge.models import Chunk, Document, KnowledgeBase, Revision
from opsdesk.processes import die_with_parent
from opsdesk.realtime import NOTIFY_CHANNEL, listen_parameters

SEED = 20_000
ASKED, IMPORTED = "bench-asked", "bench-imported"  # slugs
# None is given that was kept: so often nobody asks the same.
EVERY_ANSWER_IS_MADE = {"OPSDESK_KEPT_ANSWERS": "0"}
WINDOW = 12.0  # seconds of importing before it is held for half as long
SAMPLE = 0.5  # seconds between looks at memory
COLUMNS = ["编号", "系统", "主机", "现象", "原因", "处理"]


# --- what is imported ---------------------------------------------------------------


def sentences() -> list[str]:
    """What the demo documents say, a line each."""
    folder = Path(demo.__file__).parent
    lines = [
        re.sub(r"<[^>]*>", "", line).strip("#-|> *\t")
        for path in sorted([*folder.glob("source/*"), *folder.glob("files/*.md")])
        for line in path.read_text("utf-8").splitlines()
    ]
    return [line for line in lines if len(line) > 8]


def write_pages(folder: Path, number: int, seed: int = SEED) -> None:
    """So many different pages of about 1,000 characters under three headings each."""
    chance, said = random.Random(seed), sentences()  # noqa: S311 - the same every time
    for page in range(number):
        parts = [f"# 手册 {seed}-{page}：{chance.choice(said)[:40]}"]
        for part in range(3):
            lines = chance.sample(said, min(6, len(said)))
            parts.append(f"## {part + 1} {chance.choice(said)[:30]}\n\n" + "\n\n".join(lines))
        path = folder / f"{page // 1000:03}" / f"{page:06}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join(parts), "utf-8")


def write_rows(path: Path, number: int) -> None:
    """A CSV of so many tickets."""
    chance, said = random.Random(SEED), sentences()  # noqa: S311
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for row in range(number):
            texts = [chance.choice(said)[:30] for _ in range(3)]
            rows.writerow([f"INC{row:07}", f"系统{row % 97}", f"host-{row % 5003}", *texts])


# --- the processes ------------------------------------------------------------------


@contextmanager
def process(*command: str, log: Path, niceness: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """A command of manage.py as it runs in an installation; ended with all its children."""
    with log.open("wb") as output:
        running = subprocess.Popen(  # noqa: S603
            [sys.executable, str(settings.BASE_DIR / "manage.py"), *command, "--skip-checks"],
            env=os.environ | {"OPSDESK_ROLE": "worker", **EVERY_ANSWER_IS_MADE},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid()),
        )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()


class Memory(threading.Thread):
    """Megabytes at most: of one process of each session, and of all of PostgreSQL together."""

    def __init__(self, **sessions: int) -> None:
        super().__init__(daemon=True)
        self.sessions = sessions
        self.most: dict[str, float] = {}
        self._stop_it = threading.Event()

    def run(self) -> None:
        while not self._stop_it.wait(SAMPLE):
            self._sample()

    def stop(self) -> dict[str, float]:
        self._stop_it.set()
        self.join()
        return {f"{name} MB": value for name, value in self.most.items()}

    def _sample(self) -> None:
        now: dict[str, float] = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                status = dict(
                    line.split(":", 1) for line in (folder / "status").read_text().splitlines()
                )
                session = os.getsid(int(folder.name))
            except (OSError, ValueError):  # it ended meanwhile
                continue
            if status["Name"].strip() == "postgres":
                # What is shared is the buffers, of a fixed size.
                now["postgres"] = now.get("postgres", 0.0) + _megabytes(status, "RssAnon")
            for name, leader in self.sessions.items():
                if session == leader:
                    now[name] = max(now.get(name, 0.0), _megabytes(status, "VmRSS"))
        for name, value in now.items():
            self.most[name] = max(self.most.get(name, 0.0), value)


def _megabytes(status: dict[str, str], field: str) -> float:
    return int(status.get(field, "0 kB").split()[0]) / 1024


# --- asking -------------------------------------------------------------------------


class Asking:
    """One person after the other asks a base and waits for the answer, as the page does: it
    listens."""

    def __init__(self, base: KnowledgeBase) -> None:
        self.base = base
        self.listening: psycopg.Connection[Any] | None = None
        self.questions = random.Random(SEED)  # noqa: S311
        self.said = sentences()

    def seconds(self) -> float:
        """How long one answer takes, from the question written to the turn ended."""
        if self.listening is None:
            self.listening = psycopg.connect(**listen_parameters())
            self.listening.execute(f"LISTEN {NOTIFY_CHANNEL}")
        talk = Conversation.objects.create(knowledge_base=self.base, visitor="b" * 32)
        question = self.questions.choice(self.said)[:60]
        start = time.perf_counter()
        _message, turn = ask(talk, f"怎么处理：{question}？")
        assert turn is not None  # noqa: S101
        for notice in self.listening.notifies(timeout=settings.TURN_SECONDS):
            told = json.loads(notice.payload).get("message", {})
            if told.get("type") == "conversation.turn" and told["turn"] == turn.pk:
                return time.perf_counter() - start
        raise TimeoutError("no answer came: does the runner run?")

    def until(self, done: Callable[[], bool], pause: float = 0.0) -> list[float]:
        times = []
        while not done():
            times.append(self.seconds())
            time.sleep(pause)
        return times

    def times(self, number: int, pause: float = 0.0) -> list[float]:
        left = iter(range(number))
        return self.until(lambda: next(left, None) is None, pause)


def figures(times: Sequence[float]) -> dict[str, float]:
    ordered = [seconds * 1000 for seconds in times]
    return {
        "answers": len(ordered),
        "p50 ms": _share(ordered, 0.5),
        "p95 ms": _share(ordered, 0.95),
        "most ms": max(ordered, default=math.nan),
    }


# --- the measurement ----------------------------------------------------------------


@contextmanager
def bases() -> Iterator[tuple[KnowledgeBase, KnowledgeBase]]:
    """One that is asked, one that is filled; what a killed run left is replaced."""
    KnowledgeBase.objects.filter(slug__in=[ASKED, IMPORTED]).delete()
    made = [
        KnowledgeBase.objects.create(slug=slug, name=slug, audience=KnowledgeBase.Audience.VISITORS)
        for slug in (ASKED, IMPORTED)
    ]
    try:
        yield made[0], made[1]
    finally:
        for base in made:
            Conversation.objects.filter(knowledge_base=base).delete()
            uploading.delete(Document.objects.filter(knowledge_base=base))
            base.delete()


def measure(
    folder: Path, *, pages: int, rows: int, asked_pages: int, answers: int, same: bool, pause: float
) -> dict[str, Any]:
    """Import `pages` pages and a CSV of `rows` rows while someone asks; figures by name.

    `same`: the base that is filled is the one that is asked, so that it grows meanwhile.
    """
    write_pages(folder / "asked", asked_pages, seed=1)
    source = folder / "imported"
    write_pages(source, pages)
    if rows:
        source.mkdir(exist_ok=True)
        write_rows(source / "tickets.csv", rows)
    with bases() as (asked, imported), ExitStack() as running:
        start = running.enter_context
        worker = start(process("qcluster", log=folder / "worker.log"))
        start(process("run_turns", log=folder / "turns.log"))
        with process(*_ingest(folder / "asked", asked), log=folder / "asked.log") as first:
            _success(first, folder / "asked.log")
        asking = Asking(asked)
        asking.times(20)  # what is slow only once
        before = asking.times(answers, pause)
        target = asked if same else imported
        ingest = start(process(*_ingest(source, target), log=folder / "ingest.log"))
        memory = Memory(worker=worker.pid, ingest=ingest.pid)
        memory.start()
        began = time.perf_counter()
        paused, during, rested = _alternating(asking, ingest, [worker, ingest], pause)
        seconds = time.perf_counter() - began - rested
        _success(ingest, folder / "ingest.log")
        peak = memory.stop()
        after = asking.times(answers, pause)
        there = Revision.objects.filter(document__knowledge_base=target, status="ready")
        chunks = Chunk.objects.filter(knowledge_base=target)
        return {
            "imported": {
                "documents": there.count(),
                "chunks": chunks.count(),
                "seconds": seconds,
                "documents/s": (pages + bool(rows)) / seconds,
                "chunks/s": chunks.count() / seconds,
            },
            "peak": peak,
            "idle before": figures(before),
            "importing": figures(during),
            "held, in between": figures(paused),
            "idle after": figures(after),
            "p95, importing over": {
                "held, in between": _ratio(during, paused),
                "idle before and after": _ratio(during, [*before, *after]),
            },
            "answered": {
                outcome or "unfinished": Turn.objects.filter(
                    conversation__knowledge_base=asked, outcome=outcome
                ).count()
                for outcome in Turn.Outcome.values
            },
        }


def _alternating(
    asking: Asking,
    ingest: "subprocess.Popen[bytes]",
    importing: list["subprocess.Popen[bytes]"],
    pause: float,
) -> tuple[list[float], list[float], float]:
    """Answers while the import is held, answers while it goes on, and the seconds it was held.

    In turns, so that what else the machine does weighs on both alike.
    """
    held, during, rested = [], [], 0.0
    while ingest.poll() is None:
        end = time.monotonic() + WINDOW
        during += asking.until(lambda: ingest.poll() is not None or time.monotonic() > end, pause)  # noqa: B023
        begun = time.perf_counter()
        _signal(importing, signal.SIGSTOP)
        try:
            end = time.monotonic() + WINDOW / 2
            asking.seconds()  # what was under way in the database ends
            held += asking.until(lambda: time.monotonic() > end, pause)  # noqa: B023
        finally:
            _signal(importing, signal.SIGCONT)
        rested += time.perf_counter() - begun
    return held, during, rested


def _signal(sessions: list["subprocess.Popen[bytes]"], number: signal.Signals) -> None:
    for running in sessions:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, number)


def _ratio(some: Sequence[float], others: Sequence[float]) -> float:
    return _share(some, 0.95) / _share(others, 0.95)


def _share(times: Sequence[float], share: float) -> float:
    value = percentile(times, share)
    return math.nan if value is None else value


def _ingest(folder: Path, base: KnowledgeBase) -> list[str]:
    return ["ingest", str(folder), "--knowledge-base", base.slug, "--wait"]


def _success(running: "subprocess.Popen[bytes]", log: Path) -> None:
    if running.wait():
        raise RuntimeError(log.read_text("utf-8", "replace")[-2000:])
