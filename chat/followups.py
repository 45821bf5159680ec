"""A follow-up made a complete question, without a model: what it leaves out is carried over.

Careful: a thing is put where a word points at one ("它的端口"), where the same is asked of another
("那 Nginx 呢"), or before a question that names none ("要停机吗"). The words are content
(`prompts/intents.toml`). Measured by `manage.py bench_followups`.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import rjieba

from chat import content
from chat.understanding import follows
from knowledge import terms
from knowledge.scope import fold

ANOTHER = 16  # characters that such a thing has at most
_END = "?？!！。. "
_NOUNS = {"n", "nr", "nrt", "ns", "nt", "nz", "ng", "eng", "j", "l", "i", "vn", "an"}
_INSIDE = {"a", "m", "zg", "uj", "ng"}  # of a name, between or after its nouns
_STOP = ("。", "x")  # names nothing
_NAMED = _NOUNS | {"m"}
_CONTENT = _NAMED | {"v"}
_TOKEN = re.compile(r"[a-z0-9_]+(?:[-./:@][a-z0-9_]+)*")  # of a folded text
_CODE = re.compile(r"\d{3,5}|[A-Za-z]+[-_]?\d{3,}|0x[0-9a-fA-F]+")  # 137, ORA-01555; not 8.0
_LATIN = re.compile(r"[A-Za-z][A-Za-z0-9.+-]+")
_TERSE = re.compile(r"[^A-Za-z]{1,8}[吗么嘛]")  # so short a yes or no leaves out what it is about


def complete(question: str, earlier: Sequence[str]) -> str:
    """`question` with what it leaves out, out of what was said before it, oldest first.

    As it is when it leaves nothing out, or nothing was named before.
    """
    if not earlier:
        return question
    replaced = _replaced(question, earlier)
    if replaced:
        return replaced
    if follows(question):
        return f"{earlier[0]} {question}"
    topic = _topic(question, earlier)
    return _put_before(topic, question) if topic and _bare(question) else question


def query(question: str, before: str) -> str:
    """What to look for when `before` was asked last: the complete question where one thing takes
    the place of another; else, where something is left out, the words of both."""
    replaced = _replaced(question, [before])
    if replaced:
        return replaced
    leans = follows(question) or _bare(question) or _about_another(question)
    return f"{before} {question}" if leans else question


def faithful(rewritten: str, question: str, earlier: Sequence[str]) -> bool:
    """Whether a rewritten question says nothing that was not said, and drops no name or number of
    the question itself."""
    tokens = _TOKEN.findall(fold(question))
    return all(one in fold(rewritten) for one in tokens) and not unsaid(
        rewritten, [*earlier, question]
    )


def unsaid(text: str, said: Sequence[str], *, told: bool = False) -> list[str]:
    """The names, numbers and codes of `text` that nobody said, and what it says is done.

    `told`: it tells of what was said, in words of its own: only its names and numbers count.
    """
    known = fold("\n".join(said))
    kinds, free = (_NAMED, _rules()["telling"]) if told else (_CONTENT, [])
    words = [word for word, kind in rjieba.tag(text) if kind in kinds and word not in free]
    words = [word for word in words if len(word) > told]  # "问" and "答" name nothing
    words = [fold(word) for word in words if word not in _rules()["bare"]]
    return [one for one in [*_TOKEN.findall(fold(text)), *words] if one not in known]


def _replaced(question: str, earlier: Sequence[str]) -> str | None:
    other = swapped(question, earlier[-1]) or swapped(question, earlier[0])
    pointing = _pattern("points").search(question)
    if other or not pointing:
        return other
    topic = _topic(question, earlier)
    return question[: pointing.start()] + topic + question[pointing.end() :] if topic else None


def _bare(question: str) -> bool:
    """Whether it says little, and names no thing; a code alone is one."""
    if _CODE.fullmatch(question.strip(_END)):
        return False
    little = len(question) <= _rules()["length"] and not list(_things(question))
    return little or bool(_TERSE.fullmatch(question.strip(_END)))


def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = content.words("intents")["follow_up"]
    return rules


@cache
def _pattern(name: str) -> content.Pattern:
    return content.Pattern(_rules()[name])


def instead(question: str) -> str:
    """What "那 Nginx 呢" names in the place of something, "" where it is no such question."""
    tried = (re.fullmatch(one, question.strip(_END), re.IGNORECASE) for one in _rules()["swaps"])
    return next((found["thing"] for found in tried if found), "")


def swapped(question: str, before: str) -> str | None:
    """The question before, asked about the thing that this one names instead."""
    thing = "" if before.isascii() else instead(question)  # what is a name there does not show
    named = list(_things(thing))
    if not named or len(thing) > 2 + sum(map(len, named)):
        return None
    parts = [part for one in _things(before) for part in one.split("的")]
    alike = (part for part in parts if _alike(part, thing))
    old = next(alike, _product(parts, before, thing))
    return before.replace(old, thing, 1) if old else None


def _alike(one: str, other: str) -> bool:
    """Two names in Latin letters, or with the same last one: 测试环境, 生产环境."""
    return one != other and ((one.isascii() and other.isascii()) or one[-1:] == other[-1:])


def _about_another(question: str) -> bool:
    """Whether it only names something and asks nothing of it: "Nginx 呢"."""
    thing = instead(question).removesuffix("的")
    return 0 < len(thing) <= ANOTHER and not terms.words(thing) & terms.question_words()


def _product(parts: Sequence[str], text: str, other: str) -> str | None:
    """The one Latin name of `text`, where the first thing it names begins with it (VPN 账号) and
    `other` sounds like a product, too."""
    names = set(_LATIN.findall(text))
    first = len(names) == 1 and parts and parts[0].startswith(*names)
    return names.pop() if first and _pattern("products").search(other) else None


def _topic(question: str, earlier: Sequence[str]) -> str:
    """The thing that was spoken of: named more than once, or first, or in more letters."""
    best, most = "", 0.0
    for place, text in enumerate(earlier):
        for number, thing in enumerate(_things(text)):
            if thing in question:
                continue
            again = sum(thing in other for other in earlier) - 1
            worth = 1 + 0.6 * again + min(len(thing), 6) / 24 - 0.1 * number + 0.3 * (place == 0)
            if worth > most:
                best, most = thing, worth
    return best


def _put_before(topic: str, question: str) -> str:
    lead = _pattern("leads").match(question)
    at = lead.end() if lead else 0
    return question[:at] + topic + question[at:]


def _things(text: str) -> Iterator[str]:
    """What `text` names: nouns that stand together, with what joins them."""
    run: list[tuple[str, str]] = []
    for part in [*rjieba.tag(text), _STOP]:
        if _names(*part) or (run and _joins(*part)):
            run.append(part)
            continue
        while run and not _names(*run[-1]):
            run.pop()
        thing = "".join(word for word, _kind in run)
        if len(thing) > 1:
            yield thing
        run = []


def _names(word: str, kind: str) -> bool:
    return kind in _NOUNS and word not in _rules()["bare"]


def _joins(word: str, kind: str) -> bool:
    return kind in _INSIDE or not word.strip()
