"""The words of a base that mean the same: found in a question, kept free of contradictions.

A term and its variants are one group. Where one of them stands in a question the others
count as well; `knowledge.lexical` takes the best of them for each passage, not their sum.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Lock

import rjieba
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from knowledge import terms
from knowledge.asked import standings
from knowledge.models import KnowledgeBase, Term
from opsdesk.replicas import connection

MOST = 8  # groups in a question, and other words of a group, that count
SHORTEST = 2  # characters of a word: one alone stands in too much
BASES = 100  # whose words a process keeps
_LETTER = re.compile(terms.LETTER)


@dataclass(frozen=True)
class Meant:
    """A term that a question writes in one of its ways."""

    canonical: str
    written: str  # folded, as the others
    others: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """A question with the terms that stand in it."""

    rest: str  # the question without them, folded
    meant: tuple[Meant, ...] = ()

    @property
    def more(self) -> str:
        """The terms that it does not call by their names."""
        return " ".join(one.canonical for one in self.meant if fold(one.canonical) != one.written)


Place = tuple[int, int]  # of the folded question, from and up to
Group = tuple[str, tuple[str, ...]]  # canonical, and all words folded, it first
Words = dict[str, Group]  # by each of its words


def read(question: str, base_ids: Sequence[int]) -> Reading:
    """The question with the terms that the asked bases know, the longest first.

    A term that is written in two ways is left alone: who does so tells them apart.
    """
    text, known = fold(question), [words for words in map(_words_of, _versions(base_ids)) if words]
    if not known:
        return Reading(text)
    places: dict[str, list[Place]] = {}  # by what is written there
    for start, end in _apart(_places(text, known)):
        places.setdefault(text[start:end], []).append((start, end))
    meant = [_meant(written, known) for written in places]
    ways = Counter(one.canonical for one in meant)
    chosen = [one for one in meant if ways[one.canonical] == 1][:MOST]
    cut = sorted(chain.from_iterable(places[one.written] for one in chosen))
    return Reading(_without(text, cut), tuple(chosen))


def fold(word: str) -> str:
    """A word as it is compared: neither case nor width nor the number of spaces matters."""
    return " ".join(unicodedata.normalize("NFKC", word).lower().split())


def _apart(places: Iterable[Place]) -> list[Place]:
    """Those that do not overlap, the longest first to be kept; in their order."""
    kept: list[Place] = []
    taken: set[int] = set()
    for start, end in sorted(places, key=lambda place: (place[0] - place[1], place[0])):
        if taken.isdisjoint(range(start, end)):
            taken.update(range(start, end))
            kept.append((start, end))
    return sorted(kept)


def _without(text: str, places: Sequence[Place]) -> str:
    starts, ends = [0, *(end for _, end in places)], [*(start for start, _ in places), len(text)]
    return "\n".join(text[start:end] for start, end in zip(starts, ends, strict=True))


def _places(text: str, known: Sequence[Words]) -> set[Place]:
    """Where words of the terms stand, also within each other."""
    by_first: dict[str, set[str]] = {}
    for words in known:
        for word in words:
            by_first.setdefault(word[0], set()).add(word)
    found = {
        (start, start + len(word))
        for start, letter in enumerate(text)
        for word in by_first.get(letter, ())
        if text.startswith(word, start)
    }
    edges = _edges(text) if found else (set(), set())
    return {place for place in found if _whole(text, *place, *edges)}


def _whole(text: str, start: int, end: int, starts: set[int], ends: set[int]) -> bool:
    """Whether what stands there is not part of a longer word."""
    return _free(text, start, -1, starts) and _free(text, end - 1, 1, {at - 1 for at in ends})


def _free(text: str, edge: int, step: int, edges: set[int]) -> bool:
    """Letters end where something else begins, Chinese where a word of the dictionary does."""
    if not _LETTER.match(text[edge]):
        return edge in edges
    beyond = edge + step
    return not 0 <= beyond < len(text) or not _LETTER.match(text[beyond])


def _edges(text: str) -> tuple[set[int], set[int]]:
    """Where the words of a text begin and end, those within longer ones too."""
    cut = rjieba.tokenize(text, "search", False)
    return {start for _, start, _ in cut}, {end for _, _, end in cut}


def _meant(written: str, known: Sequence[Words]) -> Meant:
    groups = [words[written] for words in known if written in words]
    others = dict.fromkeys(word for _, words in groups for word in words if word != written)
    return Meant(groups[0][0], written, tuple(others)[:MOST])


# --- the lists of the bases, kept in the process ---------------------------------------

_kept: dict[int, tuple[int, Words]] = {}  # by base: its version then, its words
_lock = Lock()


def _versions(base_ids: Sequence[int]) -> list[tuple[int, int]]:
    return [(one.base_id, one.version) for one in standings(base_ids)]


def _words_of(versioned: tuple[int, int]) -> Words:
    base_id, version = versioned
    kept = _kept.get(base_id)
    if kept and kept[0] == version:
        return kept[1]
    rows = Term.objects.filter(knowledge_base=base_id, enabled=True)
    words: Words = {}
    for canonical, variants in rows.values_list("canonical", "variants"):
        group = tuple(filter(None, dict.fromkeys(map(fold, [canonical, *variants]))))
        words |= dict.fromkeys(group, (canonical, group))
    if not connection.in_atomic_block:  # else it may never have been so
        with _lock:
            if len(_kept) >= BASES:
                _kept.clear()
            _kept[base_id] = version, words
    return words


def changed(base_ids: Iterable[int]) -> None:
    """To be called, in the same transaction, after terms of bases were changed."""
    KnowledgeBase.objects.filter(pk__in=list(base_ids)).raise_version()


# --- what a list may hold --------------------------------------------------------------


Owners = dict[str, Term]  # of a base, by each of its words folded


def owners(base_id: int) -> Owners:
    return {
        fold(word): term
        for term in Term.objects.filter(knowledge_base=base_id)
        for word in (term.canonical, *term.variants)
    }


def check(term: Term, owned: Owners | None = None) -> None:
    """ValidationError, by field, for what would contradict itself or another term of the base."""
    owned = owners(term.knowledge_base_id) if owned is None else owned
    problems: dict[str, list[str]] = {}
    forms: dict[str, str] = {}
    for field, word in [("canonical", term.canonical), *(("variants", v) for v in term.variants)]:
        if problem := _problem(word, forms):
            problems.setdefault(field, []).append(problem)
        elif (owner := owned.get(fold(word))) and owner.pk != term.pk:
            said = _("“%(word)s” already belongs to “%(term)s”.") % {"word": word, "term": owner}
            problems.setdefault(field, []).append(said)
        forms.setdefault(fold(word), field)
    if problems:
        raise ValidationError(problems)


def _problem(word: str, earlier: dict[str, str]) -> str:
    folded = fold(word)
    if len(folded) < SHORTEST or not terms.views(folded)[terms.UNIGRAMS]:
        return _("“%(word)s” is too short to be searched for.") % {"word": word}
    if earlier.get(folded) == "canonical":
        return _("“%(word)s” is the term itself.") % {"word": word}
    if folded in earlier:
        return _("“%(word)s” stands here twice.") % {"word": word}
    return ""


def add(base: KnowledgeBase, word: str, means: str) -> Term:
    """Let `word` count as another word for `means`; ValidationError when it cannot."""
    owned = owners(base.pk)
    term = owned.get(fold(means)) or Term(knowledge_base=base, canonical=" ".join(means.split()))
    term.variants = [*term.variants, " ".join(word.split())]
    term.enabled = True
    term.full_clean(validate_unique=False, validate_constraints=False)
    check(term, owned)
    term.save()
    changed([base.pk])
    return term
