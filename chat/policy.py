"""Whether a turn goes on, offers a person or calls one, by the policy that staff chose.

What is weighed: what the customer wants, their mood, rounds without progress, and whether there
is an answer that can be relied on. All of it stands in rows, so that the same is decided again
when a step runs twice, and staff can replay what another policy would have done.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from django.utils.translation import gettext as _

from chat import understanding, unseen
from chat.models import EscalationPolicy, Turn
from chat.state import Reason, TurnState
from knowledge.scope import fold

Action = Literal["go on", "offer", "call"]
Because = Literal["", "asked", "unhappy", "abuse", "rounds", "unsure", "mood"]

REASONS: dict[Because, Reason] = {
    "asked": "asked",
    "unhappy": "unhappy",
    "abuse": "unhappy",
    "rounds": "stuck",
    "unsure": "no_answer",
    "mood": "unhappy",
}
LOOKED_AT = 12  # earlier turns
_STRENGTH = {"go on": 0, "offer": 1, "call": 2}


@dataclass(frozen=True)
class Verdict:
    action: Action
    because: Because = ""


@dataclass(frozen=True)
class Past:
    """What an earlier turn was, as far as it counts."""

    query: str  # folded
    intent: str
    outcome: str  # a value of Turn.Outcome
    action: str = ""  # of the verdict then
    told: int = 0  # values of slots that were known after it
    disliked: bool = False  # rated 👎


@dataclass(frozen=True)
class Facts:
    """What a verdict rests on."""

    intent: str
    mood: str
    rounds: int  # without progress, this one too
    complaints: int  # since a person was there last, this one too
    offers: int  # made since then
    unsure: bool


def verdict(turn: TurnState, *, unsure: bool = False) -> Verdict:
    """What to do with `turn`; `unsure`: no reliable answer to it was found. Noted in its trace."""
    facts = _facts(turn, unsure)
    found = decide(EscalationPolicy.of(_base(turn)), facts)
    if turn.past is None and found.action == "offer":  # nobody is there to take an offer up
        found = Verdict("call" if unsure else "go on", found.because)
    turn.trace["policy"] = {**asdict(found), "facts": asdict(facts)}
    return found


def reason(found: Verdict) -> Reason:
    return REASONS[found.because]


def decide(policy: EscalationPolicy, facts: Facts) -> Verdict:
    """The strongest of what applies; of equals the first."""
    applies = list(_applying(policy, facts))
    best = max(applies, key=lambda one: _STRENGTH[one.action], default=Verdict("go on"))
    if best.action == "go on":
        return Verdict("go on")
    if policy.offer_first and best.because != "asked" and not facts.offers:
        return Verdict("offer", best.because)
    return best


def _applying(policy: EscalationPolicy, facts: Facts) -> Any:
    if facts.intent == understanding.PERSON:
        # Who asks again after an offer has taken it up.
        yield Verdict("call" if facts.offers else _action(policy.asked), "asked")
    if facts.intent == understanding.UNHAPPY:
        yield Verdict(_action(policy.unhappy, facts.complaints >= policy.unhappy_times), "unhappy")
    if facts.intent == understanding.ABUSE:
        yield Verdict(_action(policy.abuse), "abuse")
    if facts.rounds >= policy.rounds_times:
        yield Verdict(_action(policy.rounds), "rounds")
    if facts.unsure:
        yield Verdict(_action(policy.unsure), "unsure")
    if facts.mood:
        yield Verdict(_action(policy.mood), "mood")


def _action(does: str, often: bool = False) -> Action:
    if does == EscalationPolicy.Does.LATER:
        return "call" if often else "offer"
    return "call" if does == "call" else "offer" if does == "offer" else "go on"


def _base(turn: TurnState) -> int | None:
    """The base whose policy holds: the only one asked, else that of the best passage."""
    bases = list(turn.bases)
    if len(bases) == 1:
        return bases[0].pk
    if turn.retrieval and turn.retrieval.passages:
        return turn.retrieval.passages[0].knowledge_base_id
    return None


def _facts(turn: TurnState, unsure: bool) -> Facts:
    past = turn.past or []
    return Facts(
        intent=turn.intent,
        mood=turn.mood,
        rounds=rounds(turn.intent, turn.query, past) + unsure,
        complaints=sum(one.intent == understanding.UNHAPPY for one in past)
        + (turn.intent == understanding.UNHAPPY),
        offers=sum(one.action == "offer" for one in past),
        unsure=unsure,
    )


def rounds(intent: str, query: str, past: Sequence[Past]) -> int:
    """How many rounds in a row brought the customer no further; `past` is newest first.

    A round leads nowhere when the customer complains of it or rates it 👎, when they ask the
    same again, when nothing was found, and when a question back got no new value.
    """
    count = int(_again(intent, query, past))
    newer_complains, told = bool(count), -1
    for one in past:
        if one.intent == understanding.THANKS:
            break
        if one.intent == understanding.UNHAPPY:
            count, newer_complains = count + 1, True
        elif one.disliked or one.action == "offer":
            count, newer_complains = count + 1, False
        elif one.outcome == Turn.Outcome.CLARIFYING:
            if told > one.told:  # what was asked for was given
                break
            count += told >= 0  # the newest one is being replied to now
        elif one.outcome == Turn.Outcome.ANSWERED and not newer_complains:
            break
        told = one.told
    return count


def _again(intent: str, query: str, past: Sequence[Past]) -> bool:
    """Whether this message itself shows that the round before led nowhere."""
    if intent == understanding.UNHAPPY:
        return True
    asked = fold(query)
    return bool(asked) and any(
        one.query == asked and one.outcome == Turn.Outcome.ANSWERED for one in past
    )


def past(turn: Turn) -> list[Past]:
    """The turns before `turn`, newest first, since a person was there last: the epoch rises with
    each change of who answers."""
    rows = Turn.objects.filter(
        conversation=turn.conversation_id,
        epoch=turn.epoch,
        pk__lt=turn.pk,
        status=Turn.Status.DONE,
    ).order_by("-pk")
    return [
        Past(
            query=fold(query or ""),
            intent=intent or "",
            outcome=outcome,
            action=action or "",
            told=len(slots) if isinstance(slots, dict) else 0,
            disliked=helpful is False,
        )
        for query, intent, outcome, action, slots, helpful in rows.values_list(
            "trace__query", "trace__intent", "outcome", "trace__policy__action", "trace__slots",
            "reply__rating__helpful",
        )[:LOOKED_AT]
    ]  # fmt: skip


def nothing_found(turn: TurnState) -> str:
    nothing = _("I found no reliable answer to this in the knowledge base.")
    return unseen.told(turn.unseen) or nothing


def offer(turn: TurnState, found: Verdict) -> TurnState:
    """End the turn with the offer of a person; the next message may say yes or no to it."""
    sorry = _("I am sorry that I could not help.")
    texts = {"unsure": nothing_found(turn), "unhappy": sorry, "rounds": sorry}
    question = _("Would you like to talk to a person?")
    turn.pending = {"offer": found.because, "question": turn.query or turn.question, "missing": []}
    turn.options = [_("Talk to a person"), _("No, thanks")]
    return turn.end(Turn.Outcome.CLARIFYING, f"{texts.get(found.because, '')} {question}".strip())
