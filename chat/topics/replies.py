"""How a customer replies when asked: does not know, puts right, wonders, asks something else.

The words are content (`prompts/topics.toml`); here stands how they are read.
"""

import re
import unicodedata
from functools import cache

from chat import understanding
from chat.content import words

ABOUT = 10  # characters that may tell what is not known: "版本号我不知道"
_INVISIBLE = re.compile(r"[\u200b-\u200f\u2060\ufeff]")
_CLAUSES = re.compile(r"[，。！？；、,!?;\n]+|\.(?=\s|$)")


@cache
def pattern(name: str, *, whole: bool = False, about: bool = False) -> re.Pattern[str]:
    """Any of the patterns called `name`; `whole`: nothing else, `about`: but a few characters."""
    made = "|".join(f"(?:{one})" for one in words("topics")[name])
    if whole:
        made = rf"(?P<about>.{{0,{ABOUT}}}?)(?:{made})" if about else rf"(?:{made})"
        made = rf"\s*{made}[\s~…]*\Z"
    return re.compile(made, re.IGNORECASE)


@cache
def beside() -> frozenset[str]:
    return frozenset(words("topics")["beside"])


def plain(text: str) -> str:
    """In the usual width, without what cannot be seen."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).strip()


def clauses(text: str) -> list[str]:
    return [clause.strip() for clause in _CLAUSES.split(text) if clause.strip()]


def declines_all(text: str) -> bool:
    """Whether nothing more is to be asked. `text` is plain, as below."""
    return any(pattern("declines_all", whole=True).match(clause) for clause in clauses(text))


def declined(text: str) -> list[str]:
    """What is not known, a piece of text for each clause that says so, "" for just that."""
    found = (pattern("declines", whole=True, about=True).match(part) for part in clauses(text))
    return [one["about"] for one in found if one and not asks(one["about"])]


def corrects(text: str) -> bool:
    return bool(pattern("corrects").search(text))


def asks(text: str) -> bool:
    """Whether `text` asks something."""
    return bool(pattern("asks").search(text))


def wonders(text: str) -> bool:
    """Whether `text` only asks why we ask, or what we mean."""
    parts = clauses(text)
    return bool(parts) and all(pattern("wonders", whole=True).match(part) for part in parts)


def says_nothing(text: str) -> bool:
    """Whether `text` is a greeting or "it does not work", which answers no question."""
    name = text.isascii() and len(text.split()) == 1  # "Jenkins" is vague as a question only
    return not text.strip() or (understanding.vague(text, []) and not name)
