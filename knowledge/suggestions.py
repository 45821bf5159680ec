"""Words that confirmed questions put in each other's place: a person decides which are terms.

What a question says that its passage does not, against what the passage says that the question
does not; a pair of words that keeps recurring, more often than both being frequent explains.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from django.contrib.auth.models import User
from django.db import transaction

from knowledge import synonyms, terms
from knowledge.models import ConfirmedPair, KnowledgeBase, TermSuggestion

LEAST = 3  # documents in which a pair of words recurs
FIRM = 10.8  # Dunning's log-likelihood ratio: chance in less than 1 of 1,000
MOST = 50  # suggestions that wait
EXAMPLES = 3
SHOWN = 120  # characters of an example
LONGEST = 100  # characters of a word
PASSAGE_WORDS = 40  # in longer passages anything stands opposite anything

State = TermSuggestion.State


def propose(base: KnowledgeBase, pairs: Sequence[ConfirmedPair], passages: Sequence[str]) -> int:
    """Put the firmest pairs of words before a person; how many wait. What was decided stays so."""
    owned = synonyms.owners(base.pk)
    found = [one for one in _mined(pairs, passages) if not _known(one, owned)]
    with transaction.atomic():
        base.term_suggestions.filter(state=State.OPEN).delete()
        decided = set(base.term_suggestions.values_list("asked", "written"))
        decided |= {(written, asked) for asked, written in decided}
        rows = [
            TermSuggestion(
                knowledge_base=base,
                asked=asked,
                written=written,
                count=len(rows),
                examples=[
                    [pairs[row].question[:SHOWN], passages[row][:SHOWN]] for row in rows[:EXAMPLES]
                ],
            )
            for asked, written, rows in found
            if (asked, written) not in decided
        ]
        TermSuggestion.objects.bulk_create(rows[:MOST])
    return len(rows[:MOST])


def accept(suggestion: TermSuggestion, user: User | None) -> None:
    """Make it a term of its base. ValidationError when it contradicts another one."""
    with transaction.atomic():
        synonyms.add(suggestion.knowledge_base, suggestion.asked, suggestion.written)
        _decide([suggestion], State.ACCEPTED, user)


def dismiss(suggestions: Iterable[TermSuggestion], user: User | None) -> int:
    return _decide(suggestions, State.DISMISSED, user)


def reopen(suggestions: Iterable[TermSuggestion], user: User | None) -> int:
    """Have it decided again; a term that was made of it stays."""
    return _decide(suggestions, State.OPEN, user)


def _decide(suggestions: Iterable[TermSuggestion], state: str, user: User | None) -> int:
    ids = [one.pk for one in suggestions]
    rows = TermSuggestion.objects.filter(pk__in=ids).exclude(state=state)
    return rows.update(state=state, decided_by=user)


Mined = tuple[str, str, list[int]]  # asked, written, pairs in which they stand opposite


def _mined(pairs: Sequence[ConfirmedPair], passages: Sequence[str]) -> list[Mined]:
    """Pairs of words, the firmest first, each word in one of them."""
    opposite: dict[tuple[str, str], list[int]] = defaultdict(list)
    asked, written = Counter[str](), Counter[str]()
    for row, (pair, passage) in enumerate(zip(pairs, passages, strict=True)):
        ours, theirs = _said(pair.question), _said(passage)
        if len(theirs) > PASSAGE_WORDS:
            continue
        asked.update(ours - theirs)
        written.update(theirs - ours)
        for one in ours - theirs:
            for other in theirs - ours:
                opposite[one, other].append(row)
    firm = {
        words: _likelihood(len(rows), asked[words[0]], written[words[1]], len(pairs))
        for words, rows in opposite.items()
        if len({pairs[row].document_id for row in rows}) >= LEAST
    }
    taken: set[str] = set()
    found = []
    for words in sorted(firm, key=lambda words: (-firm[words], words)):
        if firm[words] >= FIRM and taken.isdisjoint(words):
            taken.update(words)
            found.append((*words, opposite[words]))
    return found


def _said(text: str) -> set[str]:
    """The words of a text that may mean something of their own."""
    words = terms.views(text)[terms.WORDS].keys() - terms.question_words()
    return {word for word in words if synonyms.SHORTEST <= len(word) <= LONGEST}


def _likelihood(both: int, one: int, other: int, all_: int) -> float:
    """Dunning's ratio for seeing two words opposite each other; 0 if it is rather less than by
    chance."""
    if both * all_ <= one * other:
        return 0.0
    table = ((both, one - both), (other - both, all_ - one - other + both))
    cells = [n for row in table for n in row]
    sums = [*map(sum, table), *map(sum, zip(*table, strict=True))]
    return 2 * (_entropy(cells) - _entropy(sums) + _entropy([all_]))


def _entropy(counts: Iterable[int]) -> float:
    return sum(n * math.log(n) for n in counts if n > 0)


def _known(mined: Mined, owned: synonyms.Owners) -> bool:
    """Whether both are words of terms already, so that nothing could be made of them."""
    return synonyms.fold(mined[0]) in owned
