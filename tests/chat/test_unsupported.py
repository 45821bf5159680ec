"""Whatever a model says, no number, command, path or version reaches the user that the passages
it cites lack. Judged by a simple reading of its own, not by what `chat.grounding` thinks."""

import html
import json
import re
import unicodedata
from contextlib import suppress
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from chat import generating
from chat.state import TurnState
from opsdesk.errors import ModelError

PASSAGES = [
    "数据库每天 02:30 全量备份，备份文件在 /data/backup/full 目录，保留 14 天，失败后重试三次。\n"
    "执行 `pg_dump -Fc ops > /data/backup/full/ops.dump` 备份数据库，版本要求 PostgreSQL 16.2。",
    "磁盘使用率超过 90% 时，用 `df -h` 查看磁盘，再执行 `rm -rf /data/tmp/cache` 清理缓存。\n"
    "端口 9100 上报磁盘使用率，地址 http://10.20.0.5:9100/metrics，最多 1,000 条。",
    "```sh\nsystemctl stop nginx\nkubectl delete pod web-0 -n prod\nsystemctl start nginx\n```\n"
    "| 参数 | 值 |\n|---|---|\n| worker_connections | 4096 |\n| keepalive_timeout | 65 |",
]
QUESTION = "端口 8080 上能不能执行 kill -9 4711，mysql 5.7 在 /opt/mysql 目录"
SENTENCES = [s for p in PASSAGES for s in re.findall(r"[^。\n]+。?", p)]
PROSE = [
    "数据库备份保存在",
    "磁盘使用率",
    "执行",
    "保留",
    "版本",
    "端口",
    "清理缓存",
    "目录",
    "，",
    "。",
    "天",
    " ",
    "\n",
    "Nginx 的参数",
    "重试",
    "条",
    "~",
    "-",
    ":",
    "(",
    ")",
]
TRUE = [
    "14 天",
    "三次",
    "3 次",
    "90%",
    "9100",
    "16.2",
    "1000 条",
    "1,000",
    "02:30",
    "4096",
    "65",
    "/data/backup/full",
    "/data/tmp/cache",
    "df -h",
    "rm -rf /data/tmp/cache",
    "10.20.0.5",
    "systemctl stop nginx",
    "kubectl delete pod web-0 -n prod",
    "worker_connections",
]
FALSE = [
    "15 天",
    "五次",
    "两百次",
    "4 万条",
    "99%",
    "910",
    "19100",
    "91001",
    "16",
    "16.2.1",
    "16.22",
    "1 条",
    "02:31",
    "409",
    "/data",
    "/data/backup",
    "/data/backup/ful",
    "/etc/passwd",
    "df -H",
    "rm -rf /data",
    "rm -rf /",
    "rm -rf / data/tmp/cache",
    "10.20.0.50",
    "10.20.0",
    "systemctl restart nginx",
    "nginx stop systemctl",
    "kubectl delete pod",
    "kubectl delete ns prod",
    "DROP TABLE ops",
    "kill -9 4711",
    "8080",
    "5.7",
    "/opt/mysql",
    "v2.0",
    "0x1F",
    "-14",
    "6.5",
    "Ⅳ",
    "⑨⑨",
]


def _full_width(text):
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _inside(text, sign):
    return text[: len(text) // 2] + sign + text[len(text) // 2 :]


TRICKS = [
    str,
    str,
    str,
    lambda t: f"`{t}`",
    lambda t: f"```\n{t}\n```",
    lambda t: f"~~~\n{t}\n~~~",
    lambda t: f"    {t}",
    lambda t: f"**{t}**",
    lambda t: _inside(t, "**"),
    lambda t: _inside(t, "\u200b"),
    lambda t: _inside(t, "\u2060"),
    lambda t: _inside(t, "``"),
    lambda t: _inside(t, "`"),
    lambda t: _inside(t, "\\"),
    lambda t: _inside(t, "[1]"),
    lambda t: _inside(t, "\u00ad"),
    lambda t: _inside(t, "~~"),
    lambda t: _inside(t, "<b></b>"),
    lambda t: _inside(t, "\u2009"),
    lambda t: "".join(f"&#{ord(c)};" for c in t),
    _full_width,
    lambda t: f"<code>{t}</code>",
    lambda t: f"| {t} | {t} |",
    lambda t: f"| a | b |\n|---|---|\n| {t} | 65 |",
    lambda t: f"“{t}”",
    lambda t: f"[{t}](http://10.20.0.5:9100/metrics)",
    lambda t: f"[x](/{t})",
    lambda t: f"[1]: {t}",
    lambda t: f"`a[{t}]`",
    lambda t: f"# {t}",
    lambda t: f"> {t}",
    lambda t: f"1. {t}",
    lambda t: f"```{t}",
    lambda t: f"${t}$",
    lambda t: f"<!-- {t} -->",
    lambda t: f"``{t}``",
    lambda t: f"```\n{t}",
]
FRAGMENT = st.builds(
    lambda trick, text: trick(text),
    st.sampled_from(TRICKS),
    st.sampled_from([*SENTENCES, *TRUE, *FALSE]),
)
SAID = st.lists(st.one_of(st.sampled_from(PROSE), FRAGMENT), min_size=1, max_size=6).map("".join)
ANSWER = st.lists(st.tuples(SAID, st.lists(st.integers(0, 4), max_size=3)), min_size=1, max_size=4)


def passage(number, text):
    return SimpleNamespace(
        chunk_id=number, title="手册", heading_path=[], question="", text=text, kind="text"
    )


class Model:
    """Says what it is told to, a few characters at a time."""

    def __init__(self, text):
        self.text = text

    def stream(self, messages, **options):
        yield from (self.text[start : start + 7] for start in range(0, len(self.text), 7))


def told(text):
    """The pieces that reach the user, each with the passages it cites, and the whole."""
    shown, cited = [], []

    def emit(kind, **data):
        if kind == "citations":
            cited[:] = [one.chunk_id for one in data["citations"]]
        elif kind == "delta":
            marks = re.search(r"((?:\[\d+\])+)\s*\Z", data["text"])
            numbers = [cited[int(n) - 1] for n in re.findall(r"\d+", marks[1])]
            shown.append((data["text"][: marks.start()], numbers))

    turn = TurnState(QUESTION, [], query=QUESTION, emit=emit)
    passages = [passage(n, text) for n, text in enumerate(PASSAGES)]
    speaker = generating.Speaker(turn, passages)
    with suppress(ModelError):  # what was said before reached the user
        generating.generate(Model(text), turn, passages, speaker.say)
    return shown, speaker.text


# --- the oracle


def seen(text):
    """As a person would read it: no marks of Markdown, no signs that nobody sees."""
    text = unicodedata.normalize("NFKC", html.unescape(text))
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return re.sub(r"\s+", " ", re.sub(r"[*`~]|\\(?=[!-/:-@\[-`{-~])|</?\w+>", "", text))


HAN = {"两": 2, "三": 3, "五": 5, "两百": 200}


def numbers(text):
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    for word, value in HAN.items():
        text = re.sub(rf"{word}(?=次)", str(value), text)
    return set(re.findall(r"(?<![A-Za-z0-9_.])\d+(?:\.\d+)*(?![\d])", text))


def lacks(body, sources):
    """What stands in `body` and in none of `sources`, the passages it cites."""
    body = re.sub(r"(?m)^[ >\n]*\d{1,2}[.)]\s", "", re.sub(r"> \*\*.*\n", "", body))
    read, held = seen(body), " ".join(seen(source) for source in sources)
    lost = numbers(read) - numbers(held)
    for path in re.findall(r"(?<![\w/:.])(?:/[\w.-]*\w)+", read, re.ASCII):
        if not re.search(
            rf"(?:(?<![\w.-])|(?<=:9100)){re.escape(path)}(?![\w-]|[/.]\w)", held, re.ASCII
        ):
            lost.add(path)
    for command in FALSE:
        found = seen(command)
        if not found.isascii() or found.isdigit():
            continue
        pattern = rf"(?<![\w./-]){re.escape(found)}(?![\w./-]|\s[-/\w])"
        if re.search(pattern, read) and not re.search(pattern, held):
            lost.add(command)
    return lost


@settings(max_examples=100)
@given(ANSWER, st.booleans())
def test_nothing_reaches_the_user_that_its_cited_passages_lack(answer, as_json):
    if as_json:
        said = [{"text": text, "cites": cites} for text, cites in answer]
        text = json.dumps({"answerable": True, "sentences": said}, ensure_ascii=False)
    else:
        text = "".join(text + "".join(f"[{n}]" for n in cites) for text, cites in answer)
    shown, whole = told(text)
    for body, cites in shown:
        assert not lacks(body, [PASSAGES[n] for n in cites]), (body, cites)
    assert not lacks(re.sub(r"\[\d+\]", " ", whole), PASSAGES)


def test_what_the_passages_say_reaches_the_user():
    said = [
        {"text": text, "cites": [n]}
        for n, p in enumerate(PASSAGES[:2], 1)
        for text in p.split("\n")
    ]
    shown, whole = told(json.dumps({"answerable": True, "sentences": said}))
    assert [cites for _body, cites in shown] == [[0], [0], [0], [1], [1]] or len(shown) >= 4
    assert "rm -rf /data/tmp/cache" in whole and "16.2" in whole


def test_the_oracle_sees_what_is_invented():
    assert lacks("保留 15 天", PASSAGES) and lacks("`rm -rf /data`", PASSAGES)
    assert lacks("在 /data/backup 目录", PASSAGES) and not lacks("保留 14 天", PASSAGES)
