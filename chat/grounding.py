"""Whether a sentence stands in the passages it cites: its facts word for word, its subject at all.

A fact is what an operator would type or look up: commands and paths, numbers, versions,
ports, codes, names in Latin letters, quoted words. Compared after NFKC, whatever the spaces.
"""

import re
import unicodedata
from collections.abc import Iterable

from knowledge.terms import views

_MARK = re.compile(r"\[(\d{1,3})\]")
_ENUMERATION = re.compile(r"^\s*(?:[-*+•]|\d{1,2}[.)、]|[（(]\d{1,2}[)）]|#{1,6})\s*")
_CODE = re.compile(r"```[^\n]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_QUOTED = re.compile(r"[“「『《\"']([^”」』》\"'\n]{2,200})[”」』》\"']")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NAME = re.compile(r"(?<![0-9A-Za-z_])[A-Za-z][0-9A-Za-z_]*(?:[-./:@][0-9A-Za-z_]+)*")
_HAN = re.compile(r"[\u4e00-\u9fff]")
# How much of a sentence's words its passage must share, that the sentence is about it at all.
SHARED = 0.25


def marks(text: str) -> list[int]:
    """The numbers of the citation marks in `text`, each once, in order."""
    return list(dict.fromkeys(int(number) for number in _MARK.findall(text)))


def without_marks(text: str) -> str:
    return _MARK.sub("", text)


def renumber(text: str, order: list[int]) -> str:
    """The marks named in `order` become [1], [2], … in that order."""
    return _MARK.sub(lambda mark: f"[{order.index(int(mark[1])) + 1}]", text)


def ungrounded(sentence: str, passages: Iterable[str], question: str = "") -> list[str]:
    """The facts of `sentence` that stand in none of `passages`.

    Names in Latin letters may also come from the `question`; commands and numbers may not.
    """
    text = _ENUMERATION.sub("", normal(without_marks(sentence)))
    sources = [normal(passage) for passage in passages]
    tight = [_tight(source) for source in sources]
    missing = [
        fact for fact in _verbatim(text) if not any(_tight(fact) in source for source in tight)
    ]
    known = {number for source in sources for number in _numbers(source)}
    missing += [number for number in _numbers(text) if number not in known]
    named = [*tight, _tight(normal(question))]
    missing += [name for name in _names(text) if not any(_tight(name) in n for n in named)]
    return list(dict.fromkeys(missing))


def supported(sentence: str, passage: str) -> bool:
    """Whether `sentence` is about what `passage` says: they share a good part of its words."""
    said, source = views(without_marks(sentence)), views(passage)
    words = set(said["bigrams"]) | {word for word in said["unigrams"] if word.isascii()}
    if not words:
        return True
    known = set(source["bigrams"]) | set(source["unigrams"]) | set(source["words"])
    return len(words & known) / len(words) >= SHARED


def normal(text: str) -> str:
    return _GROUPED.sub("", unicodedata.normalize("NFKC", text)).casefold()


def _tight(text: str) -> str:
    return "".join(text.split())


def _verbatim(text: str) -> list[str]:
    """Commands, code and quotations."""
    blocks = [block or inline for block, inline in _CODE.findall(text)]
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    return lines + _QUOTED.findall(_CODE.sub(" ", text))


def _numbers(text: str) -> list[str]:
    return _NUMBER.findall(text)


def _names(text: str) -> list[str]:
    """Names in Latin letters; in a sentence of another language than Chinese only those that no
    dictionary has: with digits or signs inside."""
    names = _NAME.findall(_CODE.sub(" ", text))
    if _HAN.search(text):
        return names
    return [name for name in names if re.search(r"[0-9_./:@-]", name)]
