"""What there is to choose from where the bases seem to hold the answer, but several passages are
about as good: one answers from the passage that the customer picks, and guesses nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.db.models import F
from django.utils.translation import gettext as _

from chat import ambiguity, extractive, picking
from chat.models import Turn
from chat.picking import ABOUT
from chat.state import TurnState
from knowledge.models import Chunk, Document
from knowledge.retrieval import Passage
from knowledge.scope import answering

LABEL = 60  # characters of a ready reply


def offer(turn: TurnState, query: str, meant: list[Passage]) -> TurnState:
    """End the turn with the choice of what passages are about, a line of each and a person beside
    it."""
    labels = told_apart(meant)
    scope = {name: value for name, value in asdict(turn.scope).items() if value}
    choices = [
        ambiguity.Choice(
            name, turn.query, scope, one.document_id, one.chunk_id,
            _digest(one.stored or one.text), _section(one),
        )
        for name, one in zip(labels, meant, strict=True)
    ]  # fmt: skip
    turn.check("ambiguity", "asked", about=ABOUT, choices=labels)
    turn.pending = ambiguity.as_pending(turn.query, ambiguity.Ambiguity(ABOUT, choices))
    turn.sources = meant
    lines = [_line(name, query, one) for name, one in zip(labels, meant, strict=True)]
    lines = [f"{line}[{n}]" for n, line in enumerate(lines, 1)]
    return _ask(turn, _("Several places may hold the answer. Which one is it about?"), lines)


def standing(turn: TurnState, choice: ambiguity.Choice) -> list[int]:
    """The chunks that are the place of `choice` now: the very one, or in a newer revision of its
    document what reads the same, whatever it stands under, else what stands under the same
    headings. None where it may answer no more."""
    document = Document.objects.filter(pk=choice.document, knowledge_base__in=turn.bases).first()
    if document is None or turn.scope.differs(document):
        return []
    there = list(
        Chunk.objects.filter(
            answering("document__"),
            document=document,
            enabled=True,
            revision=F("document__current"),
        ).order_by("position")
    )
    same = [one for one in there if _digest(one.text) == choice.digest]
    section = [one for one in there if _section(one) == choice.section]
    very = [one for one in there if one.pk == choice.chunk]
    both = [one for one in same if one in section]
    found = next(filter(None, (very, both[:1], same[:1], section)), [])
    return [one.pk for one in found]


def says(choice: ambiguity.Choice, thing: str) -> bool:
    """Whether the document of the place speaks of `thing`."""
    there = Chunk.objects.filter(document=choice.document, revision=F("document__current"))
    return there.filter(enabled=True, text__icontains=thing).exists()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _section(one: Passage | Chunk) -> list[str]:
    return [*one.heading_path, *filter(None, [one.question])]


def beyond(turn: TurnState, told: str) -> bool:
    """Whether a number is said that no place has."""
    return picking.number(turn.asked, told) is not None and not picking.numbered(turn.asked, told)


def again(turn: TurnState) -> TurnState:
    """End the turn with the choice that it was a reply to."""
    most = len(turn.asked["choices"])
    there = {"numbers": f"1–{most}" if most > 1 else "1"}
    text = _("There is only %(numbers)s. Which one is it about?") % there
    return _once_more(turn, text, turn.asked["choices"])


def unclear(turn: TurnState) -> TurnState:
    """End the turn with the choice, of which a reply picks nothing."""
    texts = {ABOUT: _("Several places may hold the answer. Which one is it about?")}
    other = _("I know several things about this. Which one do you mean?")
    return _once_more(turn, texts.get(turn.asked["about"], other), turn.asked["choices"])


def late(turn: TurnState) -> TurnState:
    """End the turn with a choice that something else was asked after."""
    text = _("Something else was asked meanwhile. Is it about one of these?")
    return _once_more(turn, text, turn.asked["choices"])


def rest(turn: TurnState, left: list[dict[str, Any]]) -> TurnState:
    """End the turn with the choice of what was not denied."""
    return _once_more(turn, _("Which of the others is it about?"), left)


def without(turn: TurnState, picked: ambiguity.Choice) -> None:
    """Say that the picked place answers no more, and end the turn with the choice of the others;
    where none of them does either, what was asked is looked for anew."""
    turn.check("ambiguity", "gone", about=ABOUT, choices=[picked.label])
    left = [one for one in turn.asked["choices"] if standing(turn, ambiguity.Choice(**one))]
    if left:
        text = _("“%(place)s” answers no more. Which of the others is it about?")
        _once_more(turn, text % {"place": extractive.literal(picked.label)}, left)
        return
    turn.query, turn.gone, turn.asked = turn.asked["question"], picked.label, {}


def noted(gone: str, text: str) -> str:
    """`text` under what was picked and answers no more."""
    if not gone:
        return text
    note = _("“%(place)s” answers no more. Instead:") % {"place": extractive.literal(gone)}
    return f"{note}\n\n{text}"


def _once_more(turn: TurnState, text: str, choices: list[dict[str, Any]]) -> TurnState:
    turn.pending = {**turn.asked, "choices": choices}
    turn.pending.pop("picked", None)
    labels = [choice["label"] for choice in choices]
    turn.check("ambiguity", "asked", about=turn.asked["about"], choices=labels)
    turn.query = turn.trace["query"] = turn.asked["question"]
    return _ask(turn, text, [*map(extractive.literal, labels)])


def shown(turn: TurnState) -> list[dict[str, Any]]:
    """What there is to choose from, as it goes with the reply: {"n", "label", "picked"}."""
    picked = turn.pending.get("picked")
    return [
        {"n": n, "label": one["label"], "picked": one["label"] == picked}
        for n, one in enumerate(turn.pending["choices"], 1)
    ]


def others(turn: TurnState) -> list[str]:
    """The places beside the one that answers, which may be picked as well."""
    if not turn.picked:
        return []
    left = (choice["label"] for choice in turn.pending["choices"])
    return [label for label in left if label != turn.pending["picked"]]


def _ask(turn: TurnState, text: str, lines: Sequence[str]) -> TurnState:
    labels = [choice["label"] for choice in turn.pending["choices"]]
    if turn.pending["about"] != ABOUT:
        turn.options = [*labels, _("None of these")]
        return turn.end(Turn.Outcome.CLARIFYING, text)
    turn.options = [*labels, _("Talk to a person")]
    numbers = (f"{n}. {line}" for n, line in enumerate(lines, 1))
    return turn.end(Turn.Outcome.CLARIFYING, "\n".join([text, "", *numbers]))


def told_apart(passages: Sequence[Passage]) -> list[str]:
    """The labels of `passages`, no two of which are one in another case or masked: where they
    would be, with the end of a long name, all headings or the page, else with a number."""
    ways = [label, _ends, _whole, _paged, label]
    tried = [[way(passage) for way in ways] for passage in passages]
    labels = [each[0] for each in tried]
    for way in range(1, len(ways)):
        seen = Counter(map(ambiguity.key, labels))
        labels = [
            each[way] if seen[ambiguity.key(name)] > 1 else name
            for each, name in zip(tried, labels, strict=True)
        ]
    taken = {ambiguity.key(_("Talk to a person"))}
    for at, name in enumerate(labels):
        n = 1
        while ambiguity.key(labels[at]) in taken:
            n += 1
            labels[at] = f"{_cut(name, LABEL - 5)} ({n})"
        taken.add(ambiguity.key(labels[at]))
    return labels


def label(passage: Passage) -> str:
    """What a passage is about, or how it begins where nothing says that."""
    return _cut(_name(passage), LABEL)


def _name(passage: Passage) -> str:
    return extractive.named(passage) or " ".join(passage.text.split())


def _cut(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _middle(name: str) -> str:
    half = LABEL // 2
    return name if len(name) <= LABEL else f"{name[: half - 1]}…{name[-half:]}"


def _ends(passage: Passage) -> str:
    return _middle(_name(passage))


def _whole(passage: Passage) -> str:
    parts = dict.fromkeys([passage.title, *passage.heading_path, passage.question])
    return _middle(" ".join(" › ".join(filter(None, parts)).split()) or _name(passage))


def _paged(passage: Passage) -> str:
    """With its page, or where else it stands: cells of a sheet, headings."""
    page = _("page %(page)s") % {"page": passage.page} if passage.page else passage.locator
    return _middle(f"{_name(passage)} · {page}" if page else _whole(passage))


def _line(name: str, query: str, passage: Passage) -> str:
    said, shown = extractive.line(query, passage), extractive.literal(name)
    told = not said or said.startswith(name.rstrip("…"))
    return shown if told else extractive.introduced(shown, extractive.plain(said))
