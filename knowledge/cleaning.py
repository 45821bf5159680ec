"""Text that PostgreSQL takes."""

from typing import Any


def clean(value: Any) -> Any:
    """Without NUL and halves of surrogate pairs, which no text in PostgreSQL may hold."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {name: clean(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [clean(part) for part in value]
    return value
