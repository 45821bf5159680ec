"""What a question writes by a slip, read as the word of the asked bases that is meant."""

from collections.abc import Iterable, Sequence
from itertools import chain

from knowledge import terms
from knowledge.synonyms import fold
from knowledge.weighing import array, key
from opsdesk.replicas import connection


def known(words: Iterable[str], base_ids: Sequence[int]) -> set[str]:
    """Those of `words`, as they are given, that stand in any passage of these bases.

    Neither case nor width matters. Of several runs ("Jump Server") each has to stand somewhere,
    of Chinese that the dictionary cuts apart each two neighbouring characters.
    """
    runs = {word: [_ways(run[0]) for run in terms.RUN.finditer(fold(word))] for word in words}
    ways = chain.from_iterable(chain.from_iterable(runs.values()))
    there = counts(chain.from_iterable(ways), base_ids).keys()
    return {
        word
        for word, found in runs.items()
        if found and all(any(way <= there for way in ways) for ways in found)
    }


def _ways(run: str) -> list[set[int]]:
    """The ways a folded run can stand in an index: the keys that must all be there."""
    pairs = terms.views(run)[terms.BIGRAMS]
    whole = {key(terms.WORDS, run[: terms.LONGEST_TERM])}
    return [whole, {key(terms.BIGRAMS, pair) for pair in pairs}] if pairs else [whole]


def counts(keys: Iterable[int], base_ids: Sequence[int]) -> dict[int, int]:
    """In how many chunks of these bases terms stand, by key; those that stand in any."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT term, sum(chunks) FROM knowledge_termcount"
            " WHERE knowledge_base_id = ANY(%s) AND term = ANY(%s::int4[])"
            " GROUP BY term HAVING sum(chunks) > 0",
            [list(base_ids), array(set(keys))],
        )
        return {term: int(count) for term, count in cursor.fetchall()}
