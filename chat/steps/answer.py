"""Third step: an answer out of the passages, or the finding that they hold none."""

import logging

from django.conf import settings

from chat import extractive
from chat.models import Turn
from chat.state import TurnState

logger = logging.getLogger(__name__)


def answer(turn: TurnState) -> TurnState:
    """Ends the turn with an answer and its sources, or calls a person."""
    assert turn.retrieval is not None  # noqa: S101
    passages = turn.retrieval.passages
    if not passages or turn.retrieval.confidence < settings.CONFIDENCE:
        return turn.call_person("no_answer")
    extract = extractive.extract(turn.query, passages)
    turn.mode, turn.sources = "extractive", extract.sources
    turn.emit("delta", text=extract.text)
    return turn.end(Turn.Outcome.ANSWERED, extract.text)
