"""What a text holds that an operator would type or look up: numbers, names, paths, commands.

The same reading for a sentence and for the passage it has to stand in. Tokens count whole:
8080 stands neither in 80801 nor in 18080, /data not in /data/backup, 1.2 not in 1.2.3 or 1.2-rc1.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from markdown_it import MarkdownIt

from chat.formulas import formulas
from chat.numerals import in_digits

_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False, "breaks": True})
    .enable(["table", "strikethrough"])
    .disable("image")
    .use(formulas)
)
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_COMBINED = re.compile(r"(?<=[0-9])[\u0300-\u036f\u20d0-\u20ff]+")
_POWERS = re.compile("(?<=[0-9)])[⁰¹²³⁴-⁹₀-₉]+")
_ROMAN = re.compile("[\u2160-\u2188]")
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–−﹣", "-"))
_GROUPED = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])")
_PORTS = re.compile(r"(?:端口|\bports?\b)[^。;\n]{0,12}$", re.IGNORECASE)
# Ways to write one and the same date, time or range.
_SAME = (
    (re.compile(r"(\d{4}) ?年 ?(\d{1,2}) ?月 ?(\d{1,2}) ?[日号]"), r"\1-\2-\3"),
    (re.compile(r"(\d{4}) ?年 ?(\d{1,2}) ?月"), r"\1-\2 "),
    (re.compile(r"(?<!\d)(\d{1,2}) ?月 ?(\d{1,2}) ?[日号]"), r"\1-\2 "),
    (re.compile(r"(?<!\d)(\d{4})/(\d{1,2})/(\d{1,2})(?!\d)"), r"\1-\2-\3"),
    (re.compile(r"(?<![\d-])(\d{4})-0?(\d{1,2})-0?(\d{1,2})(?!\d)"), r"\1-\2-\3"),
    (re.compile(r"(?<!\d)(\d{1,2}) ?[点时] ?(\d{2}) ?分"), r"\1:\2"),
    (re.compile(r"(?<![\d:.])0(\d:\d\d)(?!\d)"), r"\1"),
    (
        re.compile(r"(?<=\d) ?(?:%|个月|小时|分钟|[个次天秒年月台条分])? ?(?:[到至~]|—+) ?(?=\d)"),
        "-",
    ),
    (re.compile(r" ?= ?"), "="),
)
_TOKEN = re.compile(r"[A-Za-z0-9_.\-/:@\\~$#%&+*=?<>{}^]+")
_OPENING = re.compile(r"^(?:[:=&?#>*^+%<{}]|[$~](?=\d)|-(?=-*$)|\.(?=\.*$|\d))+")
_CLOSING = re.compile(r"[.:=&?#<>*^+\\\-/{}$@~%]+$")
_NUMBER = re.compile(
    r"(?P<value>-?v?\d+(?:[.:/-]\d+)*)"
    r"(?P<unit>-?(?:[kmgtp]i?(?:b|bit)?(?:ps|/s)?|b|bits?|bytes?|ms|us|ns|s|secs?|seconds?|mins?|minutes?"
    r"|h|hrs?|hours?|d|days?|w|weeks?|months?|y|years?|times|hz|khz|mhz|ghz|核))?",
    re.IGNORECASE,
)
_UNITS = {
    "ms": r"毫秒|ms\b|milliseconds?\b", "us": r"微秒|us\b", "s": r"秒|s\b|secs?\b|seconds?\b",
    "min": r"分钟|mins?\b|minutes?\b", "h": r"个?小时|h\b|hrs?\b|hours?\b", "d": r"天|d\b|days?\b",
    "w": r"周(?!_)|个?星期|weeks?\b", "mon": r"个月|months?\b", "y": r"年|y\b|years?\b",
    "%": r"%|percent\b", "kb": r"ki?b\b", "mb": r"mi?b\b", "gb": r"gi?b\b", "tb": r"ti?b\b",
    "次": r"次|遍|times\b",
}  # fmt: skip
_UNIT = re.compile(
    r"[ -]?(?:" + "|".join(f"(?P<u{n}>{look})" for n, look in enumerate(_UNITS.values())) + ")",
    re.IGNORECASE,
)
_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^/:@]+)(?P<port>:\d+)?(?P<path>/.*)?", re.I
)
_NAMED_NUMBER = re.compile(r"(?<![A-Za-z0-9_])([A-Za-z]+)[ -]?(\d+(?:\.\d+)*)(?![\w.]*\w)")
_IN_NAME = re.compile(r"(?<=[A-Za-z_-])\d+(?:\.\d+)+(?=$|[/:]|\.[a-z]{2})")
# What may stand before or after a command in a line of English.
_LEADS = {
    "run", "use", "using", "execute", "type", "enter", "with", "the", "command", "via", "by",
    "and", "or", "then", "sudo",
}  # fmt: skip
_GOES_ON = {
    "to", "and", "or", "then", "command", "will", "which", "that", "is", "as", "if", "when",
    "before", "after",
}  # fmt: skip


def visible(text: str) -> str:
    """Without characters that nobody sees, every space a plain one."""
    text = _BLANK.sub("", text)
    kept = (
        " " if unicodedata.category(char) == "Zs" and char != "\u3000" else char
        for char in text
        if char in "\n\t" or unicodedata.category(char) not in ("Cf", "Cc", "Co", "Cn", "Me")
    )
    return _COMBINED.sub("", "".join(kept))


def normal(text: str) -> str:
    """NFKC, digits of any script and Chinese numerals as 0–9, numbers and dates written one way."""
    text = visible(text).replace("，", "， ").replace("、", "、 ").translate(_DASHES)
    text = _ROMAN.sub(lambda roman: f"{unicodedata.numeric(roman[0]):.0f}", text)
    text = unicodedata.normalize("NFKC", _POWERS.sub(lambda power: f"^{power[0]}", text))
    text = "".join(_ascii_digit(char) for char in text)
    text = in_digits(_GROUPED.sub(_ungrouped, text))
    for look, written in _SAME:
        text = look.sub(written, text)
    return text


def _ascii_digit(char: str) -> str:
    value = unicodedata.digit(char, None) if not char.isascii() else None
    return char if value is None else str(value)


def _ungrouped(found: re.Match[str]) -> str:
    """1,000 is a thousand, but 80,443 are two ports."""
    listed = _PORTS.search(found.string[: found.start()])
    return found[0].replace(",", ", " if listed else "")


@dataclass
class Shown:
    """A Markdown text as one sees it."""

    text: str  # all of it, code without its signs
    prose: str  # without code
    code: list[str]  # blocks, spans, formulas
    links: list[str]
    sound: bool  # nothing in it changes how the text around it is read


def shown(markdown: str) -> Shown:
    env: dict[str, object] = {}
    seen = Shown("", "", [], [], sound=True)
    for token in _MARKDOWN.parse(markdown, env):
        if token.type in ("fence", "code_block", "formula_display"):
            seen.code.append(token.content)
            seen.text += f"{token.content}\n"
            seen.sound &= len(token.info) < 16 and " " not in token.info.strip()
        for child in token.children or ():
            _see(child, seen)
        if token.type == "inline":
            seen.text, seen.prose = f"{seen.text}\n", f"{seen.prose}\n"
    fences = len(re.findall(r"^\s*(?:```|~~~)", markdown, re.MULTILINE))
    seen.sound &= fences % 2 == 0 and not env.get("references") and "`" not in seen.prose
    return seen


def _see(token: object, seen: Shown) -> None:
    kind, content = getattr(token, "type", ""), getattr(token, "content", "")
    if kind in ("code_inline", "formula", "formula_display"):
        seen.code.append(content)
        seen.text += content
        seen.prose += "\ufffc"
    elif kind == "link_open":
        seen.links.append(str(token.attrGet("href")))  # type: ignore[attr-defined]
    else:
        written = "\n" if kind in ("softbreak", "hardbreak") else content
        seen.text, seen.prose = seen.text + written, seen.prose + written


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Each run of letters, digits and signs of a normal text, and what stands behind it."""
    for found in _TOKEN.finditer(text):
        token = _CLOSING.sub("", _OPENING.sub("", found[0]))
        if re.search(r"[A-Za-z0-9]", token):
            behind = found.start() + found[0].rfind(token) + len(token)
            yield token, text[behind : behind + 12]


def number(token: str, behind: str = "") -> tuple[str, str] | None:
    """Value and unit ("" for none that is known) of a token that is a number."""
    found = _NUMBER.fullmatch(token)
    if not found:
        return None
    unit = _UNIT.match(found["unit"] or behind)
    name = list(_UNITS)[int(str(unit.lastgroup)[1:])] if unit else (found["unit"] or "").lower()
    value = found["value"].lower()
    return value.replace("v", "", 1) if re.match(r"-?v", value) else value, name


def is_unit(token: str) -> bool:
    found = _UNIT.match(token)
    return found is not None and found.end() == len(token)


@dataclass
class Source:
    """A passage (or a question) by what may be said with it as its source."""

    numbers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # value: units
    names: set[str] = field(default_factory=set)  # words and technical tokens, as written
    folded: set[str] = field(default_factory=set)  # … case ignored
    texts: tuple[str, ...] = ()  # its lines as written and as shown, white space in one
    tight: str = ""  # in lower case, without white space

    def knows(self, token: str, *, exact: bool = False) -> bool:
        """Whether a name stands in it; the case of paths and options matters."""
        if exact or re.match(r"[-/~.$]", token):
            return token in self.names
        return token.casefold() in self.folded

    def counts(self, value: str, unit: str) -> bool:
        """Whether a number stands in it, with this unit or where none is told."""
        units = self.numbers.get(value)
        if units is None:
            return False
        return not unit or "" in units or any(_compatible(unit, other) for other in units)

    def holds(self, lines: Sequence[str], *, whole: bool = True) -> bool:
        """Whether it has these lines of code in this order, each a whole command or, if not
        `whole`, whole words of one."""
        lines = [" ".join(line.split()) for line in lines]
        return any(_in_order(lines, text, whole) for text in self.texts)

    def _add(self, token: str, behind: str = "") -> None:
        told = number(token, behind)
        if told:
            self._count(*told)
        else:
            for name in (
                token,
                *re.findall(r"[A-Za-z0-9_]+", token),
                *re.findall("[A-Za-z]+", token),
            ):
                self.names.add(name)
                self.folded.add(name.casefold())

    def _count(self, value: str, unit: str) -> None:
        self.numbers[value].add(unit)
        parts = re.split("[-/]", value.lstrip("-"))
        if len(parts) == 2 or re.fullmatch(r"\d{4}-\d+-\d+", value):  # ranges, lists, dates
            for part in parts[: 2 if len(parts) == 2 else 1]:
                self.numbers[part].add(unit if len(parts) == 2 else "")
        if len(parts) == 3:
            self.numbers["-".join(parts[:2])].add("")
            self.numbers["-".join(parts[1:])].add("")
        host, colon, port = value.partition(":")
        if colon and host.count(".") == 3:
            self.numbers[host].add("")
            self.numbers[port].add("")


def _compatible(one: str, other: str) -> bool:
    """The same unit, or one letter (5m) that may mean it."""
    return one == other or (min(len(one), len(other)) <= 1 and one[:1] == other[:1])


@lru_cache(maxsize=128)
def source(text: str) -> Source:
    made = Source()
    written = normal(text)
    seen = normal(shown(text).text)
    for token, behind in [*tokens(written), *tokens(seen)]:
        made._add(token, behind)
        for part in _parts(token):
            made._add(part)
    for found in _NAMED_NUMBER.finditer(written):
        made._add(found[1] + found[2])
        if "." in found[2]:
            made._count(found[2], "")
    joined = re.sub(r"\\\n\s*", " ", written)
    made.texts = tuple(
        "\n".join(" ".join(line.split()) for line in text.splitlines()) for text in (joined, seen)
    )
    made.tight = "".join("".join(made.texts).split()).casefold()
    return made


def _parts(token: str) -> Iterator[str]:
    """Pieces of a technical token that may be named alone: host and port of an address, name and
    value of a setting, the file of a path; never the beginning of a path or of a version."""
    url = _URL.fullmatch(token)
    if url:
        yield from filter(None, (url["scheme"], url["host"], (url["port"] or "")[1:], url["path"]))
        yield f"{url['host']}{url['port'] or ''}"
        return
    if number(token):
        return
    yield from _IN_NAME.findall(token)
    if re.match(r"[~.]*/", token):
        yield token.rpartition("/")[2]
    else:
        yield from (part for part in re.split(r"[=:?&@/<>{}]+", token) if part != token)


def _in_order(lines: Sequence[str], text: str, whole: bool) -> bool:
    place = 0
    for line in lines:
        place = _find(line, text, place, whole)
        if place < 0:
            return False
    return True


def _find(phrase: str, text: str, start: int, whole: bool) -> int:
    """Where `phrase` ends in `text` from `start` on, no part of a longer word nor, if `whole`, of
    a longer command; -1 where it stands nowhere."""
    place = text.find(phrase, start)
    while place >= 0:
        end = place + len(phrase)
        one = whole and " " in phrase
        if _begins(phrase, text, place, one) and _ends(phrase, text, end, one):
            return end
        place = text.find(phrase, place + 1)
    return -1


def _begins(phrase: str, text: str, place: int, whole: bool) -> bool:
    before = text[max(place - 80, 0) : place]
    if re.search(r"[A-Za-z0-9_]\Z", before) and re.match(r"[A-Za-z0-9_\-./]", phrase):
        return False
    if re.search(r"[-./@~\\%]\Z", before) and re.match(r"[A-Za-z0-9_\-./*]", phrase):
        return False
    earlier = re.search(r"([^\s`]*[A-Za-z0-9_]) \Z", before)
    return not whole or not earlier or earlier[1].casefold() in _LEADS


def _ends(phrase: str, text: str, end: int, whole: bool) -> bool:
    behind = text[end : end + 80]
    if re.search(r"[A-Za-z0-9_]\Z", phrase):
        if re.match(r"[A-Za-z0-9_]|[-/@=+~\\:.%*]+[A-Za-z0-9_*{$/]|[*/]", behind):
            return False
    elif re.match(r"[A-Za-z0-9_*/.~$-]", behind):
        return False
    later = re.match(r" ((?!- )[A-Za-z0-9_/.~$\"'*{<\[-][^\s`]*)", behind)
    return not whole or not later or later[1].casefold().rstrip(".,") in _GOES_ON
