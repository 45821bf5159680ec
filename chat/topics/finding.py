"""The values of a topic's fields in a message, by their patterns, choices and looks; no model.

Only what stands there is found, in the customer's own words, or the choice that these mean.
What is doubtful (two environments in one sentence) is left to be asked for.
"""

import datetime
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from django.utils import timezone

from chat.topics import replies
from chat.topics.schema import (
    CHOICE,
    DATE,
    ERROR,
    NUMBER,
    PATTERN,
    PATTERN_SECONDS,
    TEXT,
    VERSION,
    Field,
    compiled,
)

LONGEST = 200  # characters of a value
_LATIN = "A-Za-z0-9"
_LATIN_CASE = re.IGNORECASE | re.ASCII  # Han letters stand right beside Latin words
_QUOTED = re.compile(r"'[^'\n]*'|`[^`\n]*`")


@dataclass(frozen=True)
class Found:
    value: str
    start: int  # of what says so, in the plain text
    end: int


def find(
    fields: Sequence[Field],
    text: str,
    asked: Field | None = None,
    today: datetime.date | None = None,
) -> dict[str, Found]:
    """The values that `text`, which is plain, tells of `fields`, by name.

    `asked`: the one that was asked for, of which less is taken for a value. `today` is by which
    "昨天" is counted, the server's day unless given.
    """
    message = _Message(text, fields, today or timezone.localdate())
    found: dict[str, Found] = {}
    for field in fields:
        pending = asked is not None and field.name == asked.name
        candidates = list(_FINDERS[field.kind](field, message, pending))
        one = _settled(candidates, message)
        if one and len(one.value) <= LONGEST:
            found[field.name] = one
    return _apart(found, fields, asked)


def rest(text: str, found: dict[str, Found]) -> str:
    """`text` without what was found."""
    for one in sorted(found.values(), key=lambda one: -one.start):
        text = f"{text[: one.start]} {text[one.end :]}"
    return text


@dataclass(frozen=True)
class _Message:
    text: str
    fields: Sequence[Field]
    today: datetime.date


Finder = Callable[[Field, _Message, bool], Iterator[Found]]


def _settled(candidates: list[Found], message: _Message) -> Found | None:
    """The one that is meant: what follows "改成", what is not negated; none when it is open."""
    meant = [one for one in candidates if not _negated(message.text, one)]
    if len({one.value for one in meant}) > 1:
        instead = [match.end() for match in replies.pattern("instead").finditer(message.text)]
        after = [one for one in meant if instead and one.start >= instead[-1]]
        meant = after[:1] if after else []
    return meant[0] if meant else None


def _negated(text: str, one: Found) -> bool:
    before = text[max(0, one.start - 20) : one.start]
    return bool(re.search(replies.pattern("negates").pattern, before, re.IGNORECASE))


def _apart(
    found: dict[str, Found], fields: Sequence[Field], asked: Field | None
) -> dict[str, Found]:
    """Each place of the text speaks of one field: of the one asked for, else the earlier one;
    an error text alone may hold others, of which the database's name is one."""
    kinds = {field.name: field.kind for field in fields}
    order = sorted(found, key=lambda name: asked is None or name != asked.name)
    kept: dict[str, Found] = {}
    for name in order:
        one = found[name]
        others = [kept[o] for o in kept if ERROR not in (kinds[o], kinds[name])]
        if not any(one.start < other.end and other.start < one.end for other in others):
            kept[name] = one
    return {name: found[name] for name in found if name in kept}


# --- one of several choices ----------------------------------------------------------


def _choices(field: Field, message: _Message, pending: bool) -> Iterator[Found]:
    hidden = _QUOTED.sub(lambda match: "\0" * len(match[0]), message.text)
    found = list(_named(field, hidden))
    if not found and pending:
        found = list(_picked(field, message.text))
    yield from found


def _named(field: Field, text: str) -> Iterator[Found]:
    """Longer words first: "压测环境" is not "测试环境", "PostgreSQL" is not "SQL"."""
    taken: list[tuple[int, int]] = []
    for word, choice in _words(field):
        for match in _word(word).finditer(text):
            if not any(match.start() < end and start < match.end() for start, end in taken):
                taken.append(match.span())
                yield Found(choice, *match.span())


def _words(field: Field) -> list[tuple[str, str]]:
    words = [(choice, choice) for choice in field.choices]
    words += [(word, choice) for choice in field.choices for word in field.synonyms.get(choice, ())]
    return sorted(words, key=lambda pair: -len(pair[0]))


@lru_cache(1024)
def _word(word: str) -> re.Pattern[str]:
    """`word` not inside another Latin one; a version may follow it at once ("MySQL8.0")."""
    written = re.escape(replies.plain(word)).replace(r"\ ", r"\s*")
    before = r"(?<![A-Za-z0-9_./\\])" if word[:1].isascii() else ""
    after = r"(?![A-Za-z_])" if word[-1:].isascii() else ""
    # "测试一下", "开发同事" are no environments.
    after += r"(?!一下|了|过|同事|人员|的?人)" if not word[-1:].isascii() and len(word) == 2 else ""
    return re.compile(before + written + after, re.IGNORECASE)


def _picked(field: Field, text: str) -> Iterator[Found]:
    """By its number, or by a part that only one has: "生产" for "生产环境"."""
    said = re.fullmatch(r"(?:第|选)?\s*([0-9]{1,2}|[一二三四五六七八九十])\s*[个项种.]?", text)
    number = int(unicodedata.numeric(said[1])) if said and len(said[1]) == 1 else 0
    if 0 < number <= len(field.choices):
        yield Found(field.choices[number - 1], 0, len(text))
        return
    for part in replies.clauses(text) if len(text) >= 2 else ():
        holding = [choice for choice in field.choices if part.lower() in choice.lower()]
        if len(part) >= 2 and len(holding) == 1:
            start = text.index(part)
            yield Found(holding[0], start, start + len(part))


# --- versions ------------------------------------------------------------------------

_SUFFIX = r"(?:[-_.]?(?:rc|beta|alpha|sp|ga|lts|u|p|patch|update|build|el|r)[-_.]?\d+|[a-z])?"
_AFTER = (
    rf"(?![\d{_LATIN}.]*[{_LATIN}])(?!\s*(?:%|[秒分时天台次个人号端万亿元倍度]|ms|[GMKT]i?B?\b))"
)
_DOTTED = re.compile(
    rf"(?<![\d.])(?<!\d[:/-])(?:v|ver|version)?\s?(?P<v>\d{{1,4}}(?:\.(?:\d{{1,5}}|[xX])){{1,3}}{_SUFFIX}){_AFTER}",
    _LATIN_CASE,
)
_CALLED = re.compile(
    r"(?:版本号?|version|ver\.?)\s*(?:号|是|为|用的?|应该|大概|[:=])*\s*v?"
    rf"(?P<v>\d{{1,4}}(?:\.\d{{1,5}}){{0,3}}{_SUFFIX}){_AFTER}",
    _LATIN_CASE,
)
_BARE = re.compile(
    rf"(?<![\w.])v?(?P<v>\d{{1,4}}(?:\.\d{{1,5}}){{0,3}}{_SUFFIX})(?!\w)", _LATIN_CASE
)
_DATED = re.compile(r"(?:19|20)\d\d\.\d{1,2}(?:\.\d{1,2})?")


def _versions(field: Field, message: _Message, pending: bool) -> Iterator[Found]:
    text = message.text
    spans: set[tuple[int, int]] = set()
    ways = [_CALLED, _after_name(tuple(_names(message.fields))), _DOTTED, *[_BARE] * pending]
    for way in filter(None, ways):
        for match in way.finditer(text):
            start, end = match.span("v")
            if any(start < e and s < end for s, e in spans):
                continue
            if way is _DOTTED and (_is_address(text, match) or _DATED.fullmatch(match["v"])):
                continue
            spans.add((start, end))
            yield Found(match["v"], start, end)


def _names(fields: Sequence[Field]) -> Iterator[str]:
    """Of the choices beside it: what comes after "MySQL" may be its version."""
    for field in fields:
        if field.kind == CHOICE:
            yield from (word for word, _choice in _words(field))


@lru_cache(256)
def _after_name(names: tuple[str, ...]) -> re.Pattern[str] | None:
    if not names:
        return None
    any_name = "|".join(re.escape(replies.plain(name)) for name in names)
    made = (
        rf"(?<![A-Za-z])(?:{any_name})\s*(?:数据库|server|database|db|版本?|的|是|[-_ ])*\s*"
        rf"(?:v|r)?(?P<v>(?:\d{{1,2}}|20[012]\d)(?:\.\d{{1,5}}){{0,3}}{_SUFFIX})(?![\w.]*\w){_AFTER}"
    )
    return re.compile(made, _LATIN_CASE)


def _is_address(text: str, match: re.Match[str]) -> bool:
    """Four numbers below 256 that begin like a private address, or stand where one would."""
    parts = match["v"].split(".")
    if len(parts) != 4 or not all(part.isdigit() and int(part) < 256 for part in parts):
        return False
    before = text[max(0, match.start("v") - 8) : match.start("v")]
    return int(parts[0]) >= 10 and bool(
        parts[0] in ("10", "127", "172", "192")
        or re.search(r"(ip|地址|host|主机|@|=)\W*$", before, re.IGNORECASE)
    )


# --- errors --------------------------------------------------------------------------

_CODE = re.compile(
    r"(?<![\w.-])(?:[A-Z]{2,10}-\d{2,6}\b"
    r"|(?:error|err|errno|错误)\s*(?:code|码|号)?\s*[:：#]?\s*\(?-?\d{3,6}\)?(?:\s*\(\w+\))?"
    r"|(?:错误码|错误代码|错误号|状态码|返回码|退出码|exit code|errno|code)"
    r"\s*(?:是|为|[:=])?\s*-?\w*\d\w*"
    r"|SQLSTATE\W*\w+|HTTP(?:/\d(?:\.\d)?)?\s*[45]\d\d|[45]\d\d(?=\s*(?:错误|报错|error))"
    r"|(?:[a-z_]\w*\.)*[A-Z]\w*(?:Exception|Error|Failure|Refused|Timeout)\b"
    r"|E[A-Z]{5,}\b|0x[0-9A-Fa-f]{6,8}\b|\b(?:OOMKilled|CrashLoopBackOff|ImagePullBackOff)\b)",
    _LATIN_CASE,
)
# In any case only where no capital tells: a class that ends in Exception is one in any case.
_LEAD = re.compile(
    r"(?:报错?|提示|显示|返回|抛出?|弹出?|错误|异常|日志)(?:了|的|里|中|是|为|有|出|信息|内容|原文|提示|码|说|个|一个|如下)*"
    r"\s*[:「“\"]?\s*(?P<said>[^\s「“\"，。；,;\n][^」”\"，。；;\n]*)"
)
_LEVEL = re.compile(
    r"\b(?:FATAL|ERROR|PANIC|CRITICAL|WARN(?:ING)?)\b\s*:?\s*(?P<said>\S[^，。；\n]*)", re.ASCII
)
_PROSE = re.compile(
    r"(?<![\w])[A-Za-z][\w.,:;'()/@-]*(?: +[A-Za-z0-9(\"'][\w.,:;'()/@-]*){2,}", re.ASCII
)
_ERRONEOUS = re.compile(
    r"(?i)denied|refused|fail|error|unable|can(?:no|')t|could not|timed? ?out|timeout|unknown"
    r"|invalid|not (?:found|allow|permit|exist|connect)|exceed|too many|lost|reset"
    r"|no such|no space|killed"
)
_CUT = re.compile(
    r"\s*(?:[，。；！？]|\b(?:please|thanks)\b|(?:请|麻烦|怎么|如何|咋|为什么|帮|求)).*", re.S
)
_TELLS = re.compile(
    r"[A-Za-z0-9]|拒绝|超时|失败|不存在|无法|不可|过期|中断|重置|不足|满|未|没有权限|断开|错误"
)
_EMPTY = re.compile(r"(?:了|怎么|如何|咋|是什么|什么|信息|错|没有|不|吗|呢|告警)")


def _errors(field: Field, message: _Message, pending: bool) -> Iterator[Found]:
    """The message itself rather than its code alone: from the first sign on to its end."""
    text = message.text
    begins = list(_error_begins(text)) or list(_told_after_lead(text))
    if begins:
        yield _trimmed(text, *min(begins))
    elif pending:
        yield from _whole(text)


def _error_begins(text: str) -> Iterator[tuple[int, int]]:
    for match in _CODE.finditer(text):
        if not match[0].isalpha() or match[0][:1].isupper() or "." in match[0]:
            yield match.start(), len(text)
    for match in _LEVEL.finditer(text):
        yield match.start(), match.end()
    for match in _PROSE.finditer(text):
        if _ERRONEOUS.search(match[0]):
            yield match.start(), match.end()


def _told_after_lead(text: str) -> Iterator[tuple[int, int]]:
    for match in _LEAD.finditer(text):
        said = _CUT.sub("", match["said"])
        if len(said) > 1 and not _EMPTY.match(said) and _TELLS.search(said):
            yield match.start("said"), match.start("said") + len(said)


def _trimmed(text: str, start: int, end: int) -> Found:
    line = text[start:end].split("\n")[0]
    line = _CUT.sub("", line)[:LONGEST].rstrip(" .,:;，、")
    return Found(line, start, start + len(line))


def _whole(text: str) -> Iterator[Found]:
    said = re.sub(
        r"^(?:是|为|就是|报错?|提示|显示|返回)+(?:的是|了|是|为)*\s*[:]?\s*", "", text
    ).strip()
    said = said.strip("「」“”\"'。 ")
    if said:
        start = text.index(said)
        yield Found(said[:LONGEST], start, start + len(said))


# --- dates, numbers, patterns, texts -------------------------------------------------

_DAYS = {
    "大前天": 3, "前天": 2, "前晚": 2, "昨": 1, "yesterday": 1, "today": 0, "今": 0, "刚": 0,
    "just now": 0, "现在": 0, "凌晨": 0, "早上": 0, "上午": 0, "中午": 0, "下午": 0,
}  # fmt: skip
_DATE = re.compile(
    r"(?P<y>20\d\d)\s*[-/.年]\s*(?P<m>\d{1,2})\s*[-/.月]\s*(?P<d>\d{1,2})\s*[日号]?"
    r"|(?<![\d.])(?P<m2>1[0-2]|0?[1-9])(?:月|[/-](?=\d{1,2}(?!\d|[./-])))(?P<d2>\d{1,2})\s*[日号]?"
    r"|(?P<ago>\d{1,3}|[一两二三四五六七八九十半])\s*个?"
    r"(?P<unit>天|日|周|星期|礼拜|小时|钟头|分钟)之?以?前"
    r"|(?P<past>上个?)?(?:周|星期|礼拜)(?P<week>[一二三四五六日天])"
    r"|(?P<day>大前天|前天|前晚|昨(?=[天日晚夜儿早])|今(?=[天日晚早儿])|刚(?=[才刚])"
    r"|yesterday|today|just now)",
    re.IGNORECASE,
)
_HOURS = re.compile(r"(?P<day>现在|凌晨|早上|上午|中午|下午)")
_TODAY_ONLY = re.compile(r"\d{1,2}(?::\d\d|点)")


def _dates(field: Field, message: _Message, pending: bool) -> Iterator[Found]:
    """As ISO dates, the latest day that it can mean."""
    found = False
    for way in (_DATE, *[_HOURS, _TODAY_ONLY] * pending):
        for match in way.finditer(message.text):
            day = _day(match, message.today)
            if day and not found:
                found = True
                yield Found(day.isoformat(), *match.span())


def _day(match: re.Match[str], today: datetime.date) -> datetime.date | None:
    parts = match.groupdict()
    if parts.get("day"):
        return today - datetime.timedelta(days=_DAYS[parts["day"].lower()])
    if parts.get("ago"):
        digits = parts["ago"].isdigit()
        count = float(parts["ago"]) if digits else _numeral(parts["ago"])
        days = {"天": 1, "日": 1, "周": 7, "星期": 7, "礼拜": 7}.get(parts["unit"], 0)
        return today - datetime.timedelta(days=int(count * days))
    if parts.get("week"):
        weekday = "一二三四五六日".find(parts["week"].replace("天", "日"))
        back = (today.weekday() - weekday) % 7
        if parts["past"]:
            back = today.weekday() + 7 - weekday
        return today - datetime.timedelta(days=back)
    if "m" not in parts:
        return today
    month, day = parts["m"] or parts["m2"], parts["d"] or parts["d2"]
    try:
        made = datetime.date(int(parts["y"] or today.year), int(month), int(day))
    except ValueError:
        return None
    if not parts["y"] and made > today:
        made = made.replace(year=made.year - 1) if (made.month, made.day) != (2, 29) else made
    return made


def _numeral(written: str) -> float:
    if written in "半两":
        return {"半": 0.5, "两": 2.0}[written]
    return unicodedata.numeric(written)


_NUMBER = r"(?<![\w.])(?P<n>\d+(?:\.\d+)?|[一两二三四五六七八九十])(?![\d.]*\d)"


def _numbers(field: Field, message: _Message, pending: bool) -> Iterator[Found]:
    unit = re.escape(field.label[-2:].removesuffix("数") or field.label)
    ways = [rf"{re.escape(field.label)}\s*(?:大概|大约|一共|是|为|[:=])*\s*{_NUMBER}"]
    ways += [_NUMBER + rf"\s*[个名位]?\s*{unit}"] * field.label.endswith("数")
    ways += [_NUMBER] * pending
    for way in ways:
        for match in re.finditer(way, message.text, re.ASCII):
            written = match["n"]
            value = written if written[0].isdigit() else f"{_numeral(written):g}"
            yield Found(value, *match.span("n"))
            return


def _fitting(field: Field, message: _Message, pending: bool) -> Iterator[Found]:
    """What fits the field's own pattern, whichever staff wrote: within a time, or nothing."""
    try:
        for match in compiled(field.pattern).finditer(message.text, timeout=PATTERN_SECONDS):
            if match[0].strip():
                yield Found(match[0], *match.span())
    except TimeoutError:
        return


def _texts(field: Field, message: _Message, pending: bool) -> Iterator[Found]:
    """After its label; all of the message when it was asked for."""
    labels = "|".join(
        map(re.escape, re.split(r"\s*(?:[/、或(（)）])\s*", field.label.strip("()（） ")))
    )
    said = rf"(?:{labels})\s*(?:是|为|[:=])\s*(?P<said>[^，。；,;\n]{{1,{LONGEST}}})"
    match = re.search(said, message.text)
    if match and not replies.asks(match["said"]):
        yield Found(match["said"].strip(), *match.span("said"))
    elif pending:
        yield from _whole(message.text)


_FINDERS: dict[str, Finder] = {
    CHOICE: _choices,
    VERSION: _versions,
    ERROR: _errors,
    DATE: _dates,
    NUMBER: _numbers,
    PATTERN: _fitting,
    TEXT: _texts,
}
