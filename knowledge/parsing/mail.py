"""A saved e-mail message, EML or Outlook's MSG: who wrote what, and what was attached."""

import base64
import email
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from itertools import groupby

from oxmsg import Message
from oxmsg.attachment import Attachment
from oxmsg.domain import model

from knowledge.parsing import detection, nested, plaintext
from knowledge.parsing.detection import EML, MSG
from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.unreadable import Unreadable

DEPTH = 2  # messages within messages
MOST = 30  # attachments that are read
HEADINGS = 6
# Lines that mail programs put before what they quote.
_QUOTES = re.compile(
    r"[ \t>]*(?:-{2,}\s*(?:original message|forwarded message|原始邮件|原邮件|转发的邮件"
    r"|转发邮件信息)\s*-{2,}|on .{5,120} wrote:|在\s?.{5,120}写道[:：]|_{20,})\s*",
    re.IGNORECASE,
)
_CHARSET = re.compile(r"(<meta[^>]*charset\s*=\s*[\"']?)[\w-]+", re.IGNORECASE)
_CID = re.compile(r"cid:([^\"'\s>)]+)", re.IGNORECASE)


@dataclass
class File:
    name: str
    data: bytes
    media_type: str = ""
    content_id: str = ""  # by which the HTML body shows it


@dataclass
class Mail:
    subject: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # From, To, Cc, Date
    html: str = ""
    text: str = ""
    files: list[File] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)  # names of attachments that hold no bytes


def parse(data: bytes, media_type: str, seconds: float, depth: int = 0) -> ParsedDocument:
    """The message as a document: its subject, its head, its body, then what was attached.

    An attachment that cannot be read loses nothing of the rest: a warning names it.
    """
    mail = _eml(data) if media_type == EML else _msg(data)
    deadline = time.monotonic() + seconds
    parsed = ParsedDocument(title=mail.subject, parser="mail")
    if mail.subject:
        parsed.blocks.append(Block("heading", mail.subject, level=1))
    head = [f"{name}: {value}" for name, value in mail.headers.items() if value]
    if head:
        parsed.blocks.append(Block("paragraph", "\n".join(head)))
    shown = _body(mail, parsed, seconds)
    unread = list(mail.unread)
    attached = [file for file in mail.files if file.content_id not in shown]
    for number, file in enumerate(attached):
        left = deadline - time.monotonic()
        if number >= MOST or left < 1 or not _attach(file, parsed, left, depth):
            unread.append(file.name)
    if unread:
        parsed.warnings.append(f"attachments_unread:{', '.join(unread)}")
    return parsed


def _body(mail: Mail, parsed: ParsedDocument, seconds: float) -> set[str]:
    """Append the body; the content ids of the pictures that it shows."""
    if not mail.html.strip():
        parsed.blocks += _written(mail.text)
        return set()
    pictures = {file.content_id: file for file in mail.files if file.content_id}
    shown: set[str] = set()

    def embed(match: re.Match[str]) -> str:
        file = pictures.get(match[1])
        if file is None:
            return match[0]
        shown.add(match[1])
        return f"data:{file.media_type};base64,{base64.b64encode(file.data).decode()}"

    html = _CID.sub(embed, _CHARSET.sub(r"\1utf-8", mail.html))
    if not re.search(r"<(?:html|body)\b", html, re.IGNORECASE):
        html = f"<html><body>{html}</body></html>"
    try:
        inner = nested.parse(html.encode("utf-8", "replace"), "a.html", seconds)
    except Unreadable as refusal:
        if refusal.reason not in {"nothing", "broken"}:
            raise
        inner = ParsedDocument()
    if any(not block.hidden for block in inner.blocks):
        _append(parsed, inner, 1)
    else:
        parsed.blocks += _written(mail.text)
    return shown


def _written(text: str) -> Iterator[Block]:
    """Plain text: what a person wrote, and what is quoted in blocks of its own."""
    lines = text.replace("\r\n", "\n").replace("\xa0", " ").split("\n")
    for kind, group in groupby(lines, _kind):
        if kind == "quotes":
            yield from (Block("heading", line.strip(" \t>-_") or "…", level=2) for line in group)
        elif kind == "quoted":
            quoted = "\n".join(group).strip()
            yield from [Block("paragraph", quoted)] * bool(quoted.strip("> \t\n"))
        else:
            yield from plaintext.parse("\n".join(group), "").blocks


def _kind(line: str) -> str:
    if _QUOTES.fullmatch(line):
        return "quotes"
    return "quoted" if line.lstrip().startswith(">") else "written"


def _attach(file: File, parsed: ParsedDocument, seconds: float, depth: int) -> bool:
    """Append what the attachment holds; False when that cannot be read."""
    try:
        kind = file.media_type if file.media_type == MSG else nested.detect(file.data, file.name)
        if kind in {EML, MSG}:
            if depth + 1 >= DEPTH:
                return False
            inner = parse(file.data, kind, seconds, depth + 1)
        else:
            inner = nested.parse(file.data, file.name, seconds)
    except Unreadable:
        return False
    parsed.blocks.append(Block("heading", file.name, level=2))
    _append(parsed, inner, 2)
    return True


def _append(parsed: ParsedDocument, inner: ParsedDocument, level: int) -> None:
    """`inner` at the end of `parsed`, its headings below `level`; a message has no pages."""
    page, offset = None, len(parsed.assets)
    for block in inner.blocks:
        if block.page != page and block.page and block.page <= len(inner.page_names):
            name = inner.page_names[block.page - 1]
            parsed.blocks.append(Block("heading", name, level=level + 1))
        page = block.page
        block.page = block.box = block.first_row = block.first_column = None
        if block.level:
            block.level = min(block.level + level, HEADINGS)
        if block.asset is not None:
            block.asset += offset
        parsed.blocks.append(block)
    for asset in inner.assets:
        asset.page = asset.box = None
        parsed.assets.append(asset)
    parsed.warnings += inner.warnings


# --- EML ---------------------------------------------------------------------------


def _eml(data: bytes) -> Mail:
    message = email.message_from_bytes(data, policy=policy.default)
    raw = {name.lower(): value for name, value in reversed(list(message.raw_items()))}
    found = {name: _words(raw.get(name.lower(), "")) for name in ("From", "To", "Cc", "Date")}
    found["Date"] = _date(found["Date"])
    mail = Mail(_words(raw.get("subject", "")), found)
    for part in _leaves(message):
        _take(part, mail)
    return mail


def _leaves(message: EmailMessage) -> Iterator[EmailMessage]:
    """The parts that hold something; a message that was attached stays whole."""
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        for part in message.iter_parts():
            yield from _leaves(part)  # type: ignore[arg-type]
    else:
        yield message


def _take(part: EmailMessage, mail: Mail) -> None:
    kind = part.get_content_type()
    if kind == EML and part.is_multipart():
        inner = part.get_payload(0)
        subject = _words(str(inner["subject"] or ""))  # type: ignore[index]
        data = inner.as_bytes()  # type: ignore[union-attr]
        mail.files.append(File(f"{subject or 'message'}.eml", data, EML))
        return
    content = part.get_payload(decode=True)
    data = content if isinstance(content, bytes) else b""
    name = _words(part.get_filename() or "")
    if not name and part.get_content_disposition() != "attachment":
        if kind == "text/html":
            mail.html += _text(data, part.get_content_charset())
            return
        if kind == "text/plain":
            mail.text += _text(data, part.get_content_charset())
            return
    if data:
        content_id = str(part.get("content-id", "")).strip(" <>")
        mail.files.append(File(name or kind, data, kind, content_id))


def _words(raw: str) -> str:
    """A header as it is read: encoded words, or bytes of an unnamed encoding, as text."""
    if any("\udc80" <= character <= "\udcff" for character in raw):
        raw = _text(raw.encode("utf-8", "surrogateescape"), None)
    try:
        parts = decode_header(raw)
    except HeaderParseError:  # base64 that was cut off
        parts = [(raw, None)]
    joined = "".join(
        _text(part, charset) if isinstance(part, bytes) else part for part, charset in parts
    )
    return " ".join(joined.split())


def _text(data: bytes, charset: str | None) -> str:
    """In the encoding it names; GB 2312 is GB 18030 in truth, and a wrong name is no name."""
    if charset and charset.lower() in {"gb2312", "gbk", "gb_2312-80", "cp936"}:
        charset = "gb18030"
    try:
        return data.decode(charset or "utf-8")
    except (LookupError, UnicodeDecodeError):
        pass
    try:
        return detection.decode(data)
    except Unreadable:
        return data.decode("utf-8", "replace")


def _date(value: str) -> str:
    try:
        return parsedate_to_datetime(value).strftime("%Y-%m-%d %H:%M %z").strip()
    except (ValueError, IndexError):
        return value


# --- MSG ---------------------------------------------------------------------------


def _msg(data: bytes) -> Mail:
    try:
        return _outlook(Message.load(data))
    except (OSError, ValueError, KeyError, IndexError, AssertionError) as error:
        raise Unreadable("broken") from error


def _outlook(message: Message) -> Mail:
    headers = {name.lower(): value for name, value in message.message_headers.items()}
    recipients = [person.name or person.email_address for person in message.recipients]
    sent = message.sent_date
    mail = Mail(
        message.subject,
        {
            "From": _words(message.sender or ""),
            "To": _words(headers.get("to", "")) or ", ".join(filter(None, recipients)),
            "Cc": _words(headers.get("cc", "")),
            "Date": sent.strftime("%Y-%m-%d %H:%M %z") if sent else "",
        },
        html=_outlook_html(message),
        text=message.body or "",
    )
    for attachment in message.attachments:
        _take_outlook(attachment, mail)
    return mail


def _outlook_html(message: Message) -> str:
    try:
        return message.html_body or ""
    except (LookupError, UnicodeDecodeError):  # of a code page that lies
        data = message.properties.binary_prop_value(0x1013)  # PidTagHtml
        return _text(data or b"", None)


def _take_outlook(attachment: Attachment, mail: Mail) -> None:
    properties = attachment.properties
    name = attachment.file_name or properties.str_prop_value(0x3704) or "attachment"
    content_id = properties.str_prop_value(0x3712) or ""  # PidTagAttachContentId
    data = attachment.file_bytes if _by_value(attachment) else None
    if data:
        kind = attachment.mime_type or ""
        mail.files.append(File(name, data, kind, content_id.strip(" <>")))
    else:  # a link, or a message within: Outlook stores that in a way of its own
        mail.unread.append(name)


def _by_value(attachment: Attachment) -> bool:
    return attachment.properties.int_prop_value(0x3705) in {None, model.AF_BY_VALUE}
