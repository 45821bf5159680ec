"""Whether a turn goes on, offers a person or calls one, by the policy that staff chose.

What is weighed: what the customer wants, their mood, rounds without progress, and whether there
is an answer that can be relied on. All of it stands in rows, so that the same is decided again
when a step runs twice, and staff can replay what another policy would have done.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from chat import rules, understanding, unseen
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
    intent: str  # of `chat.understanding`, "question" for one
    outcome: str  # a value of Turn.Outcome; "" while it is made
    offered: str = ""  # why a person was offered, "" when none was
    told: int = 0  # fields of its topic that were known, or known not to be told
    disliked: bool = False  # rated 👎
    asked: dict[str, Any] = field(default_factory=dict)  # what it asked back for, or may be picked
    picked: str = ""  # which of the choices before it was picked


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
    facts, base = _facts(turn, unsure), _base(turn)
    found = decide(rules.of(turn).policy_of(base), facts)
    if turn.past is None and found.action == "offer":  # nobody is there to take an offer up
        found = Verdict("go on") if found.because == "mood" else Verdict("call", found.because)
    turn.trace["policy"] = {**asdict(found), "base": base, "facts": asdict(facts)}
    return found


def reason(found: Verdict) -> Reason:
    return REASONS[found.because]


def decide(policy: EscalationPolicy, facts: Facts) -> Verdict:
    """The strongest of what applies; of equals the first."""
    applies = list(_applying(policy, facts))
    best = max(applies, key=lambda one: _STRENGTH[one.action], default=Verdict("go on"))
    if best.action == "go on":
        return Verdict("go on")
    if policy.offer_first and best.because not in ("asked", "rounds") and not facts.offers:
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
    picked = turn.trace.get("picked", "")
    now = Past(fold(turn.query), turn.intent, turn.outcome, told=len(turn.slots), picked=picked)
    return facts_of(now, turn.past or [], turn.mood, unsure)


def facts_of(now: Past, past: Sequence[Past], mood: str, unsure: bool) -> Facts:
    complained = [one.intent == understanding.UNHAPPY for one in (now, *past)]
    return Facts(
        intent=now.intent,
        mood=mood,
        rounds=_rounds(now, past, unsure),
        complaints=sum(complained),
        offers=sum(bool(one.offered) for one in past),
        unsure=unsure,
    )


def _rounds(now: Past, past: Sequence[Past], unsure: bool) -> int:
    """How many rounds in a row brought the customer no further; `past` is newest first.

    A round leads nowhere when the customer complains of it or rates it 👎, when they ask the
    same again, when nothing was found, and when a question back was not answered.
    """
    complains = _complains(now, past)
    count, newer = int(complains or unsure), now
    for place, one in enumerate(past):
        if one.intent == understanding.THANKS or _went_on(one, newer, complains, unsure):
            break
        if one.outcome == Turn.Outcome.CHAT and one.intent != understanding.UNHAPPY:
            continue
        itself = _complains(one, past[place + 1 :])
        count += itself or one.outcome != Turn.Outcome.ANSWERED or (one.disliked and not complains)
        complains, newer = itself, one
    return count


def _went_on(one: Past, newer: Past, complains: bool, unsure: bool) -> bool:
    """Whether an earlier turn brought the customer further, seen by the `newer` one after it,
    which `complains` of it or not."""
    if one.outcome == Turn.Outcome.ANSWERED:
        return not complains and not one.disliked
    if one.outcome != Turn.Outcome.CLARIFYING or one.offered:
        return False
    being_made = not newer.outcome and not unsure  # what was replied is looked for now
    return bool(newer.picked) or newer.told > one.told or _fewer(one, newer) or being_made


def _fewer(one: Past, newer: Past) -> bool:
    """Whether a choice was answered by what is not meant."""
    before, left = (past.asked.get("choices", ()) for past in (one, newer))
    return 0 < len(left) < len(before) and newer.asked["question"] == one.asked["question"]


def _complains(now: Past, past: Sequence[Past]) -> bool:
    """Whether a message itself shows that the round before led nowhere."""
    if now.intent == understanding.UNHAPPY:
        return True
    return bool(now.query) and any(
        (one.query, one.picked, one.outcome) == (now.query, now.picked, Turn.Outcome.ANSWERED)
        for one in past
    )


_COLUMNS = (
    "trace__query", "trace__intent", "outcome", "trace__policy__action", "trace__policy__because",
    "trace__slots", "reply__rating__helpful", "pending", "trace__picked",
)  # fmt: skip


def past(turn: Turn) -> list[Past]:
    """The turns before `turn`, newest first, since a person was there last: the epoch rises with
    each change of who answers."""
    earlier = Turn.objects.filter(conversation=turn.conversation_id, pk__lt=turn.pk)
    return past_of(earlier.filter(epoch=turn.epoch))


def past_of(turns: QuerySet[Turn]) -> list[Past]:
    """The last of `turns` that are done, newest first."""
    rows = turns.filter(status=Turn.Status.DONE).order_by("-pk")
    return [_past(*row) for row in rows.values_list(*_COLUMNS)[:LOOKED_AT]]


def _past(
    query: str | None,
    intent: str | None,
    outcome: str,
    action: str | None,
    because: str | None,
    slots: dict[str, str] | None,
    helpful: bool | None,
    pending: dict[str, Any],
    picked: str | None,
) -> Past:
    offered = because if action == "offer" and because != "mood" else ""
    told = len(slots or {})
    waits = outcome == Turn.Outcome.CLARIFYING or "picked" in pending
    asked = pending if waits else {}
    return Past(
        fold(query or ""), intent or "", outcome, offered or "", told, helpful is False, asked,
        picked or "",
    )  # fmt: skip


def nothing_found(turn: TurnState) -> str:
    nothing = _("I found no reliable answer to this in the knowledge base.")
    return unseen.told(turn.unseen) or nothing


def beside(turn: TurnState) -> TurnState:
    """The offer of a person beside an answer or a question back, where the verdict wants it."""
    person = _("Talk to a person")
    offers = turn.trace.get("policy", {}).get("action") == "offer"
    ended = turn.outcome in (Turn.Outcome.ANSWERED, Turn.Outcome.CLARIFYING)
    if offers and ended and person not in turn.options:
        turn.options = [*turn.options, person]
    return turn


def offer(turn: TurnState, found: Verdict) -> TurnState:
    """End the turn with the offer of a person; the next message may say yes or no to it."""
    sorry = _("I am sorry that I could not help.")
    texts = {"unsure": nothing_found(turn), "unhappy": sorry, "rounds": sorry}
    question = _("Would you like to talk to a person?")
    turn.pending = {"offer": found.because, "question": turn.query or turn.question, "missing": []}
    turn.options = [_("Talk to a person"), _("No, thanks")]
    return turn.end(Turn.Outcome.CLARIFYING, f"{texts.get(found.because, '')} {question}".strip())
