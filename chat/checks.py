"""System checks of the chat."""

from typing import Any

from django.core.checks import CheckMessage, Error, register

from chat.signals import handoff_requested


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
