"""Last step, when a person seems needed: say why, or offer one first where the policy wants it.
`chat.turns.finish` calls that one."""

from django.utils.translation import gettext as _

from chat import degrading, policy, slots
from chat.models import Turn
from chat.state import TurnState


def escalate(turn: TurnState) -> TurnState:
    """Say why a person is needed. That one is called is the desk's to say, once it is true."""
    assert turn.reason is not None  # noqa: S101
    if turn.reason == "no_answer":
        if slots.unsure(turn):
            return turn
        found = policy.verdict(turn, unsure=True)
        if found.action == "offer":
            turn.reason, turn.sources = None, []
            return policy.offer(turn, found)
        turn.reason = policy.reason(found)
    turn.sources, turn.options = [], []
    if turn.reason == "failed":
        turn.degrade(degrading.PERSON)
    outcome = Turn.Outcome.FAILED if turn.reason == "failed" else Turn.Outcome.HANDOFF
    return turn.end(outcome, _why(turn))


def _why(turn: TurnState) -> str:
    texts = {
        "asked": "",
        "unhappy": _("I am sorry that I could not help."),
        "stuck": _("I am sorry, we are not getting any further."),
        "no_answer": policy.nothing_found(turn),
        "failed": _("I could not finish an answer because of a technical problem."),
    }
    return texts[turn.reason or "asked"]
