"""A parser is a stranger: it runs in a process of its own, with little time, memory and no keys.

The file goes in as standard input, the result comes out of standard output: the child
needs no right to any path of ours and can plant none.
"""

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

from django.conf import settings

from knowledge.parsing import detection, parts, worker
from knowledge.parsing.parts import Part
from knowledge.parsing.unreadable import Reason, Unreadable

logger = logging.getLogger(__name__)

# A user of nothing else: as `nobody` a parser would be the one who runs the embedded PostgreSQL.
STRANGER = 65533
# Arenas and thread stacks of onnxruntime reserve far more address space than they fill.
MEMORY = 3 * 1024**3
MEMORY_WITH_OCR = 6 * 1024**3
MEMORY_WITH_MODELS = 64 * 1024**3  # address space: MinerU's models are mapped, not all read
MAX_RESULT = 256 * 1024**2
MOMENT = 0.2  # s between two looks at what the child has finished
PREFIX = "opsdesk-parse-"
PROGRAM = (sys.executable, "-m", worker.__name__)
# Of an exception: it may quote a cell, and what is in sheets is masked only later.
_MESSAGE = re.compile(r"^(\w[\w.]*): .*", re.MULTILINE | re.DOTALL)


def run(
    source: IO[bytes], orders: dict[str, object], password: str | None, seconds: float
) -> Iterator[Part]:
    """What the subprocess makes of the file, each part as soon as it is finished.

    `orders` say what the file is, see `worker.read`. Raises Unreadable with the cause when
    the subprocess fails; the parts before hold.
    """
    _sweep()
    os.lseek(source.fileno(), 0, os.SEEK_SET)
    with (
        tempfile.TemporaryFile() as result,
        tempfile.TemporaryFile() as log,
        tempfile.TemporaryDirectory(prefix=PREFIX) as folder,
    ):
        results = _Results(result)
        code = yield from _run(orders, password, seconds, source, results, log, folder)
        if code:
            _report(orders, code, log)
            raise Unreadable(_reason(code))
        if not results.whole:
            raise Unreadable("crashed")


class _Results:
    """What the child has written so far. Read by place: the two share one offset."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.place = 0

    def new(self) -> Iterator[Part]:
        """A child that was taken over may have written anything."""
        while (end := self._end()) is not None:
            data = os.pread(self.file.fileno(), end - self.place - 8, self.place + 8)
            self.place = end
            try:
                yield parts.load(data)
            except (ValueError, TypeError, KeyError) as error:
                raise Unreadable("crashed") from error

    @property
    def whole(self) -> bool:
        """Whether there was something, and nothing is left over."""
        return 0 < self.place == os.fstat(self.file.fileno()).st_size

    def _end(self) -> int | None:
        """Where the next part ends, once it is there."""
        length = os.pread(self.file.fileno(), 8, self.place)
        end = self.place + 8 + int.from_bytes(length, "big")
        there = len(length) == 8 and end <= os.fstat(self.file.fileno()).st_size
        return end if there else None


def _sweep() -> None:
    """Remove the folders of parsers whose parent was killed before it could."""
    oldest = time.time() - 2 * settings.PARSE_SECONDS
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            found = folder.lstat()
            if found.st_mtime < oldest and found.st_uid in (os.geteuid(), STRANGER):
                shutil.rmtree(folder, ignore_errors=True)


def _run(
    orders: dict[str, object],
    password: str | None,
    seconds: float,
    source: IO[bytes],
    results: _Results,
    log: IO[bytes],
    folder: str,
) -> Generator[Part, None, int]:
    """The exit status; negative a signal, as subprocess has it. Leaves no process behind."""
    user = unprivileged()
    if user is not None:
        os.chown(folder, user, user)
    child = subprocess.Popen(  # noqa: S603 - our own module, arguments of our own making
        [*PROGRAM, json.dumps(orders | _limits(orders, seconds))],
        stdin=source,
        stdout=results.file,
        stderr=log,
        cwd=folder,
        env=_environment(folder, password, by_models=_by_models(str(orders["media_type"]))),
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    end = time.monotonic() + seconds
    try:
        while (code := _ended(child, end)) is None:
            yield from results.new()
        yield from results.new()
        return code
    finally:
        _end(child)


def _ended(child: subprocess.Popen[bytes], end: float) -> int | None:
    """The exit status, if it comes within a moment; a timeout's once `end` has passed."""
    try:
        return child.wait(timeout=MOMENT)
    except subprocess.TimeoutExpired:
        return -signal.SIGXCPU if time.monotonic() > end else None


def _limits(orders: dict[str, object], seconds: float) -> dict[str, object]:
    kind = str(orders["media_type"])
    holding = (detection.EML, detection.MSG, "application/pdf", worker.PICTURES)
    recognised = kind in holding or kind.startswith("image/")
    memory = MEMORY_WITH_OCR if recognised else MEMORY
    return {
        "parent": os.getpid(),
        "seconds": seconds,
        "memory": MEMORY_WITH_MODELS if _by_models(kind) else memory,
        "result": MAX_RESULT,
    }


def _by_models(kind: str) -> bool:
    return kind.startswith(worker.MINERU) and kind != worker.MINERU_RESULT


def _environment(folder: str, password: str | None, *, by_models: bool = False) -> dict[str, str]:
    """Nothing of ours but the language; no key, no proxy, no home but that of MinerU's models."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(settings.BASE_DIR),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "HOME": settings.MINERU_HOME if by_models else folder,
        "TMPDIR": folder,
        "ORT_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "2",
        "DOCVORTEX_PDF_RENDER_THREADS": "1",
    }
    if password:
        environment[worker.PASSWORD] = password
    return environment


def unprivileged() -> int | None:
    """Root gives the child an unprivileged user, where that user can reach the interpreter.

    Otherwise (an interpreter under /root, say) the child stays who we are, within its limits.
    """
    if os.geteuid() != 0:
        return None
    needed = (Path(sys.executable).resolve(), Path(sys.prefix), Path(sys.base_prefix))
    return STRANGER if all(map(_open_to_all, (*needed, Path(settings.BASE_DIR)))) else None


def _open_to_all(path: Path) -> bool:
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path, *path.parents))


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it and its children may be gone already
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _reason(code: int) -> Reason:
    if code == -signal.SIGXCPU:
        return "timeout"
    if code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
        return "stopped"
    return worker.REASONS.get(code, "crashed")


def _report(orders: dict[str, object], code: int, log: IO[bytes]) -> None:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 2000))
    text = log.read().decode(errors="replace")
    if orders["media_type"] == worker.ROWS:
        text = _MESSAGE.sub(r"\1", text)
    extra = {"media_type": orders["media_type"], "code": code, "log": text}
    logger.warning("parser failed", extra=extra)
