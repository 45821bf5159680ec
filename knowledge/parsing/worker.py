"""The parsing subprocess: `python -m knowledge.parsing.worker ORDERS < file > result`.

It binds its own hands before it touches the file: dies with its parent, no network where
the kernel lets go of it, bounded memory, time, file size and open files. Imports no Django.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from knowledge.parsing import parts
from knowledge.parsing.document import ParsedDocument
from knowledge.parsing.parts import PLAN, WHOLE, Part
from knowledge.parsing.unreadable import Reason, Unreadable

PASSWORD = "OPSDESK_FILE_PASSWORD"  # noqa: S105 - the name of a variable
ROWS = "rows"  # as a media type: a workbook, whose cells are wanted as they are
MINERU = "mineru:"  # of media types: what is read by MinerU, here or on a server
MINERU_RESULT = f"{MINERU}result"  # the answer of a server
PICTURES = "pictures"  # as a media type: those of a document, whose words are wanted
# Exit statuses by which the child names its reason.
STATUSES: dict[Reason, int] = {
    "broken": 1,  # Python's own status after a traceback: a parser stumbled over the file
    "password": 66,
    "wrong_password": 67,
    "nothing": 68,
    "huge_picture": 69,
    "limits": 70,
    "memory": 71,
    "too_much": 72,
}
REASONS: dict[int, Reason] = {status: reason for reason, status in STATUSES.items()}

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def confine(orders: dict[str, Any]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != orders["parent"]:
        sys.exit(1)  # the parent died before we asked to die with it
    # Refused in many containers; the clean environment still leaves nothing worth sending.
    if libc.unshare(_CLONE_NEWNET) and libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        sys.stderr.write("no network namespace\n")
    os.nice(5)
    seconds = int(orders["seconds"] * 2)  # two threads may run for all of the time
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    for limit, value in (
        (resource.RLIMIT_AS, orders["memory"]),
        (resource.RLIMIT_FSIZE, orders["result"]),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def read(orders: dict[str, Any], data: bytes, password: str | None) -> Iterator[Part]:
    """The parts of a file of `media_type` one by one: `steps`, or a plan and all of them.

    Of PICTURES, `data` holds the bytes of each, one after the other, of these `sizes`.
    """
    kind, steps = orders["media_type"], orders.get("steps")
    if kind == "application/pdf":
        from knowledge.parsing import pdf

        yield from pdf.read(data, password, steps)
    elif kind == PICTURES:
        from knowledge.parsing import images

        yield from images.words(data, orders["steps"], orders["sizes"])
    elif kind.startswith("image/"):
        from knowledge.parsing import images

        yield from images.read(data, steps)
    else:
        yield Part(WHOLE, _whole(kind, data, password, orders["seconds"] * 0.8))


def parse(media_type: str, data: bytes, password: str | None, seconds: float) -> ParsedDocument:
    """The whole document; a long scan only as far as it can be read within `seconds`."""
    orders = {"media_type": media_type, "seconds": seconds}
    made = parts.until(time.monotonic() + seconds, read(orders, data, password))
    done = {part.name: part for part in made}
    parsed = parts.assemble(done)
    if PLAN in done and len(done) <= len(done[PLAN].steps):
        parsed.warnings.append(f"ocr_stopped:{len(done) - 1}")
    return parsed


def _whole(media_type: str, data: bytes, password: str | None, seconds: float) -> ParsedDocument:
    """Run the parser for `media_type`; each is imported only when it is needed."""
    from knowledge.parsing.detection import EML, ENCRYPTED_OFFICE, MSG, OFFICE

    if media_type == ENCRYPTED_OFFICE:
        from knowledge.parsing import encrypted

        return encrypted.parse(data, password, seconds)
    if media_type in {EML, MSG}:
        from knowledge.parsing import mail

        return mail.parse(data, media_type, seconds)
    if media_type.startswith(MINERU):
        from knowledge.parsing import bundle

        return bundle.parse(data, media_type)
    if media_type == ROWS:
        from knowledge.parsing import records

        return records.parse(data)
    from knowledge.parsing import docvortex

    return docvortex.parse(data, OFFICE[media_type])


def main() -> None:
    orders = json.loads(sys.argv[1])
    confine(orders)
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no part of the result
    data = sys.stdin.buffer.read()
    try:
        deadline = time.monotonic() + orders["seconds"] * 0.8
        for part in parts.until(deadline, read(orders, data, os.environ.get(PASSWORD))):
            parts.write(part, result)
    except Unreadable as refusal:
        sys.stderr.write(f"{refusal.reason}: {refusal.__cause__!r}\n")
        _leave(refusal.reason)
    except MemoryError:
        _leave("memory")
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        _leave("too_much")
    os._exit(0)  # pools and threads of the libraries need no farewell


def _leave(reason: Reason) -> None:
    sys.stderr.flush()
    os._exit(STATUSES[reason])


if __name__ == "__main__":
    main()
