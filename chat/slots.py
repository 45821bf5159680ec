"""What staff want to know before a question of some topic is looked for, asked for bit by bit."""

from typing import Any

from chat.models import Conversation
from chat.state import TurnState


def wanted(turn: TurnState) -> dict[str, Any]:
    """JSON Schema `properties` of what only a model could still find in the message.

    Empty when no topic fits, or the rules found everything: then nothing needs to be asked of it.
    """
    return {}


def fill(turn: TurnState, reading: Any) -> bool:
    """Take up what the message tells about its topic; whether the turn ended with a question back.

    `reading` is what a model made of the message: its `values` by the names of `wanted`; None
    without one. When False, a set `turn.query` is complete already.
    """
    return False


def collected(conversation: Conversation) -> list[tuple[str, str]]:
    """Labels and values of all that was told in `conversation`, as staff read them."""
    return []
