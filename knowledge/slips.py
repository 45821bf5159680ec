"""What a question writes by a slip, read as the word of the asked bases that is meant.

Careful before clever: only what stands nowhere in the bases is read otherwise, only as a word
that stands there, only where one reading is clearly the likeliest. Codes, versions, hosts, paths,
numbers and what is quoted stay as they are. docs/retrieval.md says what it is worth.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import NamedTuple

import rjieba
from rapidfuzz import process
from rapidfuzz.distance import OSA

from knowledge import terms, vocabulary
from knowledge.synonyms import fold
from knowledge.vocabulary import Words, sound
from knowledge.weighing import frequencies, key

LONGEST = 400  # characters: a longer question says enough
SMALL_BASE = 100  # chunks: in a smaller one a word that stands once may be meant
LEAST = 3  # chunks of a larger one in which a word stands that may be meant
HAN_SHARE = 0.001  # of the chunks, if that is more
CLOSE = 0.3  # difference of costs up to which the more frequent word is meant
CLEARLY = 4  # times as many chunks as another word that could be meant
# A reading stands in the bases beside as many of the characters around it as what is written,
# beside all of them, or beside all and of those beside which what is written does not.
AS_WELL, ALL, BETTER = range(3)
SEAM = 1.5  # cost of a character that is read otherwise beside a word
LONG_WORD = 9  # letters from which two slips are believed
TYPED = 5  # letters of pinyin, at least
TOKENS = 6  # words typed as pinyin that are read together
SPAN = 6  # Chinese characters that are read together

# Letters that lie beside each other or that are taken for each other by ear.
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
ALIKE = ("aeiouy", "cks", "szx", "bp", "dt", "mn", "vw", "lr", "fv", "gj")

QUOTED = re.compile(
    r'"[^"]*"|“[^”]*”|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》|`[^`]*`'
    r"|(?<!\w)'[^']*'(?!\w)"
)
LATIN = re.compile(r"[A-Za-z]{1,30}(?:[_-][A-Za-z]{1,30})*")
HAN = re.compile(r"[\u4e00-\u9fff]{2,}")
JOINED_BEFORE, JOINED_AFTER = "/\\.@~$%#&=_-", "/\\@="  # parts of a path, a host, an option
Run = re.Match[str]


class Mended(NamedTuple):
    text: str  # the question as it is looked for
    slips: list[tuple[str, str]]  # as written, and as read


@dataclass(frozen=True)
class Reading:
    """A place of the question and a word of the bases that could be meant there."""

    start: int
    end: int
    meant: str
    term: int  # what has to stand in the bases for it
    cost: float  # how far that is from what is written
    needs: int = AS_WELL  # how it has to stand beside the characters around it


class Span(NamedTuple):
    """Words of Chinese as they were cut, one or several beside each other."""

    start: int
    end: int
    cut: int  # into how many


def mend(query: str, base_ids: Sequence[int]) -> Mended:
    """The question with its slips read as words of these bases; as it is when there are none."""
    text = unicodedata.normalize("NFKC", query)
    if len(text) > LONGEST:
        return Mended(query, [])
    runs = _free(text)
    latin = [run for run in runs if run[0].isascii()]
    spans = [span for run in runs if not run[0].isascii() for span in _spans(run)]
    there = frequencies(_first(text, latin), base_ids)
    latin = [run for run in latin if _strange(run[0].lower(), there)]
    spans = [span for span in spans if not _pairs(text[span.start : span.end]) <= there.keys()]
    if not latin and not spans:
        return Mended(query, [])
    words, chunks = vocabulary.of(base_ids)
    readings = [
        *chain.from_iterable(_looking(run, words, there) for run in latin),
        *chain.from_iterable(_sounding(text, span, words, there) for span in spans),
    ]
    chosen = _chosen(text, readings, base_ids, chunks) if readings else []
    chosen = _apart([*_typed(text, latin, words, base_ids, chunks), *chosen])
    return _rewritten(text, chosen) if chosen else Mended(query, [])


def keys(query: str) -> set[int]:
    """Those of the terms that `mend` looks for in any case: for who counts them with others."""
    text = unicodedata.normalize("NFKC", query)
    if len(text) > LONGEST:
        return set()
    return _first(text, [run for run in _free(text) if run[0].isascii()])


def _first(text: str, latin: Iterable[Run]) -> set[int]:
    return _pairs(text).union(*(_keys_of(run[0]) for run in latin))


def _rewritten(text: str, chosen: Sequence[Reading]) -> Mended:
    slips = [(text[one.start : one.end], one.meant) for one in chosen]
    for one in reversed(chosen):
        text = text[: one.start] + one.meant + text[one.end :]
    return Mended(text, slips)


# --- what may be a slip ------------------------------------------------------------------


def _free(text: str) -> list[Run]:
    """Runs of letters that are neither quoted nor part of a path, a host, a code or a number."""
    quoted = [match.span() for match in QUOTED.finditer(text)]
    free: list[Run] = []
    for run in terms.RUN.finditer(text):
        if any(start < run.end() and run.start() < end for start, end in quoted):
            continue
        if run["han"]:
            free += HAN.finditer(text, *run.span())
        elif LATIN.fullmatch(run[0]) and not run[0].isupper() and not _joined(text, run):
            free.append(run)
    return free


def _joined(text: str, run: Run) -> bool:
    before, after = text[run.start() - 1 : run.start()], text[run.end() : run.end() + 1]
    return bool((before and before in JOINED_BEFORE) or (after and after in JOINED_AFTER))


def _keys_of(word: str) -> set[int]:
    return {key(terms.WORDS, part) for part in (word.lower(), *_parts(word.lower()))}


def _parts(word: str) -> list[str]:
    return re.split("[_-]", word)


def _pairs(text: str) -> set[int]:
    """Keys of each two Chinese characters beside each other."""
    return {key(terms.BIGRAMS, a + b) for a, b in pairwise(text) if _is_han(a) and _is_han(b)}


def _is_han(letter: str) -> bool:
    return "\u4e00" <= letter <= "\u9fff"


def _strange(word: str, there: Iterable[int]) -> bool:
    return not (
        key(terms.WORDS, word) in there or word in names() or word in terms.question_words()
    )


@cache
def names() -> frozenset[str]:
    """Words that are never a slip, whether or not a base knows them."""
    lines = (Path(__file__).parent / "words" / "names.txt").read_text("utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _spans(run: Run) -> Iterator[Span]:
    """Where Chinese characters may stand for others: cut words, each and some beside each other.

    Of several at least one is a single character: the dictionary knows no word there.
    Traditional characters are left alone, they are no slip.
    """
    tokens = list(rjieba.cut(run[0], False))
    edges = list(accumulate(map(len, tokens), initial=run.start()))
    for first in range(len(tokens)):
        for last in range(first, len(tokens)):
            cut = tokens[first : last + 1]
            length = edges[last + 1] - edges[first]
            if length > SPAN or not _simplified(tokens[last]):
                break
            if length > 1 and (len(cut) == 1 or min(map(len, cut)) == 1) and _telling(cut):
                yield Span(edges[first], edges[last + 1], len(cut))


def _telling(cut: Sequence[str]) -> bool:
    """Whether no word in it is one that merely asks."""
    return terms.question_words().isdisjoint(cut)


def _simplified(word: str) -> bool:
    try:
        word.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


# --- what could be meant -----------------------------------------------------------------


def _looking(run: Run, words: Sequence[Words], there: Iterable[int]) -> Iterator[Reading]:
    """Words that are written almost like a run of Latin letters."""
    written = run[0].lower()
    slips = 2 if len(written) >= LONG_WORD else 1
    lengths = range(len(written) - slips, len(written) + slips + 1)
    near = chain(*(one.looking(first, lengths) for one in words for first in {*written[:2]}))
    for meant, _, _ in process.extract(
        written, set(near), scorer=OSA.distance, score_cutoff=slips, limit=None
    ):
        if cost := _slip(written, meant, there):
            yield Reading(*run.span(), meant, key(terms.WORDS, meant), cost)


def _slip(written: str, meant: str, there: Iterable[int]) -> float:
    """How unlikely it is that who means one word writes the other; 0 if that is no slip.

    Of joined words one may be written amiss, and nowhere stand as it is written.
    """
    if not (wrote := _parts(written))[1:]:
        return 0.0 if _parts(meant)[1:] else _cost(written, meant)
    differing = [pair for pair in zip(wrote, _parts(meant), strict=False) if len({*pair}) == 2]
    if len(differing) != 1 or len(wrote) != len(_parts(meant)):
        return 0.0
    part, other = differing[0]
    return _cost(part, other) if len(part) > 4 and key(terms.WORDS, part) not in there else 0.0


def _cost(written: str, meant: str) -> float:
    distance, length = OSA.distance(written, meant), len(written)
    if distance == 2:
        long = min(length, len(meant)) >= LONG_WORD
        return 2.0 if long and written[0] == meant[0] else 0.0
    if distance != 1 or length < 4:
        return 0.0
    if length == len(meant):
        changed = [(a, b) for a, b in zip(written, meant, strict=True) if a != b]
        if len(changed) == 2:
            return 1.0  # two letters changed places
        believed = length > 4 and (length >= LONG_WORD or _close(*changed[0]))
        return 1.3 if believed and written[0] == meant[0] else 0.0
    if written[0] != meant[0]:
        return 0.0
    if length < len(meant):
        return 1.0  # one is missing
    doubled = any(
        a == b and written[:n] + written[n + 1 :] == meant
        for n, (a, b) in enumerate(pairwise(written))
    )
    return 1.0 if doubled else 1.2 if length > 5 else 0.0


def _close(a: str, b: str) -> bool:
    """Whether letters lie beside each other on the keyboard or sound alike."""
    rows = [(row.find(a), row.find(b)) for row in KEYBOARD]
    return any(min(pair) >= 0 and abs(pair[0] - pair[1]) == 1 for pair in rows) or any(
        a in some and b in some for some in ALIKE
    )


def _sounding(
    text: str, span: Span, words: Sequence[Words], there: Mapping[int, int]
) -> Iterator[Reading]:
    """Words that sound like Chinese characters that nowhere stand beside each other."""
    written = text[span.start : span.end]
    heard = sound(written)
    for meant in {word for one in words for word in one.sounding(heard)}:
        changed = sum(a != b for a, b in zip(written, meant, strict=False))
        other = changed == len(written)
        # Of a word of the dictionary at least a character must be right.
        if len(meant) == len(written) and changed and not (other and span.cut == 1):
            needs = BETTER if other or span.cut == 1 else AS_WELL
            yield Reading(*span[:2], meant, key(terms.WORDS, meant), changed, needs)
    if span.cut == 2 and len(written) == 3 and _pairs(written[:2]) <= there.keys():
        # A word with a character that makes another word of it: 副本集.
        for last in {word for one in words for word in one.characters[sound(written[-1])]}:
            if last != written[-1] and last not in terms.question_words():
                pair = key(terms.BIGRAMS, written[1] + last)
                yield Reading(*span[:2], written[:2] + last, pair, SEAM, ALL)


def _typed(
    text: str, latin: Sequence[Run], words: Sequence[Words], base_ids: Sequence[int], chunks: int
) -> Iterator[Reading]:
    """Chinese words whose pinyin is typed: "shujuku", "neicun buzu", "nei cun"."""
    rest = list(latin)
    while rest:
        some = _beside(text, rest[:TOKENS])
        for count in range(len(some), 0, -1):
            typed = "".join(run[0] for run in some[:count]).lower()
            sounds = _sounds(typed, words) if len(typed) >= TYPED else []
            meant = [_clearest(one, words, base_ids, chunks) for one in sounds]
            if meant and all(meant):
                yield Reading(some[0].start(), some[count - 1].end(), "".join(meant), 0, 1.0)
                break
        rest = rest[count:]


def _beside(text: str, runs: Sequence[Run]) -> list[Run]:
    """The first ones between which there is a space and nothing else."""
    some = list(runs[:1])
    for before, after in pairwise(runs):
        if text[before.end() : after.start()] != " ":
            break
        some.append(after)
    return some


def _sounds(typed: str, words: Sequence[Words]) -> list[str]:
    """Letters cut into as few sounds of words as possible; none if that cannot be."""
    fewest: dict[int, list[str]] = {0: []}  # by how many letters they take
    for end in range(2, len(typed) + 1):
        for start in range(end - 1):
            piece = typed[start:end]
            if start in fewest and any(one.sounding(piece) for one in words):
                way = [*fewest[start], piece]
                if end not in fewest or len(way) < len(fewest[end]):
                    fewest[end] = way
    return fewest.get(len(typed), [])


def _clearest(heard: str, words: Sequence[Words], base_ids: Sequence[int], chunks: int) -> str:
    """The word of a sound that is clearly the most frequent."""
    numbers = {word: key(terms.WORDS, word) for one in words for word in one.sounding(heard)}
    there = frequencies(numbers.values(), base_ids)
    found = sorted(((there.get(number, 0), word) for word, number in numbers.items()), reverse=True)
    clear = len(found) == 1 or found[0][0] >= CLEARLY * found[1][0]
    return found[0][1] if clear and found[0][0] >= _least(found[0][1], chunks) else ""


# --- which of it is meant ----------------------------------------------------------------


def _chosen(
    text: str, readings: Sequence[Reading], base_ids: Sequence[int], chunks: int
) -> list[Reading]:
    """At each place the reading that is clearly the likeliest, if there is one."""
    around = chain.from_iterable(_around(text, one) for one in readings)
    there = frequencies(
        chain((one.term for one in readings), chain.from_iterable(around)), base_ids
    )
    places: dict[tuple[int, int], list[Reading]] = {}
    for one in readings:
        often = there.get(one.term, 0)
        if often >= _least(one.meant, chunks) and _fits(text, one, there):
            places.setdefault((one.start, one.end), []).append(one)
    chosen = []
    for found in places.values():
        found.sort(key=lambda one: (one.cost, -there[one.term]))
        first, *others = found
        if all(
            one.cost - first.cost > CLOSE or CLEARLY * there[one.term] <= there[first.term]
            for one in others
        ):
            chosen.append(first)
    return chosen


def _least(meant: str, chunks: int) -> float:
    """In how many chunks a word must stand to be meant. Of Chinese words many sound alike."""
    if chunks < SMALL_BASE:
        return 1
    return LEAST if meant.isascii() else max(2 * LEAST, chunks * HAN_SHARE)


def _around(text: str, one: Reading) -> list[tuple[int, int]]:
    """Keys of the pairs of Chinese characters over its edges, as written and as read."""
    before, after = text[one.start - 1 : one.start], text[one.end : one.end + 1]
    edges = [
        (before + text[one.start], before + one.meant[0]),
        (text[one.end - 1] + after, one.meant[-1] + after),
    ]
    return [
        (key(terms.BIGRAMS, wrote), key(terms.BIGRAMS, read))
        for wrote, read in edges
        if len(wrote) == 2 and all(map(_is_han, wrote + read))
    ]


def _fits(text: str, one: Reading, there: Mapping[int, int]) -> bool:
    edges = _around(text, one)
    wrote = sum(pair[0] in there for pair in edges)
    read = sum(pair[1] in there for pair in edges)
    if one.needs == AS_WELL:
        return read >= wrote
    return read == len(edges) and (one.needs == ALL or read > wrote)


def _apart(readings: Iterable[Reading]) -> list[Reading]:
    """Those that do not overlap, the longest first to be kept; in their order."""
    kept: list[Reading] = []
    for one in sorted(readings, key=lambda one: (one.start - one.end, one.cost)):
        if all(one.end <= other.start or other.end <= one.start for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: one.start)


# --- what is known -----------------------------------------------------------------


def known(words: Iterable[str], base_ids: Sequence[int]) -> set[str]:
    """Those of `words`, as they are given, that stand in any passage of these bases.

    Neither case nor width matters. Of several runs ("Jump Server") each has to stand somewhere,
    of Chinese that the dictionary cuts apart each two neighbouring characters.
    """
    runs = {word: [_ways(run[0]) for run in terms.RUN.finditer(fold(word))] for word in words}
    ways = chain.from_iterable(chain.from_iterable(runs.values()))
    there = frequencies(chain.from_iterable(ways), base_ids).keys()
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
