"""First step: what does the message want, and does it say enough to be looked for?"""

from dataclasses import asdict
from typing import Any

from django.utils.translation import gettext as _

from chat import (
    ambiguity,
    followups,
    kinds,
    offering,
    picking,
    policy,
    reading,
    slots,
    tools,
    understanding,
)
from chat.models import Turn
from chat.state import TurnState
from knowledge import scope, terms
from knowledge.masking import masked
from knowledge.models import Document
from knowledge.scope import Scope

OPTIONS = 4


def clarify(turn: TurnState) -> TurnState:
    """Ends the turn with small talk or a question back, calls a person, or sets `query`."""
    turn.trace |= {"intent": reading.QUESTION, "intent_by": "rules", "mood": reading.CALM}
    if turn.asked.get("offer") and _replied_to_offer(turn):
        return turn
    picked = turn.asked if turn.asked.get("picked") else {}
    if not turn.asked and _replied_late(turn):
        return turn if turn.outcome or turn.reason else _weighed(turn)
    if turn.asked.get("choices") and _replied_to_choice(turn):
        return turn if turn.outcome or turn.reason else _weighed(turn)
    if tools.takes(turn):
        return turn
    read = _read(turn)
    if turn.intent in (understanding.PERSON, understanding.UNHAPPY, understanding.ABUSE):
        return _displeased(turn)
    if turn.intent:
        if turn.intent == understanding.CHAT:
            turn.options = [_("Talk to a person")]
        return turn.end(Turn.Outcome.CHAT, _small_talk(turn.intent))
    if not slots.fill(turn, read) and not turn.query:
        _complete(turn, read.question if read else "")
        if picked and turn.query and _follows(turn):
            _stay(turn, picked)
    return turn if turn.reason else _weighed(turn)


def _weighed(turn: TurnState) -> TurnState:
    """Goes on, unless the policy calls a person."""
    found = policy.verdict(turn)
    return turn.call_person(policy.reason(found)) if found.action == "call" else turn


def _read(turn: TurnState) -> reading.Reading | None:
    """Set intent and mood: by the rules, and by a model where they leave something open."""
    turn.intent = understanding.intent(turn.question, answered=turn.was_answered())
    turn.mood = understanding.mood(turn.question)
    if turn.intent == understanding.UNHAPPY and slots.puts_right(turn):
        turn.intent = ""
    read = None if turn.intent else reading.read(turn, slots.wanted(turn))
    if read:
        turn.intent, turn.mood = read.intent, turn.mood or read.mood
    turn.trace |= {
        "intent": turn.intent or reading.QUESTION,
        "intent_by": "model" if read else "rules",
        "mood": turn.mood or reading.CALM,
    }
    return read


def _replied_to_offer(turn: TurnState) -> bool:
    """Whether the message says yes or no to the offer of a person, which ends the turn."""
    answer = understanding.yes_or_no(turn.question)
    turn.asked = {}
    if answer:
        turn.intent = turn.trace["intent"] = understanding.PERSON
        turn.call_person("asked")
    elif answer is False:
        turn.trace["intent"] = understanding.THANKS
        turn.end(Turn.Outcome.CHAT, _("All right. Ask again whenever you like."))
    return answer is not None


def _replied_to_choice(turn: TurnState) -> bool:
    """Whether the message picks one of the choices or none of them. It is taken as it was written,
    before anything else is read in it: what a ready reply says may sound like all sorts of things.
    """
    told = _told(turn)
    about, choice = turn.asked["about"], picking.picked(turn.asked, told)
    if choice:
        _pick(turn, choice)
    elif understanding.none_of_these(told):
        turn.query = turn.asked["question"]
        turn.check("ambiguity", "none", about=about)
        turn.call_person("no_answer")
    elif offering.beyond(turn, told):
        _asked_again(offering.again(turn))
    elif left := picking.left(turn.asked, told):
        offering.rest(turn, left)
    elif picking.unclear(turn.asked, told):
        _asked_again(offering.unclear(turn))
    else:
        if turn.asked.get("picked"):  # that question was answered
            turn.asked = {}
        return False
    turn.trace["completed"] = True
    return True


def _told(turn: TurnState) -> str:
    return turn.row.message.text if turn.row else turn.question


def _replied_late(turn: TurnState) -> bool:
    """Whether the message picks of a choice that something else was asked after."""
    turn.asked, choice = picking.late(turn.past or [], _told(turn))
    if choice:
        _pick(turn, choice)
    elif turn.asked:
        _asked_again(offering.late(turn))
    turn.trace["completed"] = bool(turn.asked)
    return bool(turn.asked)


def _asked_again(turn: TurnState) -> None:
    """Calls a person where the policy says that this went on for too long."""
    found = policy.verdict(turn)
    if found.action == "call":
        turn.pending = {}
        turn.call_person(policy.reason(found))


def _pick(turn: TurnState, choice: ambiguity.Choice) -> None:
    """The question is about what was chosen; of a place that answers no more the others are
    offered."""
    turn.attached = ""
    turn.scope = Scope.of(asdict(turn.scope) | choice.scope)
    chunks = offering.standing(turn, choice) if choice.document else []
    if choice.document and not chunks:
        return offering.without(turn, choice)
    turn.query = choice.query
    turn.check("ambiguity", "chosen", about=turn.asked["about"], choices=[choice.label])
    turn.trace["picked"] = masked(choice.label)
    if chunks:
        turn.picked = (choice.document, chunks)
        turn.pending = {**turn.asked, "picked": choice.label}  # another may be picked next
    else:
        tools.offered(turn)
    return None


def _follows(turn: TurnState) -> bool:
    """Whether the words leave out what was asked before. A model may put anything otherwise."""
    made = followups.query(turn.question, turn.previous_question())
    left_out = made != turn.question or understanding.vague(turn.question, _names(turn))
    return left_out and not turn.attached


def _stay(turn: TurnState, asked: dict[str, Any]) -> None:
    """A follow-up is of the place that was picked; not where the same is asked of something else,
    of which that place says nothing."""
    thing = followups.instead(turn.question).removesuffix("的")
    choices = [one | {"query": turn.query} for one in asked["choices"]]
    picked = ambiguity.Choice(**next(one for one in choices if one["label"] == asked["picked"]))
    if _another(thing) and not offering.says(picked, thing):
        return None
    turn.asked = asked | {"question": turn.query, "choices": choices}
    return _pick(turn, picked)


def _another(thing: str) -> bool:
    """Whether it names something, and asks nothing: not "几天"."""
    asks = terms.words(thing) & terms.question_words() or kinds.asked(thing)
    return bool(thing) and not asks


def _displeased(turn: TurnState) -> TurnState:
    """Whoever asks for a person, complains or is abusive: what the policy says."""
    found = policy.verdict(turn)
    if found.action == "call":
        return turn.call_person(policy.reason(found))
    if found.action == "offer":
        return policy.offer(turn, found)
    return turn.end(Turn.Outcome.CHAT, _("Please tell me what you need help with."))


def _small_talk(intent: str) -> str:
    texts = {
        understanding.THANKS: _("You are welcome. Ask again whenever you like."),
        understanding.GREETING: _(
            "Hello! I answer from the knowledge base, with sources. What can I do for you?"
        ),
        understanding.CHAT: _(
            "I answer questions about systems and services from the knowledge base, and cannot "
            "help with this. What can I look up for you?"
        ),
    }
    return texts[intent]


def _complete(turn: TurnState, rewritten: str) -> TurnState:
    """Make a question that can be looked for, or ask back for what is missing: once, and once
    more when all that was told is a name.

    `rewritten`: the complete question as a model wrote it, "" without one.
    """
    vague = understanding.vague(turn.question, _names(turn))
    turn.trace["completed"] = bool(turn.asked)
    if turn.asked and "choices" not in turn.asked:
        if _only_names(turn):
            return _ask_back(turn, f"{turn.question} {turn.asked['question']}", ["error", "done"])
        turn.query = _joined(turn.asked, turn.question)
        return turn
    if turn.attached and not turn.asked:  # says what the words leave open
        turn.query = rewritten or turn.question
        return turn
    previous = turn.previous_question()
    if turn.asked:  # something else was said than a choice
        turn.query = followups.query(turn.question, turn.asked["question"])
    elif previous and (rewritten or vague):
        turn.query = rewritten or previous
    elif previous:
        turn.query = followups.query(turn.question, previous)
    elif vague:
        return _ask_back(turn, turn.question, understanding.missing(turn.question))
    else:
        turn.query = turn.question
    if turn.query != turn.question and not turn.scope:  # of the same product and version
        turn.scope = turn.previous_scope()
    return turn


def _joined(asked: dict[str, Any], told: str) -> str:
    """The question that a reply to `_ask_back` completes: "报错了" adds nothing, a name does."""
    return told if "product" in asked["missing"] else f"{asked['question']} {told}"


def _only_names(turn: TurnState) -> bool:
    """Whether a reply to `_ask_back` names the thing, and all else that was asked is open yet."""
    asked_for_it = "product" in turn.asked.get("missing", [])
    named = understanding.names_thing(turn.question, _names(turn))
    return asked_for_it and named and not turn.attached


def _ask_back(turn: TurnState, question: str, missing: list[str]) -> TurnState:
    turn.pending = {"question": question, "missing": missing}
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
