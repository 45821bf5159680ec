"""How pieces of a page become one: lines of text, edges of a box."""

import re

from knowledge.parsing.document import Box

_WIDE = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f]")


def join_lines(first: str, second: str) -> str:
    """Chinese lines join without a space, words of other scripts with one."""
    if not first or not second:
        return first or second
    touching = _WIDE.match(first[-1]) or _WIDE.match(second[0])
    return f"{first}{second}" if touching else f"{first} {second}"


def share_box(left: float, top: float, right: float, bottom: float) -> Box:
    """Shares of the page, kept within it."""

    def within(share: float) -> float:
        return round(min(max(share, 0.0), 1.0), 4)

    return within(left), within(top), within(right), within(bottom)
