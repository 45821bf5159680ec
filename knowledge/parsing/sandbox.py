"""A parser is a stranger: it runs in a process of its own, with little time, memory and no keys.

The file goes in as standard input, the result comes out of standard output: the child
needs no right to any path of ours and can plant none.
"""

import contextlib
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from django.conf import settings

from knowledge.parsing import worker
from knowledge.parsing.document import ParsedDocument
from knowledge.parsing.unreadable import Reason, Unreadable

logger = logging.getLogger(__name__)

# A user of nothing else: as `nobody` a parser would be the one who runs the embedded PostgreSQL.
STRANGER = 65533
# Arenas and thread stacks of onnxruntime reserve far more address space than they fill.
MEMORY = 3 * 1024**3
MEMORY_WITH_OCR = 6 * 1024**3
MAX_RESULT = 256 * 1024**2
PREFIX = "opsdesk-parse-"
PROGRAM = (sys.executable, "-m", worker.__name__)


def run(path: Path, media_type: str, password: str | None = None) -> ParsedDocument:
    """Parse the file in the subprocess. Raises Unreadable with the cause when it fails."""
    _sweep()
    with (
        path.open("rb") as source,
        tempfile.TemporaryFile() as result,
        tempfile.TemporaryFile() as log,
        tempfile.TemporaryDirectory(prefix=PREFIX) as folder,
    ):
        code = _run(media_type, password, source, result, log, folder)
        if code:
            _report(media_type, code, log)
            raise Unreadable(_reason(code))
        return _read(result)


def _sweep() -> None:
    """Remove the folders of parsers whose parent was killed before it could."""
    oldest = time.time() - 2 * settings.PARSE_SECONDS
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            found = folder.lstat()
            if found.st_mtime < oldest and found.st_uid in (os.geteuid(), STRANGER):
                shutil.rmtree(folder, ignore_errors=True)


def _run(
    media_type: str,
    password: str | None,
    source: IO[bytes],
    result: IO[bytes],
    log: IO[bytes],
    folder: str,
) -> int:
    """The exit status; negative a signal, as subprocess has it. Leaves no process behind."""
    user = unprivileged()
    if user is not None:
        os.chown(folder, user, user)
    child = subprocess.Popen(  # noqa: S603 - our own module, arguments of our own making
        [*PROGRAM, json.dumps(_orders(media_type))],
        stdin=source,
        stdout=result,
        stderr=log,
        cwd=folder,
        env=_environment(folder, password),
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    try:
        return child.wait(timeout=settings.PARSE_SECONDS)
    except subprocess.TimeoutExpired:
        return -signal.SIGXCPU
    finally:
        _end(child)


def _orders(media_type: str) -> dict[str, object]:
    pictures = media_type == "application/pdf" or media_type.startswith("image/")
    return {
        "media_type": media_type,
        "parent": os.getpid(),
        "seconds": settings.PARSE_SECONDS,
        "memory": MEMORY_WITH_OCR if pictures else MEMORY,
        "result": MAX_RESULT,
    }


def _environment(folder: str, password: str | None) -> dict[str, str]:
    """Nothing of ours but the language; no key, no proxy, no home."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(settings.BASE_DIR),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "HOME": folder,
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


def _report(media_type: str, code: int, log: IO[bytes]) -> None:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 2000))
    text = log.read().decode(errors="replace")
    logger.warning("parser failed", extra={"media_type": media_type, "code": code, "log": text})


def _read(result: IO[bytes]) -> ParsedDocument:
    """The inverse of `worker.write`; a child that was taken over may have written anything."""
    result.seek(0)
    try:
        parsed = ParsedDocument.from_json(json.loads(result.readline()))
        sizes = json.loads(result.readline())
        for asset, size in zip(parsed.assets, sizes, strict=True):
            asset.data = result.read(size)
    except (ValueError, TypeError, KeyError) as error:
        raise Unreadable("crashed") from error
    return parsed
