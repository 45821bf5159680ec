"""What the terms of a question are worth, and what stands for them in other words.

A term's worth is its idf times the weight of its view; a chunk's score is the inner product of
these with its own weights (`knowledge.lexical`).
"""

import math
import zlib
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from knowledge import near, terms
from knowledge.asked import Asked
from knowledge.asked import chunks as asked_chunks
from knowledge.synonyms import Reading
from opsdesk.replicas import in_binary

K1, B = 1.6, 0.9
VIEW_WEIGHTS = {terms.WORDS: 1.0, terms.BIGRAMS: 0.3, terms.UNIGRAMS: 1.0}
OTHER_WORD_WEIGHT = 0.9  # at most, of the word that was asked for: of two alike it comes first
DIMENSIONS = 1_000_000_000  # the most a sparsevec may have
NEAR_WEIGHT = 0.3  # at most, of the word of the question (docs/retrieval.md)
QUERY_TERMS = 400  # of a very long question those that tell most

# A term's number goes on from its view's, so that the views do not share numbers.
SEEDS = {view: zlib.crc32(view.encode()) for view in terms.VIEWS}


def key(view: str, term: str) -> int:
    """The number a term goes by in the database, the same in every process.

    Two terms share one with a chance of 1 in 10⁹; they then count as one term.
    """
    return zlib.crc32(term.encode(), SEEDS[view]) % DIMENSIONS


def array(values: Iterable[int]) -> str:
    """PostgreSQL's text format, many times faster than a parameter for each number."""
    return f"{{{','.join(map(str, values))}}}"


Seen = tuple[str, str]  # a view and a term of it


@dataclass(frozen=True)
class Group:
    """A term of the question and the other words for it. Of all of them the best counts."""

    canonical: str
    written: str  # as the question says it
    own: dict[Seen, float]  # what only this part of the question says, with what it is worth
    others: dict[str, dict[Seen, float]]  # the same of each other word, never worth more


@dataclass(frozen=True)
class Query:
    """A question's terms with what each is worth in the bases that are asked."""

    idf: dict[Seen, float]  # times the term's and the view's weight
    counts: dict[int, int]  # document frequency by key; terms that stand nowhere are missing
    chunks: int  # in the asked bases
    groups: tuple[Group, ...] = ()
    # Everyday words for those of the question, which count a little beside them.
    near: dict[Seen, float] = field(default_factory=dict)

    @property
    def attainable(self) -> float:
        """The score of a chunk of mean length in which every term stands once."""
        return sum(self.idf.values())

    def attainable_by(self, words: Set[str]) -> float:
        """The same, where a chunk of these words says terms of the question in other words."""
        spared = (
            sum(group.own.values()) - max(sum(group.others[word].values()) for word in said)
            for group, said in self.said_otherwise(words)
        )
        return self.attainable - sum(spared)

    def understood(self, words: Set[str]) -> Set[str]:
        """The words with those of the question that they say in other words."""
        said = (_words(group.own) for group, _ in self.said_otherwise(words))
        return words | set().union(*said)

    def said_otherwise(self, words: Set[str]) -> list[tuple[Group, list[str]]]:
        """Groups that a chunk of these words does not say as they are written, but wholly in
        other words: those."""
        found = []
        for group in self.groups:
            said = [word for word, worth in group.others.items() if _words(worth) <= words]
            if said and not _words(group.own) <= words:
                found.append((group, said))
        return found

    @property
    def most(self) -> float:
        """What no score can exceed."""
        return (K1 + 1) * (self.attainable + sum(self.near.values()))

    def words(self) -> dict[str, float]:
        """What each word is worth, known or not."""
        return {term: value for (view, term), value in self.idf.items() if view == terms.WORDS}

    def all_terms(self) -> dict[Seen, float]:
        """What each term is worth, and the terms that count as well."""
        others = [worth for group in self.groups for worth in group.others.values()]
        return {term: value for worth in others for term, value in worth.items()} | self.idf

    def all_words(self) -> dict[str, float]:
        """`words`, and the words that count as well."""
        return {term: value for (view, term), value in (self.near | self.all_terms()).items()
                if view == terms.WORDS}  # fmt: skip

    def known(self) -> dict[int, float]:
        """Worth by key of the terms that stand somewhere, the most telling ones."""
        return self._known(self.near | self.idf)

    def vectors(self) -> tuple[dict[int, float], list[list[dict[int, float]]]]:
        """What counts in any case, and of each group the ways of which the best one counts."""
        known = self.known()
        ways = []
        for group in self.groups:
            own = {term: known.pop(term) for term in self._known(group.own) if term in known}
            ways.append([own, *map(self._known, group.others.values())])
        return known, ways

    def by_key(self) -> dict[int, float]:
        """What each term that stands somewhere may bring at most, of all that count."""
        worth, groups = self.vectors()
        for way in chain.from_iterable(groups):
            for term, value in way.items():
                worth[term] = max(value, worth.get(term, 0.0))
        return worth

    def _known(self, idf: dict[Seen, float]) -> dict[int, float]:
        worth = {
            key(view, term): value
            for (view, term), value in idf.items()
            if key(view, term) in self.counts
        }
        best = sorted(worth, key=worth.__getitem__, reverse=True)[:QUERY_TERMS]
        return {term: worth[term] for term in sorted(best)}


def query(
    text: str,
    base_ids: Sequence[int],
    reading: Reading | None = None,
    also: Iterable[int] = (),
) -> Query:
    """Weigh a question against bases asked together: their counts add up.

    With its `reading` the other words for its terms count as well. `also` are keys of terms that
    the caller wants counted in the same statement.
    """
    reading = reading or Reading(text)
    asked = _shares(text)
    others = [[_shares(word) for word in one.others] for one in reading.meant]
    beside = _beside(asked, others)
    keys = {key(view, term) for view, term in chain(asked, beside, *chain.from_iterable(others))}
    there, chunks = frequencies(keys.union(also), base_ids), asked_chunks(base_ids)
    counts = {term: count for term, count in there.items() if term in keys}
    weigh = partial(_worth, counts=counts, chunks=chunks)
    rest = _shares(reading.rest).keys() if reading.meant else set()
    worth, taken, groups = weigh(asked), set(rest), []
    for one, found in zip(reading.meant, others, strict=True):
        said = _shares(one.written).keys() & worth.keys() - taken
        own = {term: worth[term] for term in said}
        most = sum(own.values())
        ways = {
            word: _at_most(most, weigh(shares), rest)
            for word, shares in zip(one.others, found, strict=True)
        }
        taken |= own.keys()
        groups.append(Group(one.canonical, one.written, own, ways))
    known = weigh(dict.fromkeys(beside, 1.0))
    lying_near = {
        term: NEAR_WEIGHT * min(known[term], max(worth[word] for word in words))
        for term, words in beside.items()
    }
    return Query(worth, counts, chunks, tuple(groups), lying_near)


def _shares(text: str) -> dict[Seen, float]:
    return {
        (view, term): share
        for view, found in terms.query_terms(text).items()
        for term, share in found.items()
    }


def _beside(
    asked: dict[Seen, float], others: Iterable[Iterable[dict[Seen, float]]]
) -> dict[Seen, list[Seen]]:
    """Everyday words that no one asked for and no term of a base says, with those of the question
    that each is for."""
    taken = asked.keys() | set(chain.from_iterable(chain.from_iterable(others)))
    found: dict[Seen, list[Seen]] = {}
    for view, word in asked:
        for other in near.words(word) if view == terms.WORDS else ():
            if (view, other) not in taken:
                found.setdefault((view, other), []).append((view, word))
    return found


def _worth(found: dict[Seen, float], counts: dict[int, int], chunks: int) -> dict[Seen, float]:
    return {
        (view, term): share * VIEW_WEIGHTS[view] * idf(counts.get(key(view, term), 0), chunks)
        for (view, term), share in found.items()
    }


def _at_most(most: float, worth: dict[Seen, float], rest: Set[Seen]) -> dict[Seen, float]:
    """What `worth` says beside the rest of the question. However rare a word for a term is, it
    weighs a little less than the term as it was asked."""
    share = min(1.0, OTHER_WORD_WEIGHT * most / sum(worth.values()))
    return {term: share * value for term, value in worth.items() if term not in rest}


def _words(found: Iterable[Seen]) -> set[str]:
    return {term for view, term in found if view == terms.WORDS}


def frequencies(keys: Iterable[int], base_ids: Sequence[int]) -> dict[int, int]:
    """In how many chunks of these bases terms stand, by key; those that stand in any."""
    wanted = set(keys)
    if not isinstance(base_ids, Asked):
        return _count(wanted, base_ids)
    known = base_ids.counts
    if new := wanted - known.keys():
        known |= dict.fromkeys(new, 0) | _count(new, base_ids)
    return {term: known[term] for term in wanted if known[term]}


def _count(keys: Iterable[int], base_ids: Sequence[int]) -> dict[int, int]:
    with in_binary() as cursor:
        cursor.execute(
            "SELECT term, sum(chunks) FROM knowledge_termcount"
            " WHERE knowledge_base_id = ANY(%s::bigint[]) AND term = ANY(%s::int4[])"
            " GROUP BY term HAVING sum(chunks) > 0",
            [list(base_ids), array(keys)],
        )
        return {term: int(count) for term, count in cursor.fetchall()}


def idf(count: int, chunks: int) -> float:
    """Lucene's, which is never negative."""
    return math.log(1 + (chunks - count + 0.5) / (count + 0.5))
