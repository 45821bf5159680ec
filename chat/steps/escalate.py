"""Last step, when a person is needed: say why. `chat.turns.finish` calls that one."""

from django.utils.translation import gettext as _

from chat import unseen
from chat.models import Turn
from chat.state import TurnState


def escalate(turn: TurnState) -> TurnState:
    """Say why a person is needed. That one is called is the desk's to say, once it is true."""
    texts = {
        "asked": "",
        "unhappy": _("I am sorry that I could not help."),
        "no_answer": unseen.told(turn.unseen)
        or _("I found no reliable answer to this in the knowledge base."),
        "failed": _("I could not finish an answer because of a technical problem."),
    }
    assert turn.reason is not None  # noqa: S101
    turn.sources, turn.options = [], []
    outcome = Turn.Outcome.FAILED if turn.reason == "failed" else Turn.Outcome.HANDOFF
    return turn.end(outcome, texts[turn.reason])
