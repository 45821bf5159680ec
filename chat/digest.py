"""A conversation in a few lines, for the person who takes it over."""

import re

from django.utils.translation import gettext as _

from chat import slots, unseen
from chat.models import Conversation, Message, Summary, Turn

LINES = 6  # questions told …
MORE = 10  # … behind a summary, which may be a few messages old
LENGTH = 160  # characters of each
_HEADING = re.compile(r"^#{1,6} ")


def summary(conversation: Conversation, reason: str) -> str:
    """What was said long ago, what was told, and of late what was asked, what OpsDesk said to it
    and what it knows beside, a line each."""
    earlier = Summary.objects.filter(conversation=conversation).first()
    turns = Turn.objects.filter(conversation=conversation).select_related("message", "reply")
    if earlier:
        turns = turns.filter(message__seq__gt=earlier.upto)
    late = list(turns.order_by("-pk")[: MORE if earlier else LINES])[::-1]
    lines = [_("Earlier: %(text)s") % {"text": line} for line in _lines(earlier)]
    known = "; ".join(f"{label}: {value}" for label, value in slots.collected(conversation))
    if known:
        lines.append(_("Told: %(facts)s") % {"facts": known})
    lines += [line for turn in late for line in told(turn)]
    return "\n".join(lines) or _("Nothing was asked yet.")


def _lines(earlier: Summary | None) -> list[str]:
    return earlier.text.splitlines() if earlier else []


def told(turn: Turn) -> list[str]:
    """A turn in a line or two."""
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
    """Without the marks of headings and what stands in tables, which says little on one line."""
    lines = [_HEADING.sub("", line) for line in message.text.splitlines()]
    told = [line for line in lines if not line.lstrip().startswith("|")]
    text = " ".join(" ".join(told or lines).split())
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"
