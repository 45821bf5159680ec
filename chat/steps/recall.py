"""Second step: find the passages that could answer."""

from dataclasses import asdict

from chat.state import TurnState
from knowledge import retrieval

TRACED = ("chunk_id", "title", "locator", "score", "scores", "hits")


def recall(turn: TurnState) -> TurnState:
    found = retrieval.search(turn.sought, turn.bases, scope=turn.scope, mend=not turn.attached)
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
