"""What must not be stored is masked: numbers of people, and secrets that people paste.

Pure: no database, no settings. It rather leaves an order number than hides a version, an
address or an error code, for those are what is asked about; a checksum decides where there
is one. Masking twice changes nothing.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

LABELS = {
    "mobile": "【手机号】",
    "phone": "【电话】",
    "id_card": "【身份证号】",
    "bank_card": "【银行卡号】",
    "email": "【邮箱】",
    "secret": "【密码】",
    "token": "【令牌】",
    "private_key": "【私钥】",
}

Spans = Iterator[tuple[int, int]]


@dataclass(frozen=True)
class Masked:
    text: str
    counts: dict[str, int] = field(default_factory=dict)  # by kind, of LABELS


def mask(text: str, *, email: bool = True) -> Masked:
    """`text` with a label where something was masked, and how much of each kind."""
    text = _INVISIBLE.sub("", text)
    plain = text.translate(_HALF_WIDTH)
    if not _SUSPECT.search(plain):
        return Masked(text)
    counts: Counter[str] = Counter()
    for kind, find in _RULES:
        if kind == "email" and not email:
            continue
        spans = list(find(plain))
        for start, end in reversed(spans):
            text = text[:start] + LABELS[kind] + text[end:]
        if spans:
            plain = text.translate(_HALF_WIDTH)
            counts[kind] += len(spans)
    return Masked(text, dict(counts))


def masked(text: str) -> str:
    """`text` as a model may see it, and as it may be kept in a trace."""
    return mask(text).text


def masked_within(value: Any) -> Any:
    """The same for every text in a value of JSON; names of fields stay."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {name: masked_within(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked_within(one) for one in value]
    return value


# Full-width digits and letters look alike and are one character each.
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")
# Without any of these no rule applies; most messages are spared the rules.
_SUSPECT = re.compile(
    r"\d{3}|@|\$[156y2]|-----BEGIN|eyJ|password|passwd|passphrase|_pass|_pw|pwd|secret|token|credential|key"
    r"|ak\b|sk\b|authorization|bearer|cookie|sess|mysql|mariadb|curl|sshpass|redis-cli|密码|口令|密钥|秘钥|令牌|授权码"
    r"|验证码|动态码|AKIA|ASIA|LTAI|AKID|gh[pousr]_|github_pat|glpat|xox|sk-|AIza|SG\.|hf_|npm_|pypi-",
    re.IGNORECASE,
)
# Before a number that is no person's: "订单号：", "trace_id=".
_NUMBER_OF = re.compile(
    r"(?:单号|流水号?|编号|批次号?|序列号|工单|订单|运单|交易号|版本号?|错误码|返回码|端口|进程"
    r"|(?:order|trace|request|session|serial|ticket|job|task|span|batch|build|sn|no|id|pid|port)"
    r"(?:[ _-]?(?:id|no|number|code))?)[\s\"'`]*(?:[:：=#]|是|为)?[\s\"'`]*\Z",
    re.IGNORECASE,
)


def _group(pattern: str, flags: int = 0) -> Callable[[str], Spans]:
    """Finds group "it" of the pattern, or all of it."""
    compiled = re.compile(pattern, flags)
    group = "it" if "it" in compiled.groupindex else 0

    def find(text: str) -> Spans:
        for match in compiled.finditer(text):
            yield match.span(group)

    return find


# --- secrets ----------------------------------------------------------------------

_VALUE = r"[^\s\"'`,，。;；、<>&【】《》（）()\u4e00-\u9fff]"
_NAME_OF_ONE = (
    r"(?:(?:password|passwd|passphrase|pwd|secret|token|credentials?)"
    r"|(?:api|access|secret|private|account|auth|encryption|signing|client)[_-]?key"
    r"(?:[_-]?(?:id|secret|data))?|(?:j|php)?sess(?:ion)?[_-]?id|(?<![a-z])(?:ak|sk)|(?:_pass|_pw))"
)
# What stands where a secret would, and says something about it instead.
_NO_SECRET = re.compile(
    r"(?:null|none|nil|true|false|undefined|empty|required|optional|invalid|expired?|incorrect"
    r"|wrong|missing|denied|error|failed|string|str|int|text|yes|no|is|not|xxx+|\*+|\.{2,}|-+|_+"
    r"|your[\w-]*|changeme|[$%#{<\[].*|.*\(\)?)[.!?:]*",
    re.IGNORECASE,
)
# Nor is it one without a sign before it: an option, a length, an algorithm, a product.
_PLAIN = (
    r"(?:[a-z][\w.-]*=.*|\d{1,4}-?(?:bit|byte|char|digit|hour|day|min)[a-z]*"
    r"|(?:sha|md|aes|des|rsa|ecc|hs|rs|es|ed|sm|base|oauth|hmac|pbkdf)-?\d[\w.-]*"
    r"|[a-z]{2,}[_-]?v?\d+(?:\.[\dx]+)+|(?:windows|win|centos|rhel|ubuntu|debian|oracle|office"
    r"|sqlserver|exchange|jdk|java|python|mysql|redis)\d+[a-z]?)"
)
_NAMED = (
    # password: x, "token": "x", DB_PASSWORD=x, --secret=x, <password>x</password>
    re.compile(
        rf"{_NAME_OF_ONE}\\?[\"'`]?[ \t]*(?::=|[:：=]|=>|>)[ \t]*"
        rf"(?:\\?[\"'`](?P<quoted>[^\"'`\\\n]{{3,}})\\?[\"'`]|(?P<it>{_VALUE}{{3,}}))",
        re.IGNORECASE,
    ),
    # 密码：x, 密码是 x
    re.compile(
        r"(?:密码|口令|密钥|秘钥|令牌|授权码|验证码|动态码)[\"'`]?[ \t]*"
        r"(?:[:：=]|是|为|->|改成了?|重置为)"
        rf"[ \t]*[\"'`“]?(?P<it>{_VALUE}{{4,}})"
    ),
    # 密码x, 密码（x）, token是x, my password is x: letters, and digits or signs, are none of a word
    re.compile(
        r"(?:(?:密码|口令|密钥|秘钥|令牌|授权码)[ \t]*(?:(?:是|为|is)[ \t]*)?[(\[“]?"
        r"|(?:password|passwd|pwd|token|(?:api|access|secret)[ _-]?key)"
        r"(?:[ \t]*(?:是|为)[ \t]*|[ \t]+(?:is[ \t]+)?)[\"'`“]?)"
        rf"(?!{_PLAIN}[.!?:]*(?!{_VALUE}))(?![*+/:.=-])"
        rf"(?P<it>(?={_VALUE}*(?:\d|[@!#$%^&*+?~]{_VALUE}))(?={_VALUE}*[A-Za-z]){_VALUE}{{6,}})",
        re.IGNORECASE,
    ),
    # mysql -uroot -px, curl -u name:x, sshpass -p x
    re.compile(rf"\b(?:mysql\w*|mariadb\w*)\b[^\n|;]{{0,200}}?\s-p(?P<it>{_VALUE}{{3,}})"),
    re.compile(
        rf"\bcurl\b[^\n|;]{{0,200}}?\s(?:-u|--user)[ =]?[\"']?[^\s:\"']+:(?P<it>{_VALUE}{{3,}})"
    ),
    re.compile(
        r"\b(?:sshpass\s+-p|redis-cli\b[^\n|;]{0,200}?\s-a)"
        rf"\s*[\"']?(?P<it>{_VALUE}{{3,}})"
    ),
    # the key of a robot's address
    re.compile(r"[?&](?:key|sign(?:ature)?|sig|x-amz-signature)=(?P<it>[\w%+/=-]{16,})", re.I),
)


def _named_secrets(text: str) -> Spans:
    spans = set()
    for pattern in _NAMED:
        for match in pattern.finditer(text):
            group = "quoted" if "quoted" in pattern.groupindex and match["quoted"] else "it"
            said, then = match[group], text[match.end(group) : match.end(group) + 1]
            if not _NO_SECRET.fullmatch(said) and "【" not in said and then != "(":
                spans.add(match.span(group))
    yield from _apart(sorted(spans))


def _apart(spans: list[tuple[int, int]]) -> Spans:
    """Without those that begin inside another."""
    reached = 0
    for start, end in spans:
        if start >= reached:
            reached = end
            yield start, end


_PRIVATE_KEY = _group(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|.*)",
    re.DOTALL,
)
_JWT = _group(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?")
_KNOWN_TOKEN = _group(
    r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|LTAI[0-9A-Za-z]{12,28}|AKID[0-9A-Za-z]{13,40}"
    r"|gh[pousr]_[0-9A-Za-z]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}"
    r"|sk-[\w-]{20,}|AIza[\w-]{30,}|SG\.[\w-]{16,}\.[\w-]{16,}|hf_[0-9A-Za-z]{20,}"
    r"|npm_[0-9A-Za-z]{20,}|pypi-[\w-]{30,}"
    r"|\$(?:1|5|6|y|2[aby]|apr1|argon2\w+)\$[\w./$=,+-]{16,})"
)
_IN_URL = _group(
    r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@【】]*:(?P<it>[^\s/@【】]+)(?=@)", re.IGNORECASE
)


_AUTHORIZATION = re.compile(
    r"authorization[\"']?\s*[:=]\s*[\"']?(?:(?:basic|bearer|token|digest|apikey)\s+)?"
    r"(?P<it>(?!(?:basic|bearer|token|digest|apikey)\b)[^\s\"'`,，。；【】]{6,})"
    r"|\bbearer\s+(?P<alone>(?=[\w.~+/=-]*\d)[\w.~+/=-]{16,})"
    r"|\b(?:set-)?cookie[\"']?\s*:\s*[\"']?(?P<cookie>\w[^\s\"'【】]*=[^\"'\n【】]{6,})",
    re.IGNORECASE,
)


def _authorizations(text: str) -> Spans:
    for match in _AUTHORIZATION.finditer(text):
        yield match.span(str(match.lastgroup))


# --- people -----------------------------------------------------------------------

_MAIL = re.compile(
    r"(?<![\w.+-])(?!git@)[A-Za-z0-9_.+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"
    r"(?![\w@-]|\.[A-Za-z]|:[\w/~])"
)
_LOGIN = re.compile(r"\b(?:ssh|sftp|scp|rsync|ssh-copy-id)\b[^\n|;]*\Z")


def _emails(text: str) -> Spans:
    """Not whom a machine is entered as."""
    for match in _MAIL.finditer(text):
        if not _LOGIN.search(text[max(0, match.start() - 80) : match.start()]):
            yield match.span()


# Of the first generation: without a checksum, so only where it is said to be one.
_OLD_ID_CARD = re.compile(r"身份证[号码件]*[\s:：是为]*(?P<it>[1-9]\d{14})(?!\d)")
_ID_CARD = re.compile(r"(?<![0-9A-Za-z])[1-9]\d{5}(?:18|19|20)\d{2}\d{7}[0-9Xx](?![0-9A-Za-z])")
_CARD = re.compile(r"(?<![\w.+-])[2-6]\d{3}(?:[ -]?\d{4}){2,3}[ -]?\d{1,4}(?![\w.]?\d|\w)")
_MOBILE = re.compile(
    r"(?<![0-9A-Za-z_.=/])(?:(?:\+|00)?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}(?![0-9A-Za-z_]|[.-]\d)"
)
_PHONE = re.compile(
    r"(?<![\w.+-])(?:[(（]0\d{2,3}[)）][ -]?|0\d{2,3}[ -])[2-8]\d{2,3}[ -]?\d{4}(?:[-转]\d{1,6})?"
    r"(?![\w.]?\d|-\d|:)"
    r"|(?<=电话|座机|热线|联系)[:：是 ]{0,2}(?P<it>0\d{2,3}[2-8]\d{6,7})(?!\d)"
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def _id_cards(text: str) -> Spans:
    for match in _ID_CARD.finditer(text):
        number = match[0].upper()
        total = sum(weight * int(n) for weight, n in zip(_WEIGHTS, number[:17], strict=True))
        if "10X98765432"[total % 11] == number[17] and _is_day(number[6:14]):
            yield match.span()
    for match in _OLD_ID_CARD.finditer(text):
        if _is_day(f"19{match['it'][6:12]}"):
            yield match.span("it")


def _is_day(text: str) -> bool:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])) <= date.today()
    except ValueError:
        return False


def _bank_cards(text: str) -> Spans:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        # Only China's own are longer than 16; clocks of databases have 18 digits.
        issued = re.fullmatch(r"62\d{14,17}|(?:4\d|5[1-5]|2[2-7]|35|60)\d{14}", digits)
        if issued and _luhn(digits) and not _is_a_number(text, match):
            yield match.span()


def _luhn(digits: str) -> bool:
    doubled = [int(n) * (1 + at % 2) for at, n in enumerate(reversed(digits))]
    return sum(n - 9 * (n > 9) for n in doubled) % 10 == 0


def _mobiles(text: str) -> Spans:
    for match in _MOBILE.finditer(text):
        if not _is_a_number(text, match):
            yield match.span()


def _is_a_number(text: str, match: re.Match[str]) -> bool:
    return bool(_NUMBER_OF.search(text[max(0, match.start() - 30) : match.start()]))


def _phones(text: str) -> Spans:
    for match in _PHONE.finditer(text):
        yield match.span("it" if match["it"] else 0)


_RULES: tuple[tuple[str, Callable[[str], Spans]], ...] = (
    ("private_key", _PRIVATE_KEY),
    ("secret", _IN_URL),
    ("token", _authorizations),
    ("token", _JWT),
    ("token", _KNOWN_TOKEN),
    ("secret", _named_secrets),
    ("email", _emails),
    ("id_card", _id_cards),
    ("bank_card", _bank_cards),
    ("mobile", _mobiles),
    ("phone", _phones),
)
