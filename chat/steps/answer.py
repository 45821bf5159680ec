"""Third step: an answer out of the passages, or the finding that they hold none."""

import logging
import time
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from chat import dangers, extractive, generating, grounding
from chat.models import Turn
from chat.state import TurnState
from knowledge import arranging
from knowledge.retrieval import Passage
from opsdesk.backends import backend
from opsdesk.errors import ModelError

logger = logging.getLogger(__name__)

MODEL, EXTRACTIVE, FALLBACK = "model", "extractive", "extractive-fallback"


def answer(turn: TurnState) -> TurnState:
    """Ends the turn with an answer and its sources, or calls a person."""
    assert turn.retrieval is not None  # noqa: S101
    passages = turn.retrieval.passages
    if not passages or turn.retrieval.confidence < settings.CONFIDENCE:
        return turn.call_person("no_answer")
    model = backend("llm")
    if model is None:
        return _extract(turn, passages, EXTRACTIVE)
    return _generate(turn, passages, model)


def _generate(turn: TurnState, passages: list[Passage], model: Any) -> TurnState:
    begun = time.monotonic()
    read = arranging.together(passages)
    try:
        made = generating.generate(model, turn, read)
    except ModelError as error:
        if turn.cancelled():
            raise
        logger.warning("The model failed: %s", error)
        turn.trace["model_error"] = str(error)
        return _extract(turn, passages, FALLBACK)
    turn.mode = MODEL
    turn.trace["model"] = {
        "seconds": round(time.monotonic() - begun, 2),
        "dropped": made.dropped,
        "refused": made.refused,
    }
    if made.refused or not made.trusted:
        return turn.call_person("no_answer")
    text, turn.sources = _renumbered(made.text, read)
    return _say(turn, text)


def _extract(turn: TurnState, passages: list[Passage], mode: str) -> TurnState:
    assert turn.retrieval is not None  # noqa: S101
    meant = " ".join([turn.query, *turn.retrieval.other_words])
    extract = extractive.extract(meant, passages)
    turn.mode, turn.sources = mode, extract.sources
    turn.emit("delta", text=dangers.warned(extract.text))
    return _say(turn, extract.text)


def _say(turn: TurnState, text: str) -> TurnState:
    """An answer that is not certain, or shows what destroys, comes with the offer of a person."""
    assert turn.retrieval is not None  # noqa: S101
    warned = dangers.warned(text)
    if warned != text or turn.retrieval.confidence < (1 + settings.CONFIDENCE) / 2:
        turn.options = [_("Talk to a person")]
    return turn.end(Turn.Outcome.ANSWERED, warned)


def _renumbered(text: str, passages: list[Passage]) -> tuple[str, list[Passage]]:
    """Marks counted 1, 2, 3 … in the order they come, and the passages they mean."""
    order = grounding.marks(text)
    return grounding.renumber(text, order), [passages[n - 1] for n in order]
