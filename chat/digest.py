"""A conversation in a few lines, for the person who takes it over."""

from django.utils.translation import gettext as _

from chat import unseen
from chat.models import Conversation, Message, Turn

LINES = 6  # questions told
LENGTH = 160  # characters of each


def summary(conversation: Conversation, reason: str) -> str:
    """What was asked, what OpsDesk said to it and what it knows beside, a line each."""
    turns = Turn.objects.filter(conversation=conversation).select_related("message", "reply")
    lines = [line for turn in list(turns.order_by("-pk")[:LINES])[::-1] for line in _told(turn)]
    return "\n".join(lines) or _("Nothing was asked yet.")


def _told(turn: Turn) -> list[str]:
    lines = [_("Asked: %(text)s") % {"text": _short(turn.message)}]
    if turn.reply and turn.outcome == Turn.Outcome.ANSWERED:
        cited = "; ".join(turn.reply.citations.values_list("title", flat=True))
        lines.append(
            _("Answered: %(text)s (%(sources)s)") % {"text": _short(turn.reply), "sources": cited}
        )
    elif turn.reply and turn.outcome == Turn.Outcome.CLARIFYING:
        lines.append(_("Asked back: %(text)s") % {"text": _short(turn.reply)})
    for check in turn.trace.get("checks", []):
        if check["check"] == "unseen":
            lines.append(unseen.told(check["names"]))
    query = turn.trace.get("query", "")
    if query and query != turn.message.text:
        lines.append(_("Searched for: %(query)s") % {"query": query[:LENGTH]})
    return lines


def _short(message: Message) -> str:
    text = " ".join(message.text.split())
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"
