"""Second step: find the passages that could answer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace

from chat import pasting, tools
from chat.state import TurnState
from knowledge import addressed, arranging, citing, retrieval
from knowledge.retrieval import Passage, Retrieval
from opsdesk.tuning import tuned

TRACED = ("chunk_id", "title", "locator", "score", "scores", "hits")


def recall(turn: TurnState) -> TurnState:
    """Ends the turn with what tools say, or calls a person; else finds passages."""
    tools.act(turn)
    if turn.outcome or turn.reason:
        return turn
    found = _of_picked(turn, *turn.picked) if turn.picked else _found(turn)
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
    if found.passages and not turn.attached:  # nothing to calibrate by: most of a log is never said
        turn.trace["sureness"] = {
            # What was picked teaches nothing of how sure the search was.
            "features": {} if turn.picked else found.features,
            "threshold": found.threshold,
            "right": found.right,
            "least": found.least,
            "base": found.passages[0].knowledge_base_id,
        }
    turn.trace["passages"] = [
        {name: getattr(passage, name) for name in TRACED} for passage in found.passages
    ]
    return turn


def _found(turn: TurnState) -> Retrieval:
    """What is found for the question, and after it what other queries find."""
    found = _with_pasted(turn) if turn.attached else _searched(turn, turn.query)
    for query in turn.searches:
        more = retrieval.search(query, turn.bases, scope=turn.scope)
        best, other = (more, found) if _surer(more, found) else (found, more)
        there = {passage.chunk_id for passage in best.passages}
        added = [passage for passage in other.passages if passage.chunk_id not in there]
        best.passages = [*best.passages, *added][: tuned("PASSAGES")]
        found = best
    return found


def _searched(turn: TurnState, query: str, top_k: int | None = None) -> Retrieval:
    return retrieval.search(query, turn.bases, top_k, scope=turn.scope, mend=not turn.attached)


def _with_pasted(turn: TurnState) -> Retrieval:
    """Passages that name the error of a log come first, and may answer: how many of its other
    words they share says little. Without one the customer's words may be enough."""
    found = _searched(turn, turn.sought)
    named = [one for one in found.passages if pasting.names(_said(one), turn.attached)]
    found.passages = named + [one for one in found.passages if one not in named]
    if named:
        found.vouched()
        turn.check("pasted", "held", document=named[0].document_id)
    elif not found.sure:
        alone = _searched(turn, turn.query)
        return alone if _surer(alone, found) else found
    return found


def _surer(one: Retrieval, other: Retrieval) -> bool:
    return (one.sure, one.near) > (other.sure, other.near)


def _of_picked(turn: TurnState, document: int, place: Sequence[int]) -> Retrieval:
    """What the document says that the customer picked, behind the place that was picked, and
    nothing else, wherever the search has it. Raises citing.Outdated when it was replaced since."""
    found = _searched(turn, turn.sought, retrieval.CANDIDATES)
    its = [one for one in found.passages if one.document_id == document]
    missed = set(place) - {one.chunk_id for one in its}
    its += retrieval.passages_of(sorted(missed), turn.bases, turn.scope, found)
    ranked = sorted(its, key=lambda passage: passage.chunk_id not in place)
    if not ranked or ranked[0].chunk_id not in place:
        raise citing.Outdated
    found.passages = arranging.arrange(
        ranked, tuned("PASSAGES"), tuned("PASSAGE_CHARACTERS")
    ).passages
    found.vouched()
    return found


def _said(passage: Passage) -> str:
    return f"{passage.question}\n{passage.text}"


def _for_readers(turn: TurnState, passages: Iterable[Passage]) -> Iterator[Passage]:
    """The passages without what speaks to an assistant; no step behind this one sees that."""
    for passage in passages:
        read = _for_reader(passage, turn.sought)
        if read != passage:
            turn.check("addressed", "left_out", document=passage.document_id)
        if read.text.strip():
            yield replace(read, stored=passage.text)


def _for_reader(passage: Passage, sought: str) -> Passage:
    title, question, *headings = (
        addressed.blanked(text) for text in (passage.title, passage.question, *passage.heading_path)
    )
    text = addressed.cleaned(passage.text, " ".join([title, *headings, question, sought]))
    return replace(
        passage, title=title, question=question, heading_path=list(filter(None, headings)),
        questions=[one for one in passage.questions if not addressed.found(one)], text=text,
        locator=addressed.blanked(passage.locator),
    )  # fmt: skip
