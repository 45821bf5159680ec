"""What staff want to know before a question of some topic is looked for, asked for bit by bit.

`fill` is called by the first step once the message is known to be a question. What was told is
in `turn.collecting`, written by `keep` in the transaction that ends the turn.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from chat import rules
from chat.models import Collected, Conversation, Topic, Turn
from chat.state import TurnState
from chat.topics import collecting, detecting, finding, replies
from chat.topics.collecting import TIMES, Collecting
from chat.topics.schema import CHOICE, CHOICES, ERROR, TEXT, Field, fields
from knowledge.models import Document
from knowledge.scope import answering, fold

OPTIONS = 6
TOPIC = "topic"  # the model's name for the topic itself


def wanted(turn: TurnState) -> dict[str, Any]:
    """JSON Schema `properties` of what only a model could still find in the message.

    Empty when no topic fits, or the rules found everything: then nothing needs to be asked of it.
    """
    text = replies.plain(turn.question)
    held = _held(turn, text)
    if held:
        topic = _topic(turn, held)
        found = _told(turn, topic, held.field if _pending(turn) else "")
        return {
            _key(topic, one): _asked_of_model(one)
            for one in held.missing(topic)
            if one.name not in found
        }
    near = detecting.candidates(text, _topics(turn))
    if not near or replies.says_nothing(text):
        return {}
    named: dict[str, Any] = {
        TOPIC: {"enum": [topic.name for topic in near], "description": _about(near)}
    }
    for topic in near:
        named |= {_key(topic, one): _asked_of_model(one) for one in fields(topic.schema)}
    return named


def fill(turn: TurnState, reading: Any) -> bool:
    """Take up what the message tells about its topic; whether the turn ended with a question back.

    `reading` is what a model made of the message: its `values` by the names of `wanted`; None
    without one. When False, a set `turn.query` is complete already.
    """
    text = replies.plain(turn.question)
    pending = _pending(turn)
    held = _held(turn, text) or _begun(turn, reading)
    if pending and not (held and held.field):
        pending, turn.asked = False, {}  # something else was asked: it starts anew
    if held is None:
        return False
    topic = _topic(turn, held)
    known = dict(held.values)
    _take(turn, topic, held, text, reading, pending)
    turn.collecting, turn.topic = held, topic.name
    return _go_on(turn, topic, held, replied=pending or bool(known))


def puts_right(turn: TurnState) -> bool:
    """Whether a message that sounds displeased ("说错了，是 8.0") only corrects what was told."""
    text = replies.plain(turn.question)
    held = _held(turn, text) if turn.collected and replies.corrects(text) else None
    return held is not None and _adds(turn, text, held)


def unsure(turn: TurnState) -> bool:
    """Where no sure answer was found without: ask now for what is missing. Whether it did."""
    if turn.collecting is None:
        return False
    topic = _topic(turn, turn.collecting)
    missing = turn.collecting.missing(topic)
    if not missing:
        return False
    turn.reason, turn.sources = None, []
    return _ask(turn, topic, turn.collecting, missing[0])


def noted(turn: TurnState) -> TurnState:
    """Say above an answer what it had to do without."""
    held = turn.collecting
    if held is None or not held.declined or not turn.asked or turn.outcome != Turn.Outcome.ANSWERED:
        return turn
    labels = {one.name: one.label for one in fields(_topic(turn, held).schema)}
    # Translators: between the parts of a list
    listed = _(", ").join(labels[name] for name in held.declined if name in labels)
    if listed:
        note = _("I do not know the %(fields)s, so this holds in general:") % {"fields": listed}
        turn.text = f"{note}\n\n{turn.text}"
    return turn


def keep(row: Turn, turn: TurnState) -> None:
    """Write what was told, in the transaction that ends the turn."""
    if turn.collecting is not None:
        collecting.keep(row, turn.collecting, _topics(turn))


def collected(conversation: Conversation) -> list[tuple[str, str]]:
    """Labels and values of all that was told in `conversation`, as staff read them."""
    rows = Collected.objects.filter(conversation=conversation).order_by("updated_at")
    return [pair for row in rows for pair in told(row)]


def told(row: Collected) -> list[tuple[str, str]]:
    """Labels and values of one topic; what was asked for in vain says so."""
    values = {**dict.fromkeys(row.declined, _("not told")), **row.values}
    return [(label, values[name]) for name, label in row.fields if name in values]


# --- which topic ---------------------------------------------------------------------


def _topics(turn: TurnState) -> list[Topic]:
    if turn.topics is None:
        turn.topics = rules.of(turn).topics_of(turn.bases)
    return turn.topics


def _topic(turn: TurnState, held: Collecting) -> Topic:
    return next(topic for topic in _topics(turn) if topic.pk == held.topic)


def _pending(turn: TurnState) -> bool:
    """Whether the turn before asked for a field of a topic that still counts."""
    return any(topic.pk == turn.asked.get("topic", 0) for topic in _topics(turn))


def _held(turn: TurnState, text: str) -> Collecting | None:
    """What the message goes on with: the topic that was asked about, or spoken of last."""
    known = [one for one in turn.collected if any(one.topic == t.pk for t in _topics(turn))]
    if _pending(turn):
        held = next((one for one in known if one.topic == turn.asked["topic"]), None)
        if held and not _is_new(turn, text, held):
            return held.copy()
    elif known and not detecting.detect(text, _topics(turn)) and _adds(turn, text, known[0]):
        return known[0].copy()
    topic = detecting.detect(text, _topics(turn))
    return _start(known, topic, turn.question) if topic else None


def _begun(turn: TurnState, reading: Any) -> Collecting | None:
    """By what a model says the message is about."""
    name = reading.values.get(TOPIC) if reading else None
    topic = next((one for one in _topics(turn) if one.name == name), None)
    return _start(turn.collected, topic, turn.question) if topic else None


def _start(known: Iterable[Collecting], topic: Topic, question: str) -> Collecting:
    """Anew, with what was told of it earlier in the conversation."""
    earlier = next((one for one in known if one.topic == topic.pk), None)
    values = dict(earlier.values) if earlier else {}
    return Collecting(topic.pk, topic.name, question, values)


def _is_new(turn: TurnState, text: str, held: Collecting) -> bool:
    """Whether a message that should answer asks about something else."""
    topic = _topic(turn, held)
    other = detecting.detect(text, _topics(turn))
    if other and other.pk != topic.pk:
        return True
    if other or not replies.asks(text) or replies.wonders(text) or replies.declines_all(text):
        return False
    found = finding.find(fields(topic.schema), text)
    return len(_words(finding.rest(text, found)) - _words(replies.plain(held.question))) > 1


def _adds(turn: TurnState, text: str, held: Collecting) -> bool:
    """Whether a message tells of the topic that was spoken of, and nothing else."""
    found = finding.find(fields(_topic(turn, held).schema), text)
    changed = any(held.values.get(name) != one.value for name, one in found.items())
    if not changed or replies.asks(text):
        return False
    return replies.corrects(text) or not _words(finding.rest(text, found))


def _words(text: str) -> set[str]:
    """What of `text` could be looked for."""
    return {
        word
        for word in detecting.words(text)
        if word not in replies.beside() and not replies.says_nothing(word)
    }


# --- what is told --------------------------------------------------------------------


def _told(turn: TurnState, topic: Topic, asked: str) -> dict[str, finding.Found]:
    """By the rules, in the message and, where it says nothing, in what was pasted with it."""
    every = fields(topic.schema)
    pending = next((one for one in every if one.name == asked), None)
    found = finding.find(every, replies.plain(turn.question), pending, turn.today)
    if turn.attached:
        found = {**finding.find(every, replies.plain(turn.attached), today=turn.today), **found}
    return found


def _take(
    turn: TurnState, topic: Topic, held: Collecting, text: str, reading: Any, pending: bool
) -> None:
    """What the message tells, puts right or declines."""
    every = {one.name: one for one in fields(topic.schema)}
    asked = held.field if pending and held.field in every else ""  # staff may have renamed it
    found = {name: one.value for name, one in _told(turn, topic, asked).items()}
    unknown = _declined(text, every, asked)
    whole = bool(asked) and every[asked].kind in (TEXT, ERROR)
    if whole and (unknown or not _answers(text, asked, found, held)):
        found.pop(asked, None)
    for name in unknown:
        found.pop(name, None)
        held.decline(name)
    for name, value in _by_model(turn, topic, reading).items():
        found.setdefault(name, value)
    for name, value in found.items():
        if name not in held.values or _replaces(name, text, every, asked, found):
            held.tell(name, value)
    if replies.declines_all(text):
        for one in held.missing(topic):
            held.decline(one.name)
    if asked and asked not in held.values and held.asked.get(asked, 0) >= TIMES:
        held.decline(asked)


def _declined(text: str, every: dict[str, Field], asked: str) -> list[str]:
    """The fields of which the message says that they are not known."""
    names = []
    for about in replies.declined(text):
        meant = [name for name, one in every.items() if _speaks_of(about, one)]
        names += meant or [asked] * bool(asked)
    return names


def _speaks_of(about: str, one: Field) -> bool:
    return len(about) > 1 and (about in one.label or one.label in about)


def _answers(text: str, asked: str, found: dict[str, str], held: Collecting) -> bool:
    """Whether all of a message is meant for the text that was asked for."""
    if replies.wonders(text) or replies.declines_all(text) or replies.says_nothing(text):
        return False
    others = {name for name, value in found.items() if held.values.get(name) != value}
    return not (replies.corrects(text) and others - {asked})


def _replaces(
    name: str, text: str, every: dict[str, Field], asked: str, found: dict[str, str]
) -> bool:
    """Whether a value counts more than what was told before: it was asked for, is put right or
    named, or is all that an answer to something else tells."""
    if name == asked or replies.corrects(text) or every[name].label in text:
        return True
    return asked not in found


def _by_model(turn: TurnState, topic: Topic, reading: Any) -> dict[str, str]:
    """Of what a model found, what stands in the customer's own words."""
    said = [turn.question, turn.attached]
    said += [one.text for one in turn.history if one.role == "customer"]
    own = fold("\n".join(said))
    taken = {}
    for one in fields(topic.schema):
        value = reading.values.get(_key(topic, one)) if reading else None
        words = value.get("words", "") if isinstance(value, dict) else value
        written = replies.plain(str(words or ""))
        if not written or fold(written) not in own:
            continue
        if one.kind == CHOICE:
            meant = fold(str(value.get("value", "") if isinstance(value, dict) else value))
            found = next((choice for choice in one.choices if fold(choice) == meant), "")
        else:
            read = finding.find([one], written, one).get(one.name)
            found = read.value if read else ""
        if found:
            taken[one.name] = found
    return taken


# --- what comes next -----------------------------------------------------------------


def _go_on(turn: TurnState, topic: Topic, held: Collecting, *, replied: bool) -> bool:
    missing = held.missing(topic)
    if missing and ((replied and held.open) or topic.when == Topic.When.ALWAYS):
        return _ask(turn, topic, held, missing[0])
    held.field, held.open = "", False
    _note(turn, topic, held, "complete" if not held.declined else "without")
    _narrow(turn, topic, held)
    query = _query(topic, held)
    if replied or query != held.question:
        turn.query, turn.trace["completed"] = query, True
    return False


def _ask(turn: TurnState, topic: Topic, held: Collecting, one: Field) -> bool:
    again = held.asked.get(one.name, 0)
    held.field, held.open = one.name, True
    held.asked[one.name] = again + 1
    _note(turn, topic, held, "asked")
    turn.pending = {
        "question": held.question,
        "missing": [one.name],
        "topic": held.topic,
    }
    choices = list(one.choices) if len(one.choices) <= OPTIONS else []
    turn.options = [*choices, _("Not sure")]
    turn.end(Turn.Outcome.CLARIFYING, _asking(topic, held, one, again > 0))
    return True


def _asking(topic: Topic, held: Collecting, one: Field, again: bool) -> str:
    labels = {each.name: each.label for each in fields(topic.schema)}
    parts = []
    if held.values:
        # Translators: between the parts of a list
        known = _(", ").join(f"{labels[n]} {v}" for n, v in held.values.items() if n in labels)
        parts.append(_("Noted: %(known)s.") % {"known": _escaped(known)})
    question = one.ask
    if len(one.choices) > OPTIONS:
        question += " " + _("Choices: %(choices)s") % {"choices": " / ".join(one.choices)}
    elif one.examples and not one.choices:
        question += " " + _("For example: %(example)s") % {"example": " / ".join(one.examples[:2])}
    parts.append(question)
    if again:
        parts.append(_("If you do not know it, say so: I will go on without."))
    return "\n\n".join(parts)


def _escaped(text: str) -> str:
    """A customer's words in a text of Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#|" else letter for letter in text)


def _query(topic: Topic, held: Collecting) -> str:
    """The question with what was told and does not stand in it, without what says nothing to
    look for."""
    every = fields(topic.schema)
    asked = replies.plain(held.question)
    beside = finding.find([one for one in every if not one.search], asked)
    without = " ".join(finding.rest(asked, beside).split())
    parts = [without if beside and _words(without) else held.question]
    for one in every:
        value = held.values.get(one.name, "")
        if one.search and value and fold(value) not in fold(" ".join(parts)):
            parts.append(value)
    return " ".join(parts)


def _narrow(turn: TurnState, topic: Topic, held: Collecting) -> None:
    """Look only where a value holds, if the bases know such a product, version, environment."""
    told = {one.scope: held.values[one.name] for one in fields(topic.schema)
            if one.scope and one.name in held.values}  # fmt: skip
    found = {
        name: known
        for name, value in told.items()
        if not getattr(turn.scope, name) and (known := _known(turn, name, value))
    }
    if found:
        given: dict[str, Any] = found
        turn.scope = replace(turn.scope, **given)


def _known(turn: TurnState, name: str, value: str) -> str:
    """What the documents call it: that very name, or the release that a version belongs to."""
    documents = Document.objects.filter(answering(), knowledge_base__in=list(turn.bases))
    names = documents.exclude(**{name: ""}).values_list(name, flat=True).distinct()
    said = fold(value)
    fitting = [one for one in names if fold(one) == said]
    if name == "version" and not fitting:
        fitting = [one for one in names if said.startswith(f"{fold(one)}.")]
    return max(fitting, key=len, default="")


def _note(turn: TurnState, topic: Topic, held: Collecting, verdict: str) -> None:
    labels = {one.name: one.label for one in fields(topic.schema)}
    turn.slots = {**dict.fromkeys(held.declined, ""), **held.values}
    turn.trace |= {"topic": topic.name, "slots": turn.slots}
    shown = [[labels[name], value] for name, value in turn.slots.items() if name in labels]
    turn.check("slots", verdict, topic=topic.name, asked=labels.get(held.field, ""), values=shown)


# --- a model is asked ----------------------------------------------------------------


def _key(topic: Topic, one: Field) -> str:
    return f"{topic.pk}.{one.name}"


def _asked_of_model(one: Field) -> dict[str, Any]:
    """A text as the customer wrote it, or a choice with the words that say so."""
    about = " ".join(filter(None, [one.label, one.ask, one.description]))
    if one.kind == CHOICE:
        return {
            "type": "object",
            "description": about,
            "properties": {
                "value": {"type": "string", "enum": list(one.choices)[:CHOICES]},
                "words": {"type": "string", "description": "the customer's own words for it"},
            },
            "required": ["value", "words"],
            "additionalProperties": False,
        }
    examples = f" ({', '.join(one.examples)})" if one.examples else ""
    return {"type": "string", "description": f"{about}{examples}, copied word for word"}


def _about(topics: list[Topic]) -> str:
    return "; ".join(f"{topic.name}: {topic.description or topic.name}" for topic in topics)
