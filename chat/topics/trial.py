"""A conversation with topics that is only tried: the steps of a real one, and nothing written."""

import datetime
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from chat.models import Topic, Turn
from chat.state import Said, TurnState
from chat.steps.clarify import clarify
from chat.topics.collecting import Collecting
from chat.topics.schema import fields
from knowledge.masking import masked
from knowledge.models import KnowledgeBase

MESSAGES = 20  # that a trial takes
SECONDS = 20.0  # for a model, over all of them


@dataclass(frozen=True)
class Step:
    said: str
    topic: str = ""  # its name, "" when the message is about none
    values: dict[str, str] = field(default_factory=dict)  # all told so far; "" is not known
    shown: list[tuple[str, str]] = field(default_factory=list)  # these with their labels
    reply: str = ""  # Markdown: what is said at once
    asked: bool = False  # whether that asks for a field
    options: list[str] = field(default_factory=list)
    query: str = ""  # what is looked for, when nothing (more) is asked
    scope: str = ""  # and only there
    person: bool = False  # is called


def play(
    topics: Sequence[Topic],
    messages: Iterable[str],
    bases: Sequence[KnowledgeBase] = (),
    today: datetime.date | None = None,
) -> list[Step]:
    """What becomes of each of `messages`, said one after the other: by the first step itself,
    with the model where one is configured and SECONDS suffice."""
    before: list[TurnState] = []
    steps: list[Step] = []
    until = time.monotonic() + SECONDS
    for said in messages:
        turn = clarify(_turn(said, before, topics, bases, today, until))
        steps.append(_step(said, turn))
        if not turn.outcome:
            turn.end(Turn.Outcome.ANSWERED, "")
        before.append(turn)
    return steps


def _turn(
    said: str,
    before: Sequence[TurnState],
    topics: Sequence[Topic],
    bases: Sequence[KnowledgeBase],
    today: datetime.date | None,
    until: float,
) -> TurnState:
    turn = TurnState(masked(said), bases, today=today, topics=list(topics), deadline=until)
    turn.history = [Said("customer", one.question, one.outcome) for one in before]
    turn.asked = before[-1].pending if before else {}
    latest: dict[int | None, Collecting] = {}
    for one in reversed(before):
        if one.collecting is not None:
            latest.setdefault(one.collecting.topic, one.collecting)
    turn.collected = list(latest.values())
    return turn


def _step(said: str, turn: TurnState) -> Step:
    held = turn.collecting
    topic = next((one for one in turn.topics or () if held and one.pk == held.topic), None)
    labels = {one.name: one.label for one in fields(topic.schema)} if topic else {}
    told = {labels[name]: value for name, value in turn.slots.items() if name in labels}
    return Step(
        said=said,
        topic=turn.topic,
        values=turn.slots,
        shown=[(label, value or _("not told")) for label, value in told.items()],
        reply=turn.text,
        asked=turn.outcome == Turn.Outcome.CLARIFYING and bool(turn.topic),
        options=turn.options,
        query="" if turn.outcome or turn.reason else turn.query,
        scope=" ".join(
            filter(None, (turn.scope.product, turn.scope.version, turn.scope.environment))
        ),
        person=turn.reason is not None,
    )
