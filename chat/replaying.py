"""What another policy would have done: the facts of past turns weighed again."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import Q

from chat import policy
from chat.models import EscalationPolicy, Turn
from chat.policy import Facts, Verdict

TURNS = 200
EXAMPLES = 8


@dataclass(frozen=True)
class Example:
    turn: Turn
    now: Verdict
    then: Verdict


@dataclass
class Replay:
    """How often each action is taken by the policy as it is and as it would be, by "call",
    "offer" and "go_on"."""

    turns: int = 0
    now: Counter[str] = field(default_factory=Counter)
    then: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    examples: list[Example] = field(default_factory=list)  # of what changes, latest first


def replay(draft: EscalationPolicy) -> Replay:
    """The last TURNS turns that `draft` would hold for. What the conversations would have gone on
    to be after another decision, nobody knows: each turn is weighed as it was."""
    current = EscalationPolicy.of(draft.knowledge_base_id)
    found = Replay()
    for turn in _turns(draft.knowledge_base_id):
        facts = _facts(turn)
        now, then = policy.decide(current, facts), policy.decide(draft, facts)
        found.turns += 1
        found.now[now.action.replace(" ", "_")] += 1
        found.then[then.action.replace(" ", "_")] += 1
        if now.action != then.action:
            found.changed += 1
            if len(found.examples) < EXAMPLES:
                found.examples.append(Example(turn, now, then))
    return found


def _turns(base_id: int | None) -> Iterable[Turn]:
    undecided = [Turn.Outcome.DISCARDED, Turn.Outcome.FAILED]
    turns = Turn.objects.filter(status=Turn.Status.DONE).exclude(outcome__in=undecided)
    if base_id:
        turns = turns.filter(trace__policy__base=base_id)
    else:
        own = EscalationPolicy.objects.exclude(knowledge_base=None).values("knowledge_base")
        of_others = Q(trace__policy__base__in=[row["knowledge_base"] for row in own])
        turns = turns.exclude(of_others, trace__policy__base__isnull=False)
    return turns.select_related("message").order_by("-pk")[:TURNS]


def _facts(turn: Turn) -> Facts:
    """As they were noted; of small talk and kept answers nothing was: nothing applies there."""
    noted = turn.trace.get("policy", {}).get("facts")
    return Facts(**noted) if noted else Facts("", "", 0, 0, 0, False)
