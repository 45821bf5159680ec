"""WeCom conversations as files: lines → messages. Pure; `knowledge.wecom_pairs` goes on from here.

Three kinds of files are read: the decrypted archive (JSON Lines, as the 会话存档 interface
gives messages), a chat as text, and rows of a sheet. What may be kept is decided here:
revoked messages and those of external contacts who did not agree are left out.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Any

MOST = 100_000  # messages of a file
LONGEST = 4000  # characters of a message
EXTERNAL = ("wm", "wo")  # ids of people outside the company begin so


@dataclass(frozen=True)
class Message:
    room: str
    sender: str
    at: int  # milliseconds since 1970
    text: str
    external: bool = False
    quoted: str = ""  # whom it answers, as it calls them
    mentions: tuple[str, ...] = ()
    line: int = 0

    def to_json(self) -> str:
        return json.dumps(vars(self) | {"mentions": list(self.mentions)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Message":
        data = json.loads(text)
        return cls(**data | {"mentions": tuple(data["mentions"])})


@dataclass
class Conversations:
    """What a file held: messages in the order of time, what was left out, lines that are broken."""

    messages: list[Message] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[tuple[int, str]] = field(default_factory=list)  # line number, reason


# --- the archive --------------------------------------------------------------------


def archive(lines: Iterable[str]) -> Conversations:
    """Messages of decrypted archive lines, whatever their order."""
    found = Conversations()
    kept: dict[str, Message] = {}
    revoked: set[str] = set()
    consents: list[tuple[int, str, bool]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _record(line)
        if record is None:
            found.errors.append((number, "broken"))
            continue
        if record.get("action") == "switch":
            continue
        message_id = _text(record.get("msgid"))
        kind = _text(record.get("msgtype"))
        found.counts["messages"] += 1
        if kind in {"agree", "disagree"}:
            consents += _consent(record, kind)
            continue
        if kind == "revoke" or record.get("action") == "recall":
            revoked.add(_text(_body(record, "revoke").get("pre_msgid")) or message_id)
            continue
        message = _message(record, number)
        if message is None or not message_id:
            found.errors.append((number, "fields"))
        elif message_id in kept:
            found.counts["duplicates"] += 1
        elif len(kept) >= MOST:
            found.errors.append((number, "too_many"))
            break
        else:
            kept[message_id] = message
    found.counts["revoked"] = sum(message_id in kept for message_id in revoked)
    for message_id in revoked:
        kept.pop(message_id, None)
    agreed = _agreed(consents)
    for message in sorted(kept.values(), key=lambda one: (one.at, one.line)):
        if message.external and not agreed(message):
            found.counts["without_consent"] += 1
        elif message.text:
            found.messages.append(message)
        else:
            found.counts["without_text"] += 1
    return found


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _message(record: dict[str, Any], number: int) -> Message | None:
    sender, at = _text(record.get("from")), record.get("msgtime")
    if not sender or not isinstance(at, int) or not 0 < at < 10**14:
        return None
    text, quoted = _unquoted(_content(record))
    to = record.get("tolist")
    others = sorted({sender, *(_text(one) for one in to)} if isinstance(to, list) else {sender})
    return Message(
        room=_text(record.get("roomid")) or " ".join(others),
        sender=sender,
        at=at,
        text=text[:LONGEST],
        external=sender.startswith(EXTERNAL),
        quoted=quoted,
        mentions=tuple(_MENTION.findall(text)),
        line=number,
    )


def _content(record: dict[str, Any]) -> str:
    """What a message says as text. Of pictures and recordings, that they were there."""
    kind = _text(record.get("msgtype"))
    body = _body(record, kind)
    if kind == "text":
        return _text(body.get("content"))
    if kind == "markdown":
        return _text(_body(record, "info").get("content"))
    if kind in {"mixed", "chatrecord"}:
        items = body.get("item")
        parts = map(_item, items) if isinstance(items, list) else ()
        return "\n".join(filter(None, [_text(body.get("title")), *parts]))
    if kind == "link":
        return f"{_text(body.get('title'))} {_text(body.get('link_url'))}".strip()
    if kind == "file":
        return f"[文件 {_text(body.get('filename'))}]"
    if kind in {"doc", "docmsg"}:
        doc = _body(record, "doc")
        return f"{_text(doc.get('title'))} {_text(doc.get('link_url'))}".strip()
    return {"image": "[图片]", "voice": "[语音]", "video": "[视频]"}.get(kind, "")


def _item(item: Any) -> str:
    """A part of a mixed message, or of a conversation that was forwarded ("ChatRecordText");
    its content is JSON inside JSON."""
    if not isinstance(item, dict):
        return ""
    kind = _text(item.get("type")).lower().removeprefix("chatrecord")
    held = item.get("content")
    content = held if isinstance(held, dict) else _record(_text(held)) or {}
    return _content({"msgtype": kind, kind: content})


def _body(record: dict[str, Any], name: str) -> dict[str, Any]:
    body = record.get(name)
    return body if isinstance(body, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _consent(record: dict[str, Any], kind: str) -> Iterator[tuple[int, str, bool]]:
    body = _body(record, kind) or _body(record, "agree")
    user = _text(body.get("userid")) or _text(record.get("from"))
    at = body.get(f"{kind}_time") or record.get("msgtime")
    if user and isinstance(at, int):
        yield (at * 1000 if at < 10**11 else at), user, kind == "agree"


def _agreed(consents: list[tuple[int, str, bool]]) -> Callable[[Message], bool]:
    """Whether the sender had agreed by then and did not take it back since."""
    since: dict[str, int] = {}
    for at, user, agrees in sorted(consents):
        if agrees:
            since.setdefault(user, at)
        else:
            since.pop(user, None)
    return lambda message: since.get(message.sender, 10**15) <= message.at


# --- text and sheets ----------------------------------------------------------------

_TIME = r"\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?[ T\u3000]*\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?"
_HEAD = re.compile(
    rf"[\[【(]?(?:(?P<who>\S.{{0,60}}?)[\]】)]?[ \t\u3000]+[\[【(]?(?P<at>{_TIME})"
    rf"|(?P<at2>{_TIME})[\]】)]?[ \t\u3000]+(?P<who2>\S.{{0,60}}?))[\]】)]?[:：]?\s*"
)
_TIME_PARTS = re.compile(r"\d+")
_REVOKED = re.compile(r"[\"“「]?(?P<who>.{1,60}?)[\"”」]?\s*撤回了一条消息.*")
_MENTION = re.compile(r"@([^\s@\u2005，,：:。]{1,30})[\s\u2005]?")
_QUOTES = (
    re.compile(r"\A「(?P<who>[^：:\n]{1,40})[：:](?P<said>.*?)」\s*\n[-—－ ]{3,}\s*\n", re.DOTALL),
    re.compile(
        r"\A(?:这是一条引用/回复消息[：:]?\s*\n)?[\"“]\s*(?P<who>[^：:\n\"]{1,40})[：:](?P<said>.*?)"
        r"[\"”]\s*\n[-—－ ]{3,}\s*\n",
        re.DOTALL,
    ),
)
COLUMNS = {
    "at": {"时间", "发送时间", "消息时间", "日期", "time", "sendtime", "msgtime"},
    "sender": {"发送人", "发送者", "发言人", "成员", "姓名", "昵称", "sender", "from"},
    "text": {"内容", "消息内容", "聊天内容", "消息", "content", "message", "text"},
    "room": {
        "群",
        "群名",
        "群聊",
        "群名称",
        "群聊名称",
        "会话",
        "会话名称",
        "接收人",
        "room",
        "chat",
    },
}


def transcript(text: str, zone: tzinfo, room: str = "") -> Conversations:
    """A chat as people copy or export it: a line with name and time, then what was said."""
    found = Conversations()
    held: list[tuple[int, str, int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        head = _HEAD.fullmatch(line.strip()) if len(line) < 150 else None
        at = _at(head["at"] or head["at2"], zone) if head else None
        if head and at is not None:
            held.append((number, (head["who"] or head["who2"]).strip(), at, []))
        elif held:
            held[-1][3].append(line)
        elif line.strip():
            found.errors.append((number, "no_sender"))
    _collect(found, [(*one[:3], "\n".join(one[3]).strip(), room) for one in held])
    return found


def table(rows: Iterable[tuple[int, list[str]]], zone: tzinfo) -> Conversations | None:
    """Rows of a sheet, numbered; None when its header does not name time, sender and content."""
    found = Conversations()
    columns: dict[str, int] = {}
    held = []
    for number, cells in rows:
        if not columns:
            names = ["".join(cell.split()).casefold() for cell in cells]
            columns = {key: at for key, known in COLUMNS.items()
                       for at, name in enumerate(names) if name in known}  # fmt: skip
            if not {"at", "sender", "text"} <= columns.keys():
                columns = {}
                if number > 10:
                    return None
            continue
        values = {key: cells[at].strip() if at < len(cells) else "" for key, at in columns.items()}
        at = _at(values["at"], zone)
        if at is None or not values["sender"]:
            found.errors.append((number, "fields"))
        else:
            held.append((number, values["sender"], at, values["text"], values.get("room", "")))
    if not columns:
        return None
    _collect(found, held)
    return found


def _collect(found: Conversations, held: list[tuple[int, str, int, str, str]]) -> None:
    for number, sender, at, said, room in held[:MOST]:
        found.counts["messages"] += 1
        text, quoted = _unquoted(said)
        if taken_back := _REVOKED.fullmatch(text):
            found.counts["revoked"] += _take_back(found, taken_back["who"], sender, room)
        elif not text:
            found.counts["without_text"] += 1
        else:
            mentions = tuple(_MENTION.findall(text))
            external = sender.endswith(("@微信", "＠微信"))
            found.messages.append(
                Message(room, sender, at, text[:LONGEST], external, quoted, mentions, number)
            )
    before = len(found.messages)
    found.messages = sorted(dict.fromkeys(
        replace(message, line=0) for message in found.messages
    ), key=lambda one: one.at)  # fmt: skip
    found.counts["duplicates"] += before - len(found.messages)
    if len(held) > MOST:
        found.errors.append((held[MOST][0], "too_many"))


def _take_back(found: Conversations, who: str, sender: str, room: str) -> bool:
    """Drop the last message of the one who took it back."""
    for index in range(len(found.messages) - 1, -1, -1):
        message = found.messages[index]
        if message.room == room and message.sender in {who, sender}:
            del found.messages[index]
            return True
    return False


def _at(text: str, zone: tzinfo) -> int | None:
    numbers = [int(part) for part in _TIME_PARTS.findall(text)[:6]]
    if len(numbers) < 5:
        return None
    try:
        return int(datetime(*numbers, tzinfo=zone).timestamp() * 1000)  # type: ignore[arg-type,misc]
    except (ValueError, OverflowError):
        return None


def _unquoted(text: str) -> tuple[str, str]:
    """A message without the one it quotes, and whom it quotes."""
    text = text.replace("\r\n", "\n").strip()
    for pattern in _QUOTES:
        if quote := pattern.match(text):
            return text[quote.end() :].strip(), quote["who"].strip()
    return text, ""
