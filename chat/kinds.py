"""What kind of thing a question asks for, and whether a text holds one.

"端口是多少" wants a port, "多久" a time with its unit, "怎么配置" nothing that could be told by its
looks. The words are content (`prompts/kinds.toml`); here stands how they are read.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

import rjieba

from chat.content import words

# Chinese numerals count; "一" alone in "一个" is no number that anybody asked for.
_DIGITS = r"(?<![\dA-Za-z])\d(?:[\d,.]*\d)?"
_NUMBER = rf"(?:{_DIGITS}|[〇零二两三四五六七八九十百千半]+|一(?![个些般种样直定]))[万亿]*"
# Numbers of list items and of citations say nothing.
_COUNTING = re.compile(
    r"^\s*(?:\d{1,2}[.)、](?!\d)|[(（]\d{1,2}[)）])\s*|\[\d{1,3}\]", re.MULTILINE
)
_LATIN_NAME = re.compile(r"[A-Z][a-z]+(?: [A-Z][a-z]+)*|[\u4e00-\u9fff]+·[\u4e00-\u9fff]+")
_ROLE = re.compile(
    r"管理员|负责人|值班员?|客服|团队|小组|部门|公司|[\u4e00-\u9fff]{1,4}[部组科处]\b"
)
_PEOPLE = ("nr", "nrt", "nrfg")  # as the segmenter tags names of people


@dataclass(frozen=True)
class Kind:
    name: str
    # None for people: no pattern tells them from other words, the segmenter guesses.
    looks: re.Pattern[str] | None
    certain: bool  # whether a text without such a thing cannot answer
    other: re.Pattern[str] | None = None  # looks alike, and is none: of durations dates

    def held(self, text: str, question: str = "") -> bool:
        """Whether `text` holds such a thing that does not stand in the question already."""
        told, asked = _COUNTING.sub(" ", plain(text)), plain(question)
        told = self.other.sub(" ", told) if self.other else told
        found = (match[0] for match in self.looks.finditer(told)) if self.looks else _people(told)
        return any(one not in asked for one in found)


def asked(question: str) -> Kind | None:
    """The kind of thing that `question` asks for; none when it asks how, why or for anything."""
    nothing, kinds, _asks = _content()
    text = plain(question)
    if nothing.search(text):
        return None
    return next((kind for asks, kind in kinds if asks.search(text)), None)


def subject(question: str) -> str:
    """The question without the words that ask."""
    return _content()[2].sub(" ", plain(question))


def _people(text: str) -> list[str]:
    tagged = [word for word, tag in rjieba.tag(text) if tag in _PEOPLE and len(word) > 1]
    return tagged + _LATIN_NAME.findall(text) + _ROLE.findall(text)


def plain(text: str) -> str:
    """In the usual width."""
    return unicodedata.normalize("NFKC", text)


@cache
def _content() -> tuple[re.Pattern[str], list[tuple[re.Pattern[str], Kind]], re.Pattern[str]]:
    """What asks for nothing, the kinds in their order by what asks for them, and all that asks."""
    content = words("kinds")
    asking = [(_any(one["asks"]), _kind(one, True)) for one in content["kind"]]
    suggesting = [
        (_any(one["suggests"]), _kind(one, False)) for one in content["kind"] if "suggests" in one
    ]
    every = [pattern for one in content["kind"] for pattern in one["asks"]]
    return _any(content["none"]), asking + suggesting, _any(every)


def _kind(one: dict[str, str], certain: bool) -> Kind:
    looks = one.get("holds", "").replace("{N}", _NUMBER)
    if not looks:
        return Kind(one["name"], None, certain=False)
    other = re.compile(one["other"]) if "other" in one else None
    return Kind(one["name"], re.compile(looks, re.IGNORECASE), certain, other)


def _any(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)
