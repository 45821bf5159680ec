"""What is kept of how a turn came about, small whatever was said; staff read it on its page."""

import json
from typing import Any

MOST = 64_000  # characters of a trace as JSON
# Letters of a text and entries of a list or a mapping: the first that make it small enough.
LIMITS = ((4000, 100), (1000, 40), (300, 20), (80, 10))


def bounded(trace: dict[str, Any]) -> dict[str, Any]:
    """`trace` with long texts and lists cut, as little as it takes."""
    cut = trace
    for letters, entries in LIMITS:
        cut = {name: _cut(part, letters, entries) for name, part in trace.items()}
        if len(json.dumps(cut, ensure_ascii=False, default=str)) <= MOST:
            break
    return cut


def _cut(value: Any, letters: int, entries: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= letters else value[:letters] + "…"
    if isinstance(value, dict):
        some = list(value.items())[:entries]
        return {name: _cut(inner, letters, entries) for name, inner in some}
    if isinstance(value, list | tuple):
        return [_cut(inner, letters, entries) for inner in value[:entries]]
    return value
