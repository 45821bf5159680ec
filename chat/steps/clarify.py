"""First step: what does the message want, and does it say enough to be looked for?"""

from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from chat import ambiguity, followups, understanding
from chat.models import Turn
from chat.state import TurnState
from knowledge import scope
from knowledge.models import Document

OPTIONS = 4


def clarify(turn: TurnState) -> TurnState:
    """Ends the turn with small talk or a question back, calls a person, or sets `query`."""
    intent = understanding.intent(turn.question, answered=turn.was_answered())
    turn.trace["intent"] = intent
    if intent == understanding.PERSON:
        return turn.call_person("asked")
    if intent in (understanding.UNHAPPY, understanding.ABUSE):
        return turn.call_person("unhappy")
    if intent == understanding.THANKS:
        return turn.end(Turn.Outcome.CHAT, _("You are welcome. Ask again whenever you like."))
    if intent == understanding.GREETING:
        return turn.end(
            Turn.Outcome.CHAT,
            _("Hello! I answer from the knowledge base, with sources. What can I do for you?"),
        )
    return _complete(turn)


def _complete(turn: TurnState) -> TurnState:
    """Make a question that can be looked for, or ask back, once, for what is missing."""
    vague = understanding.vague(turn.question, _names(turn))
    turn.trace["completed"] = bool(turn.asked)
    if turn.asked.get("choices"):
        return _chosen(turn)
    if turn.asked:
        turn.query = _joined(turn.asked, turn.question)
        return turn
    previous = turn.previous_question()
    if previous and vague:
        turn.query = previous
    elif previous:
        turn.query = followups.query(turn.question, previous)
    elif vague:
        return _ask_back(turn)
    else:
        turn.query = turn.question
    if turn.query != turn.question and not turn.scope:  # of the same product and version
        turn.scope = turn.previous_scope()
    return turn


def _chosen(turn: TurnState) -> TurnState:
    """The question with the choice that was made, or with what was said instead."""
    choice = ambiguity.chosen(turn.asked, turn.question)
    if choice:
        turn.query, turn.scope = choice.query, replace(turn.scope, **choice.scope)
        turn.check("ambiguity", "chosen", about=turn.asked["about"], choices=[choice.label])
    elif scope.fold(turn.question) == scope.fold(_("None of these")):
        turn.query = turn.asked["question"]
        turn.check("ambiguity", "none", about=turn.asked["about"])
        return turn.call_person("no_answer")
    else:
        turn.query = followups.query(turn.question, turn.asked["question"])
    return turn


def _joined(asked: dict[str, Any], told: str) -> str:
    """The question that a reply to `_ask_back` completes: "报错了" adds nothing, a name does."""
    return told if "product" in asked["missing"] else f"{asked['question']} {told}"


def _ask_back(turn: TurnState) -> TurnState:
    missing = understanding.missing(turn.question)
    turn.pending = {"question": turn.question, "missing": missing}
    turn.options = _options(turn)
    wanted = {
        "product": _("Which product or system is it about?"),
        "error": _("What does it say exactly (error text or code)?"),
        "done": _("What did you do before it happened, or want to do?"),
    }
    lines = [f"- {wanted[slot]}" for slot in missing]
    text = _("I need to know a little more to find the right answer:") + "\n\n" + "\n".join(lines)
    return turn.end(Turn.Outcome.CLARIFYING, text)


def _names(turn: TurnState) -> list[str]:
    return [base.name for base in turn.bases]


def _options(turn: TurnState) -> list[str]:
    """Titles that contain a bare name, else the bases to choose from when there are several."""
    names = _names(turn)
    if "product" in turn.pending["missing"]:
        return names[:OPTIONS] if len(names) > 1 else []
    titles = Document.objects.filter(
        scope.answering(),
        knowledge_base__in=turn.bases,
        title__icontains=turn.question.strip(),
        current__isnull=False,
    )
    return list(titles.order_by("title").values_list("title", flat=True)[:OPTIONS])
