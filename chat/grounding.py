"""Whether a sentence stands in the passages it cites: its facts word for word, its subject at all.

A fact is what an operator would type or look up: commands and paths, numbers, versions,
ports, codes, names in Latin letters, quoted words. Compared after NFKC and white space
(`chat.evidence`); marks, numbers of lists and steps are no facts.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from chat import dangers
from chat.evidence import Source, is_unit, normal, number, shown, source, tokens
from knowledge.terms import views

_CODE = re.compile(r"(^[ \t]*```.*?^[ \t]*```[ \t]*$|(?<!`)(`+)(?!`).*?(?<!`)\2(?!`))", re.S | re.M)
_MARK = re.compile(r"\[(\d{1,3})\]")
_ENUMERATION = re.compile(
    r"^\s*(?:[-*+•]\s+|\d{1,2}[.)、](?=\s|[^\d\s])|[（(]\d{1,2}[)）]|[①-⑳❶-❿]|#{1,6}\s|(?:步骤|step)\s*\d{1,2}(?=\W|$))\s*",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"[“「『《]([^”」』》\n]{1,200})[”」』》]|\"([^\"\n]{1,200})\"|(?<!\w)['‘]([^'’\n]{2,200})['’](?!\w)"
)
_STARS = re.compile(r"(?<=\w)(?:\*+|~~)(?=\w)")
_PHRASE = re.compile(r"[!-~]+(?: +[!-~]+)+")
# In a phrase of Latin letters, what only a command has.
_COMMAND = re.compile(r"(?:^| )(?:--?[A-Za-z]|[~.]?/\w)|[|><$=*]|^[a-z][a-z0-9_.-]*(?: |$)")
_WORD = r"[A-Za-z0-9_./-]"
_OPTIONS = re.compile(
    rf"(?<!{_WORD}){_WORD}+(?: +(?:--?[A-Za-z][\w=./-]*|[~.]?/{_WORD}+))+", re.ASCII
)
# A line of Latin letters that begins like no sentence.
_LOW = re.compile(r"^[a-z][\w.-]*(?: +[!-~]+)+$", re.MULTILINE | re.ASCII)
_ENGLISH = (  # words that no command has
    "a|an|and|any|are|as|at|be|by|can|do|does|for|from|if|in|into|is|it|its|of|on|or|that|the|them"
    "|then|these|this|to|when|which|while|will|with|you|your"
)
_HAN = re.compile(r"[\u4e00-\u9fff]")
# A question whether something is so: to say its number again would be the answer.
_WHETHER = re.compile(
    r"吗|么[?？\s]*$|吧[?？\s]*$|(.)[不没]\1|是否|可否|能否|还是|或者?|对不|^(?:is|are|was|does|do|did|can|could|should|will|has|have)\b|\bor\b|\bwhether\b",
    re.IGNORECASE,
)
# How much of a sentence's words its passage must share, that the sentence is about it at all.
SHARED = 0.25
# Of a few words, and of English ones (without the shortest, which stand everywhere), so many.
CLOSE, FEW = 0.6, 5


def marks(text: str) -> list[int]:
    """The numbers of the citation marks in `text`, none of its code, each once, in order."""
    return list(dict.fromkeys(int(n) for part in _outside(text) for n in _MARK.findall(part)))


def without_marks(text: str) -> str:
    """`text` without marks; its code stays as it is."""
    pieces = _CODE.split(text)
    return "".join(
        _MARK.sub("", piece) if place % 3 == 0 else piece
        for place, piece in enumerate(pieces)
        if place % 3 != 2
    )


def _outside(text: str) -> list[str]:
    return _CODE.split(text)[::3]


def ungrounded(sentence: str, passages: Iterable[str], question: str = "") -> list[str]:
    """The facts of `sentence` that stand in none of `passages`.

    In prose, what the `question` says may be said again; never in code or a command, and of a
    question whether something is so only its names.
    ["?"] for Markdown that would change how the text around it is read.
    """
    sources, asked = [source(passage) for passage in passages], source(question)
    again = not _WHETHER.search(question)
    seen = shown(without_marks(sentence))
    if not seen.sound:
        return ["?"]
    text = "\n".join(_ENUMERATION.sub("", line) for line in [*seen.text.splitlines(), *seen.links])
    text, prose = normal(text), normal(seen.prose)
    missing = [*_codes(seen.code, sources), *_commands(prose, sources)]
    missing += [q for q in _quotations(prose) if not any(_said(q, s) for s in [*sources, asked])]
    missing += _tokens(text, sources, asked, again)
    joined = _STARS.sub("", seen.prose)
    if joined != seen.prose:  # another sentence may hold the signs that close these
        missing += _tokens(normal(joined), sources, asked, again)
    return list(dict.fromkeys(missing))


def supported(sentence: str, passage: str) -> bool:
    """Whether `sentence` is about what `passage` says: they share a good part of its words."""
    said, held = views(without_marks(sentence)), views(passage)
    words = set(said["bigrams"]) | {word for word in said["unigrams"] if word.isascii()}
    words = {word for word in words if not word.isascii() or len(word) > 3 or not word.isalpha()}
    if not words:
        return bool(_HAN.search(sentence)) or not said["unigrams"]
    known = set(held["bigrams"]) | set(held["unigrams"]) | set(held["words"])
    english = not _HAN.search(sentence)
    least = CLOSE if english or len(words) <= FEW else SHARED
    return len(words & known) / len(words) >= least


def _codes(codes: list[str], sources: list[Source]) -> Iterator[str]:
    """Lines of code that are in no passage, or in none in this order."""
    for code in codes:
        written = normal(re.sub(r"\\\n\s*", " ", code))
        lines = [" ".join(line.split()) for line in written.splitlines() if line.strip()]
        if any(one.holds(lines) for one in sources):
            continue
        lost = [line for line in lines if not any(_typed(line, one) for one in sources)]
        yield from lost or (lines if len(lines) > 1 else [])


def _typed(line: str, one: Source) -> bool:
    """Whether a line of code stands in a passage, where a single word may also be a part of one."""
    if one.holds([line]):
        return True
    told = number(line)
    return one.counts(*told) if told else " " not in line and one.knows(line, exact=True)


def _commands(prose: str, sources: list[Source]) -> Iterator[str]:
    """Commands that stand in the text like words, and in no passage as a whole."""
    parts = list(dangers.found(prose))
    whole = []
    if _HAN.search(prose):
        phrases = (match[0].strip(" .,:;!?()[]\"'#>*") for match in _PHRASE.finditer(prose))
        whole = [phrase for phrase in phrases if " " in phrase and _COMMAND.search(phrase)]
    else:  # all is in Latin letters: no telling where a command begins and ends
        whole = [match[0] for match in _LOW.finditer(prose)]
        found = [match[0] for look in (_OPTIONS, _headed()) for match in look.finditer(prose)]
        whole += [command for command in found if dangers.found(command)]
        parts += found
    for command in [*whole, *parts]:
        line = " ".join(command.split()).rstrip(".,")
        if not any(one.holds([line], whole=command in whole) for one in sources):
            yield line


@cache
def _headed() -> re.Pattern[str]:
    """A first word of commands and what follows it, up to a word that none has."""
    lines = (Path(__file__).parent / "prompts" / "commands.txt").read_text("utf-8").splitlines()
    heads = sorted(word for line in lines if not line.startswith("#") for word in line.split())
    behind = rf"(?: +(?!(?:{_ENGLISH})\b)[\w./=:*-]+){{1,9}}"
    return re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, heads))}){behind}", re.ASCII)


def _quotations(prose: str) -> Iterator[str]:
    for match in _QUOTED.finditer(prose):
        yield next(group for group in match.groups() if group)


def _said(quoted: str, one: Source) -> bool:
    tight = "".join(quoted.split()).casefold()
    edge = r"(?<![a-z0-9_])" if re.match(r"[a-z0-9_]", tight) else ""
    last = r"(?![a-z0-9_])" if re.search(r"[a-z0-9_]\Z", tight) else ""
    return re.search(f"{edge}{re.escape(tight)}{last}", one.tight) is not None


def _tokens(text: str, sources: list[Source], asked: Source, again: bool) -> Iterator[str]:
    """Numbers, names and technical tokens that are in no passage, nor in what was asked, of which
    `again` says whether more than names may be said again."""
    stated = [*sources, asked] if again else sources
    chinese = bool(_HAN.search(text))
    before = ""
    for token, behind in tokens(text):
        told = number(token, behind)
        if number(before + token) and is_unit(token):
            pass  # its unit
        elif told:
            named = before.isalpha() and any(one.knows(before + token) for one in stated)
            if not named and not any(one.counts(*told) for one in stated):
                yield token
        elif (chinese or not token.isalpha()) and not _named(token, stated, asked):
            yield token
        before = token


def _named(token: str, sources: list[Source], asked: Source) -> bool:
    """Whether it stands in `sources`, or is a name (no path, option or version) of the question, or
    words of theirs joined by a sign."""
    if any(one.knows(token) for one in sources):
        return True
    if re.fullmatch(r"(?!.*\d\.\d)\w[\w.-]*", token) and asked.knows(token):
        return True
    parts = re.split(r"[-/]", token)
    return len(parts) > 1 and all(
        part.isalpha() and any(one.knows(part) for one in [*sources, asked]) for part in parts
    )
