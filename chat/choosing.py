"""Which passages an answer is made of: those that say what the question pins down, and that hold
the kind of thing it asks for near its words. Measured in docs/answering.md.
"""

import re
from collections.abc import Sequence

from chat.kinds import Kind, asked, plain, subject
from knowledge import terms
from knowledge.retrieval import Passage
from knowledge.scope import fold
from knowledge.sentences import sentences

# What a passage has to say as well to be about the same: a year, a title, the how-manieth.
_PINNED = re.compile(
    r"(?<![\d.])(?:19|20)\d\d(?=年|[^\d.]|$)|《[^》\n]{1,40}》|第[\d〇零一二三四五六七八九十百]+届"
)
NEAR = 0.4  # share of the question's words that stand near the thing, that it is about it
NEARER = 0.7  # the same for a passage that is not the first
ASKED = 60  # characters of a text that may be a question and nothing else
SOME = 0.01  # evidence of an entry of a FAQ that says none of the question's words
LATER = 0.15  # what each place in the ranking takes from a passage's evidence


def pinned(question: str, passages: Sequence[Passage]) -> list[Passage]:
    """The passages that hold for the product, version and environment the question names, and
    say all its years, titles and numbers of events; all of `passages` when none does."""
    passages = [p for p in passages if not _other(question, p, passages)] or list(passages)
    marks = [_tight(mark.strip("《》")) for mark in _PINNED.findall(plain(question))]
    if not marks:
        return list(passages)
    said = {passage.chunk_id: _tight(_whole(passage)) for passage in passages}
    kept = [p for p in passages if all(mark in said[p.chunk_id] for mark in marks)]
    return kept or list(passages)


def _other(question: str, passage: Passage, passages: Sequence[Passage]) -> bool:
    """Whether `passage` holds for another product, version or environment than is named."""
    return any(
        value
        and not named(question, value)
        and any(named(question, other.holds_for[place]) for other in passages)
        for place, value in enumerate(passage.holds_for)
    )


def named(question: str, value: str) -> bool:
    """Whether `question` says a folded value: "8" does not stand in "18" or "8.1"."""
    pattern = rf"(?<![a-z0-9.]){re.escape(value)}(?![a-z0-9]|\.\d)"
    return bool(value and re.search(pattern, fold(question)))


def holding(
    question: str, kind: Kind, passages: Sequence[Passage], worth: dict[str, float]
) -> list[Passage]:
    """`passages` with the one first that tells best what of `kind` was asked for; none when no
    passage does. `worth` weighs the words of the question."""
    words = _subject(question, worth)
    found = [
        (evidence - LATER * place, -place)
        for place, passage in enumerate(passages)
        if (evidence := _evidence(question, kind, passage, words, NEARER if place else NEAR))
    ]
    if not found:
        return [] if kind.certain else list(passages)
    best = -max(found)[1]
    return [passages[best], *passages[:best], *passages[best + 1 :]]


def holds(question: str, kind: Kind, passage: Passage, shown: str) -> bool:
    """Whether what is `shown` of `passage` answers by a thing of `kind`, or curators say so."""
    return _meant(passage, kind) or kind.held(shown, question)


def akin(passages: Sequence[Passage], small: float) -> list[Passage]:
    """The first, and of the others those whose most telling word of the question tells about as
    much as the first's. How much is for `small` to say (`knowledge.confidence.features`): of few
    passages some are always next best, of many those that are share more than "怎么处理"."""
    least = small * max(map(_telling, passages[:1]), default=0.0)
    return [
        *passages[:1],
        *(p for p in passages[1:] if "dense" in p.scores or _telling(p) >= least),
    ]


def _telling(passage: Passage) -> float:
    """What the most telling of the question's words in a passage is worth."""
    worth = passage.asked.words()
    there = worth.keys() & passage.asked.understood(passage.words)
    return max((worth[word] for word in there - terms.question_words()), default=0.0)


def _meant(passage: Passage, kind: Kind) -> bool:
    """An entry of a FAQ, and a text that itself asks for the same kind of thing."""
    return passage.kind == "qa" or (len(passage.text) <= ASKED and asked(passage.text) == kind)


def _evidence(
    question: str, kind: Kind, passage: Passage, words: dict[str, float], least: float
) -> float:
    """How well a sentence of `passage` tells what is asked, 0 when none does, else up to 1.8."""
    about = _share(words, _whole(passage))
    if passage.question:  # it answers its own question; what else its answer names counts half
        asks = " ".join([passage.question, *passage.questions])
        return max(0.9 * (about + _share(words, asks)), SOME)
    if _meant(passage, kind):
        return max(1.8 * about, SOME)
    parts = [part for part in sentences(passage.text) if part.strip()]
    headings = " ".join([passage.title, *passage.heading_path])
    found, header = [0.0], ""
    for place, part in enumerate(parts):
        row = part.lstrip().startswith("|")
        header = (header or part) if row else ""  # says what stands in the cells of each row
        if kind.held(part, question):
            said = " ".join([headings, header, *parts[max(0, place - 1) : place + 1]])
            near = _share(words, said)
            if near >= least:
                found.append(near + 0.5 * about + 0.3 * _share(words, part))
    return max(found)


def _subject(question: str, worth: dict[str, float]) -> dict[str, float]:
    """The words of `worth` that the question is about."""
    left = terms.views(subject(question))[terms.WORDS].keys() - terms.question_words()
    return {word: value for word, value in worth.items() if word in left}


def _share(words: dict[str, float], text: str) -> float:
    """How much of the worth of `words` stands in `text`; all of nothing."""
    total = sum(words.values())
    there = terms.views(text)[terms.WORDS]
    return sum(value for word, value in words.items() if word in there) / total if total else 1.0


def _whole(passage: Passage) -> str:
    return "\n".join([passage.title, *passage.heading_path, passage.question, passage.text])


def _tight(text: str) -> str:
    return "".join(plain(text).split()).casefold()
