"""Chinese numerals in digits, so that 三次 equals 3 次, 两 equals 2 and 1.5 万 equals 15000."""

import re
from decimal import Decimal

_WRITTEN = "零〇 一壹 二贰两 三叁 四肆 五伍 六陆 七柒 八捌 九玖"
_DIGITS = {char: str(n) for n, chars in enumerate(_WRITTEN.split()) for char in chars}
_SMALL = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_LARGE = {"万": 10**4, "亿": 10**8}
_ANY = "".join([*_DIGITS, *_SMALL, *_LARGE])
_DIGIT = "".join(_DIGITS)
# What is counted or measured; 一 is an article before most of them.
_MEASURE = (
    r"\s*(?:毫秒|微秒|秒|分钟|分(?![之析布区开别类片组支])|小时|时|点|天|日|夜|周|星期|礼拜|个?月|年|次|遍|倍|成|折|台|条|份|人|名|位|种|类|项|步|层|级|块|张|页"
    r"|行|列|字节|核|路|组|套|节点|副本|元|米|公里|批|轮|段|代|处|件|号|版|章|个|%|[KMGT]i?B?\b)"
)
_COUNTED = re.compile(
    rf"(?P<rate>百分之)?(?P<number>[{_ANY}]+)(?P<point>点[{_DIGIT}]+(?={_MEASURE}|[万亿]))?(?P<measured>(?={_MEASURE}))?",
    re.IGNORECASE,
)
_ARTICLE = re.compile(
    r"\s*(?:个(?!月)|种|条|份|台|位|名|套|张|块|行|段|项|类|层|级|组|步|点|处|件|号|版|代|列|路|批|轮|时|日)"
)
_NO_NUMBER = {"万一", "千万", "百万", "一一", "百千", "千百", "万千", "万万", "亿万"}
_HALF = re.compile(r"半(?=\s*(?:个?小时|个?月|天|年|分钟|秒))")
_MULTIPLIED = re.compile(
    r"(?<![\d.])(\d+(?:\.\d+)?)\s*([万亿]|[千百](?![米克瓦兆赫卡帕分年]))(?!一)"
)
_WEEKDAY = re.compile(r"(?:周|星期|礼拜)([一二三四五六日天])")


def in_digits(text: str) -> str:
    """`text` with the numbers in it that are written in Chinese as digits.

    Words that merely hold such a character (统一, 十分, 一下) stay.
    """
    text = _WEEKDAY.sub(lambda day: f"周{'日一二三四五六'.find(day[1].replace('天', '日'))}_", text)
    text = _HALF.sub("0.5", text)
    text = _COUNTED.sub(_counted, text)
    return _MULTIPLIED.sub(_multiplied, text)


def _counted(found: re.Match[str]) -> str:
    written = found["number"]
    value = _value(written)
    if value is None or written in _NO_NUMBER or not _quantity(found):
        return found[0]
    point = "".join(_DIGITS[char] for char in (found["point"] or "")[1:])
    number = f"{value}.{point}" if point else value
    return f"{number}%" if found["rate"] else number


def _quantity(found: re.Match[str]) -> bool:
    """Whether it counts something: alone 一 is mostly an article, and 万, 千, 百 mean many."""
    written = found["number"]
    if found["rate"] or found["point"]:
        return True
    before = found.string[found.start() - 1 : found.start()]
    if len(written) > 1 and before not in ("几", "数", "第"):
        return True
    if written in "百佰千仟万亿" or found["measured"] is None:
        return False
    if re.match("十分(?!钟)", found.string[found.start() :]):
        return False  # very
    if before == "第" and found.string[found.end() : found.end() + 1] in "步点条项":
        return False  # an enumeration
    return written != "一" or before == "第" or not _ARTICLE.match(found.string, found.end())


def _value(written: str) -> str | None:
    """In digits; None for what is no number. Digits alone (二〇二六) are read one by one."""
    if all(char in _DIGITS for char in written):
        return "".join(_DIGITS[char] for char in written)
    total = section = 0
    digit: int | None = None
    for char in written:
        if char in _DIGITS:
            if digit:  # 三五百
                return None
            digit = int(_DIGITS[char])
        elif char in _SMALL:
            section += (1 if digit is None else digit) * _SMALL[char]
            digit = None
        else:
            total = (total + section + (digit or 0) or 1) * _LARGE[char]
            section, digit = 0, None
    return str(total + section + (digit or 0))


def _multiplied(found: re.Match[str]) -> str:
    factor = {**_SMALL, **_LARGE}[found[2]]
    return f"{(Decimal(found[1]) * factor).normalize():f}"
