"""The four-step state machine: clarify → recall → answer → or escalate.

The steps are plain functions; LangGraph wires them and remembers nothing: asking back ends
a turn, and everything that outlives it is a row.
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypedDict

from django.conf import settings

from chat import configurations, pasting, policy, slots
from chat.state import Said, TurnState
from chat.steps.answer import answer
from chat.steps.clarify import clarify
from chat.steps.escalate import escalate
from chat.steps.recall import recall
from knowledge import citing
from knowledge.masking import masked
from knowledge.models import KnowledgeBase
from opsdesk.tuning import tuning

Step = Callable[[TurnState], TurnState]


class _State(TypedDict):
    turn: TurnState


@dataclass(frozen=True)
class Answered:
    outcome: str  # a value of Turn.Outcome
    text: str
    # {"chunk": id, "document": id, "external_id", "title", "page", "locator", "quote"}: the n-th
    # is what mark [n] means
    citations: list[dict[str, Any]]
    confidence: float | None  # 0–1; None when nothing was looked for
    guessed: bool = False  # whether a customer would have been asked which of several is meant


def run(turn: TurnState) -> TurnState:
    """Take a turn through the steps until one of them ends it."""
    with tuning(turn.tuned):
        done: _State = _graph().invoke({"turn": turn})
        return policy.beside(slots.noted(done["turn"]))


def answer_question(
    question: str,
    bases: Iterable[KnowledgeBase],
    history: Iterable[Said] = (),
    emit: Callable[..., None] | None = None,
) -> Answered:
    """Answer outside a conversation, by the same steps: see `answered`."""
    turn = outside(question, bases, history)
    if emit:
        turn.emit = emit
    return answered(turn)


def answered(turn: TurnState) -> Answered:
    """What a turn that no conversation has comes to; nothing is written and nobody called.

    Raises Outdated when what it cites does not answer any more.
    """
    turn.tuned = configurations.overrides()
    done = run(turn)
    if not citing.current(done.sources):
        raise citing.Outdated
    citations = [
        {
            "chunk": passage.chunk_id,
            "document": passage.document_id,
            "external_id": passage.external_id,
            "title": passage.title,
            "page": passage.page,
            "locator": passage.locator,
            "quote": passage.text,
        }
        for passage in done.sources
    ]
    guessed = any(check["verdict"] == "guessed" for check in done.trace.get("checks", ()))
    return Answered(done.outcome, done.text, citations, done.confidence, guessed)


def outside(
    question: str, bases: Iterable[KnowledgeBase], history: Iterable[Said] = ()
) -> TurnState:
    """A turn that no conversation has."""
    pasted = pasting.read(question)
    return TurnState(
        masked(pasted.question),
        list(bases),
        [replace(said, text=masked(said.text)) for said in history],
        attached=masked(pasted.attached),
        deadline=time.monotonic() + settings.TURN_SECONDS,
    )


def _timed(step: Step) -> Callable[[_State], _State]:
    """The step as a node that tells the watchers it began and the trace how long it took."""

    def node(state: _State) -> _State:
        turn = state["turn"]
        turn.emit("step", step=step.__name__)
        begun = time.perf_counter()
        turn = step(turn)
        steps = turn.trace.setdefault("steps", {})
        steps[step.__name__] = round((time.perf_counter() - begun) * 1000, 1)
        return {"turn": turn}

    return node


def _next(then: str) -> Callable[[_State], str]:
    """After a step: to the end when it ended the turn, to a person when it asked for one."""

    def choose(state: _State) -> str:
        turn = state["turn"]
        if turn.reason:
            return "escalate"
        return "end" if turn.outcome else then

    return choose


@cache
def _graph() -> Any:
    # LangGraph takes seconds to import, and would report to LangSmith if the environment said so.
    os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"
    from langgraph.graph import END, START, StateGraph

    graph: Any = StateGraph(_State)
    for step in (clarify, recall, answer, escalate):
        graph.add_node(step.__name__, _timed(step))
    ways = {"escalate": "escalate", "recall": "recall", "answer": "answer", "end": END}
    graph.add_edge(START, "clarify")
    graph.add_conditional_edges("clarify", _next("recall"), ways)
    graph.add_conditional_edges("recall", _next("answer"), ways)
    graph.add_conditional_edges("answer", _next("end"), ways)
    graph.add_edge("escalate", END)
    return graph.compile()
