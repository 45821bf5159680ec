"""What a server sends, read no longer than there is time for it."""

import time

import httpx


class TooLate(Exception):
    """The whole answer did not come in time."""


class TooLong(Exception):
    """More came than any answer can hold."""


def read(answer: httpx.Response, deadline: float, most: int) -> bytes:
    """The body of a streamed answer by `deadline` (of time.monotonic()), of at most `most` bytes;
    a server that only drips is not waited for. TooLate, TooLong or an error of httpx."""
    body = bytearray()
    for part in answer.iter_bytes():
        body += part
        if time.monotonic() > deadline:
            raise TooLate
        if len(body) > most:
            raise TooLong
    return bytes(body)
