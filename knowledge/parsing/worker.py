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
from typing import IO, Any

from knowledge.parsing.document import ParsedDocument
from knowledge.parsing.unreadable import Reason, Unreadable

PASSWORD = "OPSDESK_FILE_PASSWORD"  # noqa: S105 - the name of a variable
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
    seconds = orders["seconds"] * 2  # two threads may run for all of the time
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    for limit, value in (
        (resource.RLIMIT_AS, orders["memory"]),
        (resource.RLIMIT_FSIZE, orders["result"]),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def parse(media_type: str, data: bytes, password: str | None, seconds: float) -> ParsedDocument:
    """Run the parser for `media_type`; each is imported only when it is needed."""
    if media_type == "application/pdf":
        from knowledge.parsing import pdf

        return pdf.parse(data, password, seconds)
    if media_type.startswith("image/"):
        from knowledge.parsing import images

        return images.parse(data)
    from knowledge.parsing import docvortex
    from knowledge.parsing.detection import OFFICE

    return docvortex.parse(data, OFFICE[media_type])


def write(parsed: ParsedDocument, result: IO[bytes]) -> None:
    """Two lines of JSON, the document and the sizes of its pictures, then their bytes."""
    document = json.dumps(parsed.to_json(), ensure_ascii=False).encode("utf-8", "replace")
    result.write(document + b"\n")
    result.write(json.dumps([len(asset.data) for asset in parsed.assets]).encode() + b"\n")
    for asset in parsed.assets:
        result.write(asset.data)
    result.flush()


def main() -> None:
    orders = json.loads(sys.argv[1])
    confine(orders)
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no part of the result
    data = sys.stdin.buffer.read()
    try:
        seconds = orders["seconds"] * 0.8
        write(parse(orders["media_type"], data, os.environ.get(PASSWORD), seconds), result)
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
