"""What a message is: a call for a person, thanks, a question, too vague a one, or a follow-up.

The words are content (`prompts/intents.toml`); here stands how they are read.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from chat.content import Pattern, words

PERSON, UNHAPPY, THANKS, GREETING, ABUSE = "person", "unhappy", "thanks", "greeting", "abuse"
CHAT = "chat"  # about nothing that a knowledge base holds
FAILED_AGAIN = "failed_again"
URGENT, UPSET = "urgent", "upset"
LONGEST = 60  # characters of a clause that can say so

_CLAUSES = re.compile(r"[\s]*[，。！？；、~…,!?;\n]+[\s]*|\.(?=\s|$)")
_SPACED = re.compile(r"(?<=[\u4e00-\u9fff])[ \t]+(?=[\u4e00-\u9fff])")  # "转 人工"
_PARTS = "intents", "beside", "alone", "moods", "replies", "signs", "picking"
# What a whole message is made of, and what it is then; the first wins.
_ALONE = {
    "unhappy_alone": UNHAPPY,
    UPSET: "",
    URGENT: "",
    CHAT: CHAT,
    THANKS: THANKS,
    GREETING: GREETING,
}
_PRODUCT = re.compile(r"[A-Za-z][A-Za-z+.-]{1,30}")  # "Redis", "node.js"; not "ORA-01555"


@cache
def _patterns(intent: str) -> Pattern:
    parts = (words("intents")[part] for part in _PARTS)
    return Pattern(next(part[intent] for part in parts if intent in part))


@cache
def _leaning(part: str) -> Pattern:
    return Pattern(words("intents")["follow_up"][part])


@cache
def _places() -> Pattern:
    return Pattern(words("intents")["places"]["said"])


@cache
def _fillers() -> tuple[str, ...]:
    return tuple(sorted(words("intents")["fillers"], key=len, reverse=True))


def clauses(text: str) -> list[str]:
    plain = _SPACED.sub("", unicodedata.normalize("NFKC", text)).strip()
    return [clause for clause in (part.strip() for part in _CLAUSES.split(plain)) if clause]


def _bare(clause: str) -> Iterator[str]:
    """`clause`, then again with one more filler taken off its ends each time."""
    while clause:
        yield clause
        lower = clause.lower()
        for filler in _fillers():
            if lower.startswith(filler):
                clause = clause[len(filler) :].strip()
                break
            if lower.endswith(filler):
                clause = clause[: -len(filler)].strip()
                break
        else:
            return


def _is(intent: str, clause: str) -> bool:
    if len(clause) > LONGEST:
        return False
    return any(_patterns(intent).fullmatch(bare) for bare in _bare(clause))


def intent(text: str, *, answered: bool = False) -> str:
    """What `text` is beside a question, "" for a question.

    Calling a person, being unhappy and abuse may stand beside other clauses, in weaker words only
    beside such as ask for nothing; the rest only counts when there is nothing else. `answered`:
    OpsDesk has answered before, so "还是不行" is a complaint.
    """
    parts = clauses(text)
    for found in (PERSON, UNHAPPY, ABUSE):
        if any(_is(found, part) for part in parts):
            return found
    weaker = {"person_beside": PERSON, "unhappy_beside": UNHAPPY}
    if answered:
        weaker[FAILED_AGAIN] = UNHAPPY
    for name, found in weaker.items():
        others = [part for part in parts if not _is(name, part)]
        if len(others) < len(parts) and not any(asks(part) for part in others):
            return found
    return _alone(parts)


def _alone(parts: list[str]) -> str:
    """What all of `parts` are together: of several the one that asks for most."""
    said = {next((one for one in _ALONE if _is(one, part)), "") for part in parts}
    if not said or "" in said:
        return ""
    return _ALONE[next(one for one in _ALONE if one in said)]


def mood(text: str) -> str:
    """URGENT or UPSET when `text` says so, "" when it says nothing of it."""
    parts = clauses(text)
    return next((one for one in (UPSET, URGENT) if any(_is(one, part) for part in parts)), "")


def asks(text: str) -> bool:
    """Whether `text` asks, or names a thing in Latin letters or digits, a code, a command."""
    return bool(_patterns("asks").search(unicodedata.normalize("NFKC", text)))


def yes_or_no(text: str) -> bool | None:
    """What a reply to the offer of a person says; None when it says something else."""
    parts = [part for part in clauses(text) if not _is(GREETING, part)]
    for answer, name in ((False, "no"), (True, "yes")):
        others = (name, THANKS) if parts and _is(name, parts[0]) else ()
        if others and all(any(_is(one, part) for one in others) for part in parts):
            return answer
    return None


def none_of_these(text: str) -> bool:
    """Whether a reply to a choice, in any language, says that it is none of them."""
    parts = clauses(text)
    return bool(parts) and all(_is("none", part) for part in parts)


def place(text: str) -> int | None:
    """The number that is all of `text`: "2.", "第二个", "number 2"; None when it says more."""
    found = _places().fullmatch(unicodedata.normalize("NFKC", text).strip().lower())
    if not found or found["n"].isdecimal():
        return int(found["n"]) if found else None
    numbers = enumerate(words("intents")["places"]["numbers"], 1)
    return next((number for number, said in numbers if found["n"] in said.split()), None)


def bared(text: str) -> list[str]:
    """`text`, then with ever more taken off its ends that names nothing: "我要机房二的那个吧"."""
    bare = list(_bare(unicodedata.normalize("NFKC", text).strip(" \t。.!！?？")))
    behind = ((one, _patterns("behind").search(one)) for one in bare)
    return bare + [one[: found.start()] for one, found in behind if found]


def vague(text: str, names: list[str]) -> bool:
    """Whether `text` names no thing to look for, or nothing but a thing.

    `names` are those of the knowledge bases and documents it could name.
    """
    parts = [part for part in clauses(text) if not _is(GREETING, part)]
    if not parts:
        return True
    if all(_is("vague", part) or _is(FAILED_AGAIN, part) for part in parts):
        return True
    return _is_name(parts, names)


def names_thing(text: str, names: list[str]) -> bool:
    """Whether `text` is the name of a product or one of `names`, and nothing else."""
    return _is_name([part for part in clauses(text) if not _is(GREETING, part)], names)


def _is_name(parts: list[str], names: list[str]) -> bool:
    known = {unicodedata.normalize("NFKC", name).strip().lower() for name in names}
    return len(parts) == 1 and bool(parts[0].lower() in known or _PRODUCT.fullmatch(parts[0]))


def missing(text: str) -> list[str]:
    """Which of "product", "error" and "done" a vague message does not tell."""
    names_product = any(_PRODUCT.fullmatch(part) for part in clauses(text))
    return [slot for slot in ("product", "error", "done") if slot != "product" or not names_product]


def follows(text: str) -> bool:
    """Whether a message leans on the question before it ("那第二步呢")."""
    parts = clauses(text)
    if not parts or len(text) > words("intents")["follow_up"]["length"]:
        return False
    return bool(_leaning("opens").match(parts[0])) or all(
        any(_leaning("whole").fullmatch(bare) for bare in _bare(part)) for part in parts
    )
