"""What the four steps pass on: one turn in the making."""

import datetime
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from chat.models import Topic, Turn
from chat.topics.collecting import Collecting
from knowledge.models import KnowledgeBase
from knowledge.retrieval import Passage, Retrieval
from knowledge.scope import EVERYTHING, Scope

Reason = Literal["asked", "unhappy", "stuck", "no_answer", "failed"]


@dataclass(frozen=True)
class Said:
    """A message that came before the question."""

    role: str  # a value of chat.models.Message.Role
    text: str
    outcome: str = ""  # of the turn it asked for, or answered: a value of Turn.Outcome
    scope: dict[str, Any] = field(default_factory=dict)  # that it was asked within


def _silent(kind: str, **data: Any) -> None:
    """Nobody watches."""


def _never() -> bool:
    return False


@dataclass
class TurnState:
    """A question on its way through clarify, recall, answer and escalate."""

    question: str
    bases: Iterable[KnowledgeBase]
    history: list[Said] = field(default_factory=list)  # oldest first
    # What the previous turn asked back for: {"question": …, "missing": [slot, …]}, or a choice:
    # that of `chat.ambiguity.as_pending`.
    asked: dict[str, Any] = field(default_factory=dict)
    scope: Scope = EVERYTHING
    emit: Callable[..., None] = _silent  # emit("step", step=…), emit("delta", text=…)
    guesses: bool = False  # nobody can be asked which one is meant: the best answers
    deadline: float = field(default_factory=lambda: time.monotonic() + 120)  # of time.monotonic()
    cancelled: Callable[[], bool] = _never
    hints: list[dict[str, Any]] = field(default_factory=list)  # that leave with the reply
    # The turn's row with its conversation; None outside a conversation. Its message is unmasked.
    row: Turn | None = None

    # What a pasted log or a screenshot says, in few lines: sought with the question. This, the
    # question and the history are masked (`knowledge.masking`); the message itself is not.
    attached: str = ""
    unread: list[str] = field(default_factory=list)  # names of uploads that nobody could read
    # Of earlier turns as `chat.policy` counts them, newest first; None outside a conversation.
    past: list[Any] | None = None
    summary: str = ""  # of what was said before `history`: `chat.remembering`

    intent: str = ""  # beside a question: a name of `chat.understanding`
    mood: str = ""  # "urgent", "upset" or, for most, ""
    query: str = ""  # the question made complete
    # The document that the customer picked to be answered from, and its chunks that are the place.
    picked: tuple[int, list[int]] | None = None
    gone: str = ""  # what was picked, and answers no more
    retrieval: Retrieval | None = None
    outcome: str = ""  # a value of Turn.Outcome, set by the step that ends the turn
    reason: Reason | None = None  # why a person is needed
    text: str = ""  # what is said, Markdown with citation marks
    sources: list[Passage] = field(default_factory=list)  # cited: mark [n] is sources[n - 1]
    tools: Any = None  # what tools are there and were asked for: chat.tools.acting
    searches: list[str] = field(default_factory=list)  # other queries to look for as well
    # Short tasks to queue with the reply: dotted names and the id each is given.
    after: list[tuple[str, int]] = field(default_factory=list)
    options: list[str] = field(default_factory=list)  # ready replies to offer
    pending: dict[str, Any] = field(default_factory=dict)  # slots asked for now
    # What was told of topics in this conversation, latest first, and of which this turn tells.
    collected: list[Collecting] = field(default_factory=list)
    collecting: Collecting | None = None
    topics: list[Topic] | None = None  # that count here, once they were looked up
    rules: Any = None  # what staff set, as this turn found it: chat.rules
    today: datetime.date | None = None  # by which "yesterday" is told; None: the server's day
    topic: str = ""  # the name of the one the question is about
    slots: dict[str, str] = field(default_factory=dict)  # told of it; "" is not known
    unseen: list[str] = field(default_factory=list)  # things named that no asked base knows
    confidence: float | None = None
    mode: str = ""  # "model", "extractive" or, after a model failed, "extractive-fallback"
    degraded: list[str] = field(default_factory=list)  # names of `chat.degrading`: what failed
    tuned: dict[str, Any] = field(default_factory=dict)  # what holds for it: `opsdesk.tuning`
    kept_as: str = ""  # digest by which the answer may be given again (`chat.kept`)
    trace: dict[str, Any] = field(default_factory=dict)

    def end(self, outcome: Turn.Outcome, text: str) -> "TurnState":
        self.outcome, self.text = outcome.value, text
        return self

    def call_person(self, reason: Reason) -> "TurnState":
        self.reason = reason
        return self

    @property
    def sought(self) -> str:
        """What is looked for: the complete question, and what was pasted with it."""
        return f"{self.query}\n{self.attached}" if self.attached else self.query

    def check(self, name: str, verdict: str, **details: Any) -> None:
        """Note for staff what a check of the question or the answer found."""
        self.trace.setdefault("checks", []).append({"check": name, "verdict": verdict, **details})

    def degrade(self, name: str) -> None:
        """Note that the answer is made without something that is configured and failed."""
        if name not in self.degraded:
            self.degraded.append(name)

    def used(
        self,
        prompt_name: str,
        sha256: str,
        model: str,
        tokens_in: int | None,
        tokens_out: int | None,
        ms: float,
        way: str = "",
    ) -> None:
        """Note a request to a model: the prompt with the digest of its file, the tokens as the
        server counted them (None when it did not say), how long it took, and by which way of
        `chat.llms` it was asked."""
        self.trace.setdefault("prompts", []).append(
            {
                "prompt": prompt_name,
                "sha256": sha256,
                "model": model,
                "tokens_in": tokens_in,
                "tokens_out": tokens_out,
                "ms": round(ms, 1),
                "way": way,
            }
        )

    def previous_question(self) -> str:
        """The last thing asked that was about something, "" when there is none."""
        previous = self.previous()
        return previous.text if previous else ""

    def previous(self) -> Said | None:
        topical = {Turn.Outcome.ANSWERED, Turn.Outcome.CLARIFYING, Turn.Outcome.HANDOFF}
        for said in reversed(self.history):
            if said.role == "customer" and said.outcome in topical:
                return said
        return None

    def previous_scope(self) -> Scope:
        previous = self.previous()
        return Scope.of(previous.scope) if previous else EVERYTHING

    def was_answered(self) -> bool:
        return any(said.outcome == Turn.Outcome.ANSWERED for said in self.history)
