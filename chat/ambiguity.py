"""Whether good passages answer for different things, so that the asker has to say which.

Either they hold for different products, versions or environments, or a short question is the
common part of several titles ("修改密码": of the portal? of the VPN?).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from chat import choosing
from knowledge import terms
from knowledge.masking import masked
from knowledge.models import Document
from knowledge.retrieval import Passage
from knowledge.scope import FIELDS, fold

CLOSE = 0.85  # share of the best score from which on a passage is as good
CHOICES = 4
WORDS = 3  # that a question has at most to be part of a title and nothing more


@dataclass(frozen=True)
class Choice:
    label: str
    query: str  # the question that it makes
    scope: dict[str, Any] = field(default_factory=dict)  # fields of Scope that it sets
    document: int = 0  # and the chunk of it that is to answer, where a passage was chosen
    chunk: int = 0
    # By which the place is known again in a newer revision: of its text, headings and question.
    digest: str = ""
    section: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ambiguity:
    about: str  # a name of FIELDS, "topic" or, by `chat.offering`, "passage"
    choices: list[Choice]


def ambiguity(query: str, passages: Sequence[Passage]) -> Ambiguity | None:
    """What the best of `passages` leave open about `query`, when they leave something open."""
    if not passages:
        return None
    good = [passage for passage in passages if passage.score >= CLOSE * passages[0].score]
    for place, name in enumerate(FIELDS):
        choices = _values(query, good, place, name)
        if choices:
            return Ambiguity(name, choices)
    topics = _topics(query, good)
    return Ambiguity("topic", topics) if topics else None


def as_pending(question: str, found: Ambiguity) -> dict[str, Any]:
    """What the next turn has to know, as JSON."""
    choices = [asdict(choice) for choice in found.choices]
    return {"question": question, "missing": [], "about": found.about, "choices": choices}


def chosen(pending: dict[str, Any], told: str) -> Choice | None:
    """The one of the choices that `told` names, as it is written or in another case and width, or
    with what is masked in it."""
    choices = [Choice(**choice) for choice in pending.get("choices", [])]
    for same in (str.strip, fold, key):
        wanted = same(told)
        for choice in choices:
            if same(choice.label) == wanted:
                return choice
    return None


def key(label: str) -> str:
    """What two labels have to differ in, that each can be told by what is stored of it."""
    return fold(masked(" ".join(label.split())))


def _values(query: str, passages: Sequence[Passage], place: int, name: str) -> list[Choice]:
    """The values of a field that the passages hold for; none when the first holds for all of
    them, or the question names one."""
    first = passages[0].holds_for[place]
    values = dict.fromkeys(value for p in passages if (value := p.holds_for[place]))
    if not first or len(values) < 2 or any(choosing.named(query, value) for value in values):
        return []
    documents = Document.objects.filter(pk__in={p.document_id for p in passages}).order_by("pk")
    written = {fold(value): value.strip() for value in documents.values_list(name, flat=True)}
    labels = [written.get(value, value) for value in values]
    return [Choice(label, query, {name: label}) for label in labels[:CHOICES]]


def _topics(query: str, passages: Sequence[Passage]) -> list[Choice]:
    """Questions and titles that say all that the question says, and more."""
    asked = _words(query)
    labels = list(dict.fromkeys(passage.question or passage.title for passage in passages))
    words = [_words(label) for label in labels]
    if not 0 < len(asked) <= WORDS or len(labels) < 2 or not all(asked < each for each in words):
        return []
    return [Choice(label, label) for label in labels[:CHOICES]]


def _words(text: str) -> set[str]:
    return terms.views(text)[terms.WORDS].keys() - terms.question_words()
