"""What may keep a change from being published: functions named in `settings.GATES`.

Whoever publishes asks them; an app to the right fills them in. A gate that needs time says so
(`waiting`), and sees to it that the change is published when it has passed.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

from django.conf import settings
from django.dispatch import Signal
from django.http import HttpRequest
from django.utils.module_loading import import_string

# Somebody wants no more what a gate still looks at: `kind` and `subject` of the Change.
withdrawn = Signal()


def told(request: HttpRequest, kind: str, subject: int) -> list[str]:
    """HTML of `settings.GATE_PANELS`: what gates found when they looked at a change."""
    panels = [import_string(name)(request, kind, subject) for name in settings.GATE_PANELS]
    return [html for html in panels if html]


@dataclass(frozen=True)
class Change:
    kind: Literal["configuration", "threshold", "document"]
    subject: int  # the id of what is to be published
    base: int | None = None  # that alone is touched; None: all
    by: int | None = None  # the id of the user who wants it
    # With which it holds: `opsdesk.tuning`.
    overrides: Mapping[str, Any] = field(default_factory=dict)
    # A block in which the change is visible and after which nothing of it is left; None: it is
    # all in `overrides`.
    tried: Callable[[], AbstractContextManager[None]] | None = None


@dataclass(frozen=True)
class Refusal:
    reason: str  # a sentence for a person
    url: str = ""  # where more is told
    waiting: bool = False  # it is being looked at; ask again


def ask(change: Change) -> Refusal | None:
    """The first refusal; None when all let it pass."""
    for name in settings.GATES:
        refusal: Refusal | None = import_string(name)(change)
        if refusal:
            return refusal
    return None
