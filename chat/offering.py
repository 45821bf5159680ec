"""What there is to choose from where the bases seem to hold the answer, but several passages are
about as good: one answers from the passage that the customer picks, and guesses nothing.
"""

from collections.abc import Sequence

from django.utils.translation import gettext as _

from chat import ambiguity, extractive
from chat.models import Turn
from chat.state import TurnState
from knowledge import arranging
from knowledge.retrieval import Passage

LABEL = 60  # characters of a ready reply
ABOUT = "passage"


def offer(turn: TurnState, query: str, passages: Sequence[Passage]) -> TurnState | None:
    """End the turn with the choice of what the best of `passages` are about, a line of each and a
    person beside it; None where there is nothing to choose."""
    named: dict[str, Passage] = {}
    for passage in arranging.shown(passages):
        named.setdefault(label(passage), passage)
    if len(named) < 2:
        return None
    choices = [
        ambiguity.Choice(name, turn.query, document=one.document_id, chunk=one.chunk_id)
        for name, one in named.items()
    ]
    turn.check("ambiguity", "asked", about=ABOUT, choices=list(named))
    turn.pending = ambiguity.as_pending(turn.query, ambiguity.Ambiguity(ABOUT, choices))
    turn.options = [*named, _("Talk to a person")]
    turn.sources = list(named.values())
    lines = [
        f"{n}. {extractive.plain(_line(name, query, one))}[{n}]"
        for n, (name, one) in enumerate(named.items(), 1)
    ]
    asked = _("Several places may hold the answer. Which one is it about?")
    return turn.end(Turn.Outcome.CLARIFYING, "\n".join([asked, "", *lines]))


def label(passage: Passage) -> str:
    """What a passage is about, or how it begins where nothing says that."""
    name = extractive.named(passage) or " ".join(passage.text.split())
    return name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"


def _line(name: str, query: str, passage: Passage) -> str:
    said = extractive.line(query, passage)
    told = not said or said.startswith(name.rstrip("…"))
    return name if told else extractive.introduced(name, said)
