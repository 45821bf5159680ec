"""Why a file cannot be read: a code that the parsing subprocess can pass on.

`knowledge.parsing.reading` has the sentence for each code.
"""

from typing import Literal

Reason = Literal[
    "empty",
    "password",
    "wrong_password",
    "locked",
    "wrong_extension",
    "archive",
    "executable",
    "media",
    "mailbox",
    "picture_format",
    "office_format",
    "unknown",
    "bomb",
    "entities",
    "broken",
    "nothing",
    "huge_picture",
    "limits",
    "memory",
    "timeout",
    "crashed",
    "too_much",
    "stopped",
]


class Unreadable(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Unfinished(Exception):
    """The time is over before a file is read; what was finished is kept, the next call goes on."""
