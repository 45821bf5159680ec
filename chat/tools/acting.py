"""The tools of one turn: taken up by words, chosen by a model, used at most ROUNDS times."""

from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from chat import dangers, rules, understanding
from chat.models import ToolCall, Turn
from chat.state import TurnState
from chat.tools import calling, choosing, http, registry
from chat.tools.base import Tool
from chat.tools.choosing import Choice
from chat.topics.schema import Field, fields
from opsdesk.sealing import seal, unseal

ROUNDS = 5
MODE = "tool"
ASKED_AGAIN = 2  # times that an argument is asked for
CHOICES = 8  # ready replies

Status = ToolCall.Status


@dataclass
class Tools:
    """What a turn knows of tools."""

    offered: list[Tool] = field(default_factory=list)
    wanted: list[Choice] = field(default_factory=list)  # by words
    confirmed: ToolCall | None = None  # that this message says yes to
    asked: int = 0  # times that the missing argument was asked for


def offered(turn: TurnState) -> list[Tool]:
    """The tools that whoever asks may use; none outside a conversation."""
    if turn.row is None:
        return []
    if turn.tools is None:
        asker = calling.asker_of(turn.row.conversation, turn.bases)
        turn.tools = Tools(registry.offered(asker, rules.of(turn).tools))
    there: list[Tool] = turn.tools.offered
    return there


def takes(turn: TurnState) -> bool:
    """Whether the message is for a tool, by what it says or by what was asked before it.

    Then it is not read as a question; what it came to is `act`'s, unless it ended here.
    """
    pending, turn.asked = turn.asked.get("tool"), ({} if "tool" in turn.asked else turn.asked)
    if turn.row is None or not offered(turn):
        return False
    intent = understanding.intent(turn.question, answered=turn.was_answered())
    displeased = intent in (understanding.PERSON, understanding.UNHAPPY, understanding.ABUSE)
    if pending and not displeased:
        reply = _reply_to_call if "call" in pending else _reply_to_question
        if reply(turn, turn.tools, pending):
            return True
    if pending and "call" in pending:  # only the very next message counts
        calling.cancel(pending["call"])
    if not displeased:
        turn.tools.wanted = choosing.by_words(turn.row.message.text, turn.tools.offered)
    return bool(turn.tools.wanted)


def act(turn: TurnState) -> TurnState:
    """Use the tools that the turn wants: ends it with what they say, calls a person, adds to what
    is looked for, or leaves it as it is."""
    tools: Tools | None = turn.tools
    if tools is None:
        return turn
    outcomes: list[calling.Outcome] = []
    done: list[dict[str, Any]] = []
    always = registry.names()
    by_model = any(tool.name not in always for tool in tools.offered)
    for _round in range(ROUNDS):
        if tools.confirmed:
            choice, outcome = _confirmed(turn, tools, tools.confirmed)
            tools.confirmed = None
        else:
            wanted = _next(turn, tools, done if by_model else None)
            if wanted is None:
                break
            choice = wanted
            if one := choice.missing():
                if choice.by == "model" and _asked_before(turn, choice.tool):
                    break
                return _ask_for(turn, outcomes, choice, one, tools.asked)
            outcome = calling.call(choice.tool, choice.arguments, turn)
        done.append(_note(turn, choice, outcome))
        if outcome.status == Status.ASKED:
            return _ask(turn, [*outcomes, outcome], outcome.options, outcome.pending)
        if outcome.result and outcome.result.person:
            return turn.call_person("asked")
        if outcome.result and outcome.result.query:
            _look_for(turn, outcome.result.query)
        else:
            outcomes.append(outcome)
    return _say(turn, outcomes) if outcomes else turn


def _next(turn: TurnState, tools: Tools, done: list[dict[str, Any]] | None) -> Choice | None:
    """What to do next; nothing that was done already. `done`: None when no model is asked."""
    if tools.wanted:
        return tools.wanted.pop(0)
    if done is None or any(one["by"] == "words" for one in done):
        return None
    choice = choosing.by_model(turn, tools.offered, done)
    if choice is None:
        return None
    called = {"tool": choice.tool.name, "arguments": calling.masked(choice.arguments)}
    return None if any(called.items() <= one.items() for one in done) else choice


def _note(turn: TurnState, choice: Choice, outcome: calling.Outcome) -> dict[str, Any]:
    """Into the trace; and what a model is told of it, which is nothing of its result."""
    noted = {
        "tool": choice.tool.name,
        "arguments": calling.masked(choice.arguments),
        "status": outcome.status,
        "by": choice.by,
    }
    turn.trace.setdefault("tools", []).append(noted)
    turn.check("tool", outcome.status, tool=choice.tool.name, by=choice.by)
    return noted


def _look_for(turn: TurnState, query: str) -> None:
    turn.trace.setdefault("searches", []).append(query)
    if turn.query:
        turn.searches.append(query)
    else:
        turn.query = query


def _joined(outcomes: list[calling.Outcome]) -> str:
    return "\n\n".join(outcome.text for outcome in outcomes)


def _say(turn: TurnState, outcomes: list[calling.Outcome]) -> TurnState:
    text = _joined(outcomes)
    if dangers.found(http.unescaped(text)):  # only approved documents may show such a command
        turn.check("tool", "dangerous")
        return turn.call_person("no_answer")
    turn.mode = MODE
    turn.options = list(dict.fromkeys(one for outcome in outcomes for one in outcome.options))
    answered = any(outcome.status == Status.DONE for outcome in outcomes)
    return turn.end(Turn.Outcome.ANSWERED if answered else Turn.Outcome.CHAT, text)


# --- asking back, and what is replied ------------------------------------------------------


def _ask(
    turn: TurnState, outcomes: list[calling.Outcome], options: list[str], pending: dict[str, Any]
) -> TurnState:
    """End the turn with a question, after what was found out before it."""
    turn.mode, turn.options, turn.pending = MODE, options, {"tool": pending}
    return turn.end(Turn.Outcome.CLARIFYING, _joined(outcomes))


def _asked_before(turn: TurnState, tool: Tool) -> bool:
    """Whether something was asked for `tool` in this conversation: a model that goes on choosing it
    may be wrong, and the knowledge is to be searched."""
    assert turn.row is not None  # noqa: S101
    before = turn.row.conversation.turns.filter(pk__lt=turn.row.pk)
    return before.filter(pending__tool__name=tool.name).exists()


def _ask_for(
    turn: TurnState, outcomes: list[calling.Outcome], choice: Choice, one: Field, asked: int
) -> TurnState:
    """Ask for an argument that is missing."""
    pending = {
        "name": choice.tool.name,
        "arguments": seal(choice.arguments),  # turns are kept for long
        "field": one.name,
        "asked": asked + 1,
    }
    text = one.ask
    if asked and one.examples:
        text = _("%(ask)s For example: %(examples)s") % {
            "ask": one.ask,
            "examples": _(", ").join(one.examples),
        }
    outcomes = [*outcomes, calling.Outcome(Status.ASKED, text)]
    return _ask(turn, outcomes, [*one.choices[:CHOICES], _("Cancel")], pending)


def _reply_to_question(turn: TurnState, tools: Tools, pending: dict[str, Any]) -> bool:
    assert turn.row is not None  # noqa: S101
    text, tool = turn.row.message.text, _named(tools, pending["name"])
    if tool is None:
        return False
    one = next((one for one in fields(tool.schema) if one.name == pending["field"]), None)
    if one is None:
        return False
    if choosing.cancels(text):
        turn.end(Turn.Outcome.CHAT, _("All right. Ask again whenever you like."))
        return True
    told = choosing.told_now(tool, one, text)
    if not told and (pending["asked"] >= ASKED_AGAIN or not choosing.tries(text)):
        return False
    tools.asked = 0 if told else pending["asked"]
    before = unseal(pending["arguments"]) or {}
    tools.wanted = [Choice(tool, {**before, **told}, "words")]
    return True


def _reply_to_call(turn: TurnState, tools: Tools, pending: dict[str, Any]) -> bool:
    """A confirmation of that very call, or its end; a mere "yes" is asked once more."""
    assert turn.row is not None  # noqa: S101
    text, row = turn.row.message.text, turn.row
    record = ToolCall.objects.filter(pk=pending["call"], conversation=row.conversation).first()
    if record is None:
        return False
    if choosing.confirms(text):
        if calling.confirm(record, row):
            tools.confirmed = record
        else:
            calling.cancel(record.pk)
            turn.end(Turn.Outcome.CHAT, _("This can no longer be confirmed. Please ask again."))
        return True
    if choosing.cancels(text) or understanding.yes_or_no(text) is False:
        calling.cancel(record.pk)
        turn.end(Turn.Outcome.CHAT, _("Cancelled. Nothing was done."))
        return True
    tool = _named(tools, record.tool)
    if tool and record.status == Status.ASKED and understanding.yes_or_no(text):
        outcome = calling.ask(tool, record, unseal(record.sealed) or {})
        hint = calling.Outcome(Status.ASKED, _("Please reply “Confirm” or “Cancel”."))
        _ask(turn, [outcome, hint], outcome.options, outcome.pending)
        return True
    return False


def _confirmed(turn: TurnState, tools: Tools, record: ToolCall) -> tuple[Choice, calling.Outcome]:
    """Do what was confirmed, if it is still the same."""
    assert turn.row is not None  # noqa: S101
    asker = calling.asker_of(turn.row.conversation, turn.bases)
    tool, arguments = _named(tools, record.tool), unseal(record.sealed) or {}
    if tool is None or not calling.same(tool, record, arguments, asker):
        calling.close(record, Status.REFUSED, error=_("It was changed after it was proposed."))
        changed = _("This was changed in the meantime and has not been done. Please ask again.")
        gone = tool or Tool.called(record.tool)
        return Choice(gone, {}, "words"), calling.Outcome(Status.REFUSED, changed)
    outcome = calling.make(tool, record, arguments, turn, asker)
    return Choice(tool, arguments, "words"), outcome


def _named(tools: Tools, name: str) -> Tool | None:
    return next((tool for tool in tools.offered if tool.name == name), None)
