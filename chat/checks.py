"""System checks of the chat."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from chat.signals import handoff_requested

COLDEST, WARMEST = 0.1, 0.3


@register()
def one_desk(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Who asks for a person must get one: nobody listening is as wrong as two."""
    count = len(handoff_requested.receivers)
    if count == 1:
        return []
    return [
        Error(
            f"chat.signals.handoff_requested has {count} receivers instead of one.",
            hint="Connect it once, in handoff/receivers.py.",
            id="chat.E001",
        )
    ]


@register()
def temperature(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An answer repeats its sources; a hotter model invents."""
    if settings.OPENAI_TEMPERATURE_FORCED:
        return []
    if COLDEST <= settings.OPENAI_TEMPERATURE <= WARMEST:
        return []
    return [
        Error(
            f"OPENAI_TEMPERATURE is {settings.OPENAI_TEMPERATURE}.",
            hint=f"Use {COLDEST} to {WARMEST}, or set OPENAI_TEMPERATURE_FORCED=true.",
            id="chat.E002",
        )
    ]
