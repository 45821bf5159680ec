"""What a pasted log is about: the customer's own words, and the few lines that tell.

Timestamps, hosts, threads and stack frames would drown a search; what failed is said by an
error's name, its code, its sentence, and in a stack trace by the last cause. Pure.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LINES = 4  # that tell
LINE = 160  # characters of each
LOOKED_AT = 600  # characters of a line
_TIME = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}[T ]+\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?"
    r"(?: ?(?:Z|UTC|CST|GMT|[+-]\d{2}:?\d{2}))?"
    r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s+\d{1,2}\s+\d{2}:\d{2}:\d{2}"
    r"|\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2} [+-]\d{4}"
    r"|[IWEF]\d{4} \d{2}:\d{2}:\d{2}\.\d+|\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?= ))"
)
_LEVEL = (
    r"(?:FATAL|CRITICAL|CRIT|ERROR|ERR|SEVERE|PANIC|EMERG|ALERT|WARN(?:ING)?|INFO|DEBUG|TRACE"
    r"|NOTICE)"
)
_STAMPED = re.compile(rf"\s*[\[(<|]?{_TIME}")
_LEVELLED = re.compile(rf"\s*[\[(<|]?{_LEVEL}\b[\])>:| ]")
_JSON = re.compile(r'\s*\{.*"(?:level|lvl|severity|msg|message|time|ts|@timestamp)"\s*:')
_FRAME = re.compile(
    r"\s+at [\w.$<>/]+\(|\s*File \"[^\"]+\", line \d+|\s*\.\.\. \d+ (?:more|common)"
    r"|goroutine \d+ \[|\s+/?\S+\.(?:go|py|js|ts|rb|php):\d+|\s*#\d+\s+0x|Traceback \(most"
)
_THROWN = re.compile(
    r"(?<![\w.])(?:Caused by: )?(?:[a-z_]\w*\.)*[A-Z]\w*(?:Exception|Error|Failure)\b"
)
_CAUSE = re.compile(r"\s*Caused by:\s*")
_CODE = re.compile(
    r"\b(?:[A-Z]{2,8}-\d{3,6}|0x[0-9A-Fa-f]{4,8}|E[A-Z]{4,}|[Ee]rrno \d+"
    r"|[Ee]xit (?:code|status) \d+"
    r"|ERROR \d{4}|(?:HTTP|status)[ /:=]*[45]\d\d|[A-Z][a-z]+(?:[A-Z][a-z]+)+(?:Error|Exception)"
    r"|CrashLoopBackOff|ImagePullBackOff|OOMKilled|SIG[A-Z]{3,4})\b"
)
# Of these, what names one error and no other.
_NAMED = re.compile(
    r"\b(?:[A-Z]{2,8}-\d{3,6}|0x[0-9A-Fa-f]{8}|ERROR \d{4}|[A-Z][a-z]+(?:[A-Z]+[a-z]+)+(?:Error"
    r"|Exception)|CrashLoopBackOff|ImagePullBackOff|OOMKilled|SQLSTATE\[\w+\])"
)
# A bare code, as Redis and others put it before their sentence: READONLY, NOAUTH. Behind an
# error's name, or as a long word that begins a line.
_BARE = re.compile(
    r"(?m)(?:(?:(?:Exception|Error|Failure):|\(error\)) -?(?P<behind>[A-Z]{3,}(?:_[A-Z]+)*)"
    r"|^(?P<first>[A-Z]{6,}(?:_[A-Z]+)*))(?![\w-])"
)
_NO_CODE = frozenset(
    ["ERROR", "ERR", "WARN", "WARNING", "INFO", "DEBUG", "TRACE", "FATAL", "CRITICAL", "NOTICE",
     "SEVERE", "PANIC", "ALERT", "FAILED", "FAILURE", "EXCEPTION", "TIMEOUT", "CANNOT", "UNABLE",
     "INVALID", "UNKNOWN", "UNEXPECTED", "CONNECTION", "STATEMENT", "DETAIL", "MESSAGE", "ACCESS",
     "THE", "NOT", "NULL", "NONE", "TRUE", "FALSE", "HTTP", "HTTPS", "GET", "POST", "PUT", "HEAD",
     "PATCH", "OPTIONS", "CONNECT", "SQL", "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP",
     "ALTER", "TRUNCATE", "TABLE", "COLUMN", "PRIMARY", "FOREIGN", "UNIQUE", "DUPLICATE", "JDBC",
     "ODBC", "JSON", "XML", "YAML", "CSV", "HTML", "PDF", "URL", "URI", "API", "RPC", "TCP", "UDP",
     "DNS", "SSL", "TLS", "SSH", "FTP", "SFTP", "SMTP", "IMAP", "LDAP", "NFS", "SMB", "VPN", "JVM",
     "CPU", "GPU", "RAM", "DISK", "HOST", "PORT", "KEY", "UTF", "ASCII", "JWT", "REDIS", "MYSQL",
     "ORACLE", "POSTGRESQL", "MONGODB", "KAFKA", "NGINX", "DOCKER", "KUBERNETES"]
)  # fmt: skip
_LATIN = re.compile(r"[a-z]{2,}")
_COMMON = frozenset(
    ["failed", "connect", "connection", "connecting", "cannot", "unable", "server",
     "client", "request", "response", "invalid", "unknown", "exception", "error", "errors"]
)  # fmt: skip
_GRAVE = re.compile(r"\b(?:FATAL|CRITICAL|CRIT|ERROR|ERR|SEVERE|PANIC|EMERG|ALERT)\b|\b[EF]\d{4} ")
_FAILED = re.compile(
    r"(?i)\b(?:fail\w*|denied|refused|time(?:d )?-?out|cannot|can't|unable|not found|no such|panic"
    r"|killed|exceeded|invalid|unreachable|out of|no space|not permitted|expired|corrupt\w*"
    r"|reset by peer)\b|错误|失败|异常|拒绝|超时|不足|无法|不存在|已满|崩溃"
)
# What stands before the sentence of a line, and in it, and belongs to one machine and moment.
_BEFORE = re.compile(
    rf"^\s*(?:[\[(<|]?{_TIME}[\])>|]?[ \t]*"
    rf"|[\[(<|]?{_LEVEL}\b(?! \d)[\])>|]*[:,]?[ \t]*"
    r"|\[(?![A-Z]{2,8}-\d)[^\]\n]{1,60}\][ \t]*"
    r"|[\w.-]{2,40}\[\d+\]:[ \t]*|\d{1,7} +(?=---|[\w.-]+\.go:|[\[(]?[A-Z]{4,5}\b)"
    r"|---[ \t]*|[-|:][ \t]+"
    r"|(?:[a-z_][\w$]*\.){2,}(?!\w*(?:Exception|Error|Failure)\b)[\w$]\S*[ \t]*(?:[:-][ \t]+)"
    r"|[\w.-]+\.(?:go|cc|cpp|c|py|rs):\d+\]?[ \t]*)"
)
_HOST = re.compile(rf"^\s*(?P<time>{_TIME})\s+[\w.-]+\s+(?=[\w./-]+(?:\[\d+\])?:\s)")
_MOMENT = re.compile(
    r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b|@[0-9a-f]{6,}\b"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{10,}\b|\b\d{7,}\b"
    rf"|{_TIME}"
)
_PACKAGE = re.compile(r"\b(?:[a-z_]\w*\.){2,}(?=[A-Z])")
_FIELD = re.compile(r'"(?:msg|message|error|err|reason|exception)"\s*:\s*"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Pasted:
    words: str  # what the customer says beside it
    log: str  # "" when nothing was pasted

    @property
    def question(self) -> str:
        """The words; of a log that stands alone the first line that tells."""
        return self.words or next(iter(telling(self.log)), self.log[:LINE])

    @property
    def gist(self) -> str:
        """The words with the first line that tells: what a later message may lean on."""
        return " ".join(filter(None, [self.words, *telling(self.log)[:1]]))

    @property
    def attached(self) -> str:
        return "\n".join(telling(self.log))


def read(text: str) -> Pasted:
    """Tell a log, two lines of it or a long one, from the words around it."""
    lines = text.splitlines()
    found = [at for at, line in enumerate(lines) if _is_log(line)]
    alone = lines[found[0]] if len(found) == 1 else ""
    enough = len(found) > 1 or len(alone) >= LINE // 2 or _worth(alone) > 1
    if not enough or not any(_STAMPED.match(lines[at]) or _marked(lines[at]) for at in found):
        return Pasted(text, "")
    first, end = found[0], found[-1] + 1
    around = [*lines[:first], *lines[end:]]
    words = "\n".join(line for line in around if line.strip()).strip()
    return Pasted(words, "\n".join(lines[first:end]))


def shortened(text: str, length: int) -> str:
    """Of a text that is too long for a message its words and first telling lines, as they are."""
    pasted = read(text)
    if not pasted.log:
        return f"{text[: length - 1]}…"
    lines = [
        line[: 2 * LINE] for line in _chosen([one[:LOOKED_AT] for one in pasted.log.splitlines()])
    ]
    short = "\n".join(filter(None, [pasted.words[: length // 2], *lines]))
    return f"{short[: length - 2]} …"


def telling(text: str) -> list[str]:
    """What the lines that tell say, at most LINES of them, in their order, each once."""
    lines = [line[:LOOKED_AT] for line in text.splitlines()]
    said = [bare(line)[:LINE].strip() for line in _chosen(lines)]
    return list(dict.fromkeys(filter(None, said)))


def names(passage: str, attached: str) -> bool:
    """Whether a passage names the error of a log: its code, or some words of it in their order."""
    said = " ".join(_LATIN.findall(passage.lower()))
    return (
        any(f" {phrase} " in f" {said} " for phrase in _phrases(attached))
        or any(code.lower() in passage.lower() for code in _NAMED.findall(attached))
        or any(re.search(rf"(?<![A-Za-z]){code}(?![A-Za-z])", passage) for code in _codes(attached))
    )


def _codes(text: str) -> set[str]:
    return {found["behind"] or found["first"] for found in _BARE.finditer(text)} - _NO_CODE


def _phrases(text: str) -> Iterator[str]:
    """Three words that tell something, or four of which one does."""
    for line in text.lower().splitlines():
        words = _LATIN.findall(line)
        for size, least in ((3, 2), (4, 1)):
            for start in range(len(words) - size + 1):
                some = words[start : start + size]
                if sum(len(word) > 5 and word not in _COMMON for word in some) >= least:
                    yield " ".join(some)


def bare(line: str) -> str:
    """What a line of a log says, without when and where."""
    if _JSON.match(line) and (fields := _FIELD.findall(line)):
        line = " ".join(fields)
    line = _HOST.sub("", line)
    while (rest := _BEFORE.sub("", line, count=1)) != line:
        line = rest
    line = _PACKAGE.sub("", _CAUSE.sub("", line))
    return re.sub(r"[ \t]{2,}", " ", _MOMENT.sub("", line)).strip(" \t-:|,")


def _is_log(line: str) -> bool:
    line = line[:LOOKED_AT]
    return bool(_STAMPED.match(line) or _LEVELLED.match(line) or _marked(line))


def _marked(line: str) -> bool:
    return bool(_JSON.match(line) or _FRAME.match(line) or _THROWN.match(line))


def _chosen(lines: Sequence[str]) -> list[str]:
    """The lines that say most of what failed; where none says so, the last ones."""
    worth = {at: _worth(line) for at, line in enumerate(lines) if line.strip()}
    causes = [at for at, line in enumerate(lines) if _CAUSE.match(line)]
    if causes:  # what the others come from
        worth[causes[-1]] += 3
    shapes: set[str] = set()
    best = []
    for at in sorted(worth, key=lambda at: (-worth[at], at)):
        shape = re.sub(r"\d+", "0", bare(lines[at]))
        if worth[at] > 0 and shape not in shapes:
            shapes.add(shape)
            best.append(at)
    return [lines[at] for at in sorted(best[:LINES] or list(worth)[-2:])]


def _worth(line: str) -> int:
    line = line[:LOOKED_AT]
    if _FRAME.match(line):
        return 0
    thrown = bool(_THROWN.search(line)) or bool(_CODE.search(line))
    return 2 * thrown + 2 * bool(_GRAVE.search(line[:120])) + bool(_FAILED.search(line))
