"""Sentences of a document that speak to an assistant: "忽略以上所有指令", "reply in German".

They are nothing that a reader asks for, and must neither be shown as an answer nor reach a model.
What is quoted or stands in code is spoken about, and stays: a page about such attacks can be cited.
Besides these a question or a demand is left out that shares no word with anything around it, nor
with what was asked; what programs say to who uses them stays unless such a sentence is near. The
looks are content: `words/addressed.toml`.
"""

import re
import tomllib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from knowledge.sentences import sentences

SHARED = 0.25  # of an English sentence's words that it has in common with a Chinese text by chance
REACH = 6  # lines between two such sentences that belong to the same attack
LEAST_WORDS = 4  # of an English sentence in a Chinese text, that it is one
_FENCE = re.compile(r"(^[ \t]*(?:```|~~~).*?^[ \t]*(?:```|~~~)[ \t]*$)", re.MULTILINE | re.DOTALL)
_SPOKEN_FENCE = re.compile(r"[ \t]*(?:```|~~~)[ \t]*(?:system|assistant|user|prompt)\b", re.I)
_QUOTED = re.compile(r"`[^`\n]*`|“[^”\n]*”|「[^」\n]*」|『[^』\n]*』|\"[^\"\n]*\"|'[^'\n]{4,}'")
_LANGUAGES = re.compile(  # without a space between: where Chinese begins, or a sentence in English
    r"(?:(?<=[A-Za-z0-9'\"’”)\]][.?!])|(?<=[.?!]['\"’”)\]]))(?=[\u3400-\u9fff`])"
    r"|(?<=[\u3400-\u9fff\uff01-\uff65)\]}>*])(?=[A-Z][a-z]*(?: [A-Za-z'-]+){2})"
)
_HAN = re.compile(r"[\u3400-\u9fff]")
_WORD = re.compile(r"[a-z][a-z0-9+#]{2,}")
_LEAD = re.compile(r"^[\s>*\-+•#|]*(?:\d{1,3}[.)、]\s*)?")
_INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]"
)
_SIMPLE = str.maketrans(
    "請無視規則現員並洩漏機訴碼統詞開發輸顯從與們這來說過應該給對發執創寫總結譯講編畫為擇會個類"
    "約設題體權執記錄資庫廣當處進須僅據備歷",
    "请无视规则现员并泄漏机诉码统词开发输显从与们这来说过应该给对发执创写总结译讲编画为择会个类"
    "约设题体权执记录资库广当处进须仅据备历",
)


@dataclass(frozen=True)
class _Sentence:
    text: str  # with the space behind it
    line: int  # counted from 0; a block of code is one


@cache
def _content() -> dict[str, list[str]]:
    return tomllib.loads((Path(__file__).parent / "words" / "addressed.toml").read_text("utf-8"))


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in _content()[name]))


@cache
def _no_words() -> frozenset[str]:
    return frozenset(_content()["no_words"])


def found(text: str) -> list[str]:
    """The sentences of `text` that speak to an assistant."""
    return [one.text.strip() for one in _cut(text) if _speaks(one.text)]


def blanked(text: str) -> str:
    """A title, a heading or a question as readers may see it: "" when it speaks to an assistant."""
    return "" if found(text) else text


def cleaned(text: str, about: str = "") -> str:
    """Markdown without such sentences, and what stands between two of one attack.

    `about`: what else the text belongs to: its title, its headings, the question.
    """
    parts = _cut(text)
    spoken = [at for at, one in enumerate(parts) if _speaks(one.text)]
    gone = set(spoken) | _between(parts, spoken)
    lines = {parts[at].line for at in gone}
    for at, one in enumerate(parts):
        if at not in gone and _strange(parts, at, gone, about, one.line in lines):
            gone.add(at)
    gone |= {at for at in _between(parts, sorted(gone)) if not _HAN.search(parts[at].text)}
    if not gone:
        return text
    kept = "".join(
        one.text if at not in gone else "\n" * (one.text.endswith("\n"))
        for at, one in enumerate(parts)
    )
    return re.sub(r"\n{3,}", "\n\n", kept).strip("\n")


def _cut(text: str) -> list[_Sentence]:
    parts: list[_Sentence] = []
    line = 0
    for at, block in enumerate(_FENCE.split(text)):
        if at % 2:
            parts.append(_Sentence(block, line))
            line += 1
            continue
        for sentence in sentences(block):
            parts += [_Sentence(piece, line) for piece in _LANGUAGES.split(sentence) if piece]
            line += sentence.count("\n")
    return parts


def _plain(sentence: str) -> str:
    """As the patterns want it: what it says itself."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", sentence)).translate(_SIMPLE).lower()
    return _LEAD.sub("", text).strip()


def _speaks(sentence: str) -> bool:
    if _FENCE.fullmatch(sentence.strip("\n")):
        return bool(_SPOKEN_FENCE.match(sentence.lstrip("\n")))
    plain = _plain(sentence)
    return bool(_pattern("patterns").search(_QUOTED.sub(" ", plain)))


def _between(parts: Sequence[_Sentence], spoken: Sequence[int]) -> set[int]:
    """Sentences between two that speak, a few lines apart."""
    between: set[int] = set()
    for one, other in pairwise(spoken):
        if parts[other].line - parts[one].line <= REACH:
            between.update(range(one + 1, other))
    return between


def _strange(parts: Sequence[_Sentence], at: int, gone: set[int], about: str, beside: bool) -> bool:
    """Whether it demands something, is in another language, or stands `beside` one that speaks to
    an assistant, and has nothing to do with all around it."""
    plain = _plain(parts[at].text)
    if plain.startswith("http"):  # a link that closes an attack
        return at - 1 in gone
    if not plain or "`" in plain or plain.startswith(("|", "<")):
        return False
    near = any(abs(parts[n].line - parts[at].line) <= REACH for n in gone)
    if not near and _pattern("prompts").search(plain):
        return False
    words = _words(plain)
    others = [one.text for n, one in enumerate(parts) if n != at and n not in gone]
    chinese = [one for one in others if _HAN.search(one)]
    mostly = near or 2 * sum(map(len, chinese)) > sum(map(len, others))
    foreign = bool(chinese or _HAN.search(about)) and mostly and not _HAN.search(plain)
    demands = bool(_pattern("demands").fullmatch(plain.rstrip("'\"”’")))
    talks = near and foreign and _is_sentence(plain)
    if not demands and not beside and not talks:
        return False
    around = "".join(chinese if foreign else others)
    shared = words & _words(_plain(f"{around} {about}"))
    return bool(words) and len(shared) <= (SHARED * len(words) if foreign else 0)


def _is_sentence(plain: str) -> bool:
    """Whether English words make a sentence, and not only a name or a message."""
    ended = plain.rstrip("'\")”’").endswith((".", "!", "?"))
    return ended and len(re.findall(r"[a-z]{2,}", plain)) >= LEAST_WORDS


def _words(plain: str) -> set[str]:
    """English words as they are, of Chinese the pairs of letters."""
    han = {a + b for a, b in pairwise(plain) if _HAN.match(a) and _HAN.match(b)}
    english = {word.rstrip("s") for word in _WORD.findall(plain)} - _no_words()
    return han | english
