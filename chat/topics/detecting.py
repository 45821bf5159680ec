"""Which topic a message is about: by the words staff gave, or its likeness to their examples."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from chat.models import Topic
from chat.topics.replies import plain
from knowledge import terms

ALIKE = 0.6  # share of the words of an example and a message that both have
CANDIDATES = 3  # topics that a model may choose from


def detect(text: str, topics: Iterable[Topic]) -> Topic | None:
    """The topic with the longest words in `text`, which is plain, else the most alike example."""
    spoken = {topic: max(map(_length, _hits(text, topic)), default=0) for topic in topics}
    best = max(spoken, key=lambda topic: spoken[topic], default=None)
    if best is not None and spoken[best]:
        return best
    alike = {topic: _likeness(text, topic.examples) for topic in spoken}
    best = max(alike, key=lambda topic: alike[topic], default=None)
    return best if best is not None and alike[best] >= ALIKE else None


def candidates(text: str, topics: Sequence[Topic]) -> list[Topic]:
    """Those that share a word with `text`, the most first: what a model is asked about."""
    said = words(text)
    shared = [(len(said & _all_words(topic)), topic) for topic in topics]
    found = sorted((one for one in shared if one[0]), key=lambda pair: -pair[0])
    return [topic for _count, topic in found[:CANDIDATES]]


def _hits(text: str, topic: Topic) -> list[str]:
    return [words for words in topic.triggers if all(part.search(text) for part in _parts(words))]


def _length(words: str) -> int:
    return len(words.replace(" ", ""))


@lru_cache(2048)
def _parts(words: str) -> tuple[re.Pattern[str], ...]:
    """Words with spaces between count when all are there, in any order; Latin ones are a phrase."""
    written = plain(words)
    parts = [written] if written.isascii() else written.split()
    return tuple(_part(part) for part in parts)


def _part(part: str) -> re.Pattern[str]:
    made = re.escape(part).replace(r"\ ", r"\s+")
    before = r"(?<![A-Za-z0-9])" if part[:1].isascii() else ""
    after = r"(?![A-Za-z])" if part[-1:].isascii() else ""
    return re.compile(before + made + after, re.IGNORECASE)


def _likeness(text: str, examples: Sequence[str]) -> float:
    said = words(text)
    return max((_alike(said, words(plain(example))) for example in examples), default=0.0)


def _alike(said: frozenset[str], example: frozenset[str]) -> float:
    """0–1. A long message may hold an example whole."""
    both = len(said & example)
    if both > 2 and both == len(example):
        return 1.0
    return both / len(said | example) if both > 1 else 0.0


@lru_cache(2048)
def words(text: str) -> frozenset[str]:
    return frozenset(terms.views(text)[terms.WORDS].keys() - terms.question_words())


def _all_words(topic: Topic) -> frozenset[str]:
    return words(plain(" ".join([topic.name, topic.description, *topic.triggers, *topic.examples])))
