"""Words for what stands in the trace of a turn."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import template
from django.utils.translation import gettext_lazy as _

from chat import degrading, understanding
from chat.steps import answer
from knowledge.admin import finding

register = template.Library()

STEPS = {
    "clarify": _("understanding"),
    "recall": _("searching"),
    "answer": _("writing the answer"),
    "escalate": _("calling a person"),
}
WORDS: dict[str, Mapping[str, Any]] = {
    "mode": {
        answer.MODEL: _("the language model"),
        answer.EXTRACTIVE: _("an extract"),
        answer.FALLBACK: _("an extract instead of the model's answer"),
    },
    "intent": {
        "question": _("question"),
        understanding.PERSON: _("wants a person"),
        understanding.UNHAPPY: _("complaint"),
        understanding.ABUSE: _("abuse"),
        understanding.THANKS: _("thanks"),
        understanding.GREETING: _("greeting"),
        understanding.CHAT: _("small talk"),
    },
    "by": {"rules": _("by rules"), "words": _("by its words"), "model": _("by the model")},
    "mood": {"calm": "", "urgent": _("in a hurry"), "upset": _("upset")},
    "action": {"go on": _("go on"), "offer": _("offer a person"), "call": _("call a person")},
    "because": {
        "asked": _("asked for a person"),
        "unhappy": _("complains"),
        "abuse": _("is abusive"),
        "rounds": _("rounds without progress"),
        "unsure": _("no reliable answer"),
        "mood": _("in a hurry or upset"),
    },
    "step": STEPS,
    "retrieval": finding.MODES,
    "timed": finding.TIMED,
    "stage": finding.FOUND,
}


@register.filter
def worded(name: str, kind: str) -> str:
    """What staff call `name`, a value of that kind; itself when there is no word for it."""
    return str(WORDS[kind].get(name, name))


@register.filter
def without(names: Sequence[str]) -> str:
    """What an answer did without."""
    labels = degrading.labels()
    return "; ".join(labels.get(name, name) for name in names)


@register.filter
def share(milliseconds: float, times: dict[str, float]) -> int:
    """Its part of all times, in percent."""
    whole = sum(times.values())
    return round(100 * milliseconds / whole) if whole else 0


@register.filter
def in_order(times: dict[str, float]) -> list[tuple[str, float]]:
    """Steps as they were taken: JSON in the database keeps no order."""
    order = list(STEPS)
    return sorted(times.items(), key=lambda one: order.index(one[0]) if one[0] in order else 99)


@register.filter
def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, default=str)


@register.filter
def as_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
