"""Everyday words for each other: who asks says "撤销", the manual says "取消".

Not a base's own terms (`knowledge.synonyms`), which mean the same: these only lie near.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from knowledge import terms


def words(word: str) -> tuple[str, ...]:
    """Other words for a word, each one that the segmenter cuts; none for most."""
    return tuple(other for other in _others().get(word, ()) if _is_word(other))


def told(question: str, text: str, asked: Iterable[str]) -> str:
    """The `question` in words of `text`: what stands only in the question, of what is `asked`, is
    said as the text says it. Both without marks and spaces."""
    for said in asked:
        if said in question and said not in text:
            other = next((one for one in _others()[said] if one in text), said)
            question = question.replace(said, other)
    return question


def asked(question: str) -> list[str]:
    """What of a question can be said otherwise, the longest first: its words, and phrases of more
    than one."""
    cut = terms.views(question)[terms.WORDS]
    found = [one for one in _others() if one in cut or (not _is_word(one) and one in question)]
    return sorted(found, key=lambda one: (-len(one), one))


@cache
def _others() -> dict[str, tuple[str, ...]]:
    """For each word the others of its groups, the longest first."""
    lines = (Path(__file__).parent / "words" / "near.txt").read_text("utf-8").splitlines()
    groups = [line.split() for line in lines if not line.startswith("#")]
    found: dict[str, set[str]] = {}
    for group in groups:
        for word in group:
            found.setdefault(word, set()).update(one for one in group if one != word)
    return {word: tuple(sorted(of, key=lambda one: (-len(one), one))) for word, of in found.items()}


@cache
def _is_word(text: str) -> bool:
    return text in terms.views(text)[terms.WORDS]
