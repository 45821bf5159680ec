"""Second step: find the passages that could answer."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace

from django.conf import settings

from chat import tools
from chat.state import TurnState
from knowledge import addressed, retrieval
from knowledge.retrieval import Passage, Retrieval

TRACED = ("chunk_id", "title", "locator", "score", "scores", "hits")


def recall(turn: TurnState) -> TurnState:
    """Ends the turn with what tools say, or calls a person; else finds passages."""
    tools.act(turn)
    if turn.outcome or turn.reason:
        return turn
    found = _found(turn)
    found.passages = list(_for_readers(turn, found.passages))
    turn.retrieval, turn.confidence = found, found.confidence
    for name in found.failed:
        turn.degrade(name)
    turn.trace["query"] = turn.query
    if turn.attached:
        turn.trace["attached"] = turn.attached
    elif found.mended:
        turn.query, turn.trace["mended"] = found.query, found.mended
    if turn.scope:
        turn.trace["scope"] = asdict(turn.scope)
    turn.trace["retrieval"] = {"mode": found.mode, "timings": found.timings}
    if found.passages:
        turn.trace["sureness"] = {
            "features": found.features,
            "threshold": found.threshold,
            "base": found.passages[0].knowledge_base_id,
        }
    turn.trace["passages"] = [
        {name: getattr(passage, name) for name in TRACED} for passage in found.passages
    ]
    return turn


def _found(turn: TurnState) -> Retrieval:
    """What is found for the question, and after it what other queries find."""
    found = retrieval.search(turn.sought, turn.bases, scope=turn.scope, mend=not turn.attached)
    for query in turn.searches:
        more = retrieval.search(query, turn.bases, scope=turn.scope)
        best, other = (more, found) if more.sure and not found.sure else (found, more)
        there = {passage.chunk_id for passage in best.passages}
        added = [passage for passage in other.passages if passage.chunk_id not in there]
        best.passages = [*best.passages, *added][: settings.PASSAGES]
        found = best
    return found


def _for_readers(turn: TurnState, passages: Iterable[Passage]) -> Iterator[Passage]:
    """The passages without what speaks to an assistant; no step behind this one sees that."""
    for passage in passages:
        about = " ".join([passage.title, *passage.heading_path, passage.question, turn.sought])
        text = addressed.cleaned(passage.text, about)
        if text != passage.text:
            turn.check("addressed", "left_out", document=passage.document_id)
        if text.strip():
            yield replace(passage, text=text)
