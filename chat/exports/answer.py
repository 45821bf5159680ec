"""An answer as a document has it: the question, the text, what it shows and where it is from."""

import io
import re
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.text import get_valid_filename
from django.utils.translation import gettext as _
from PIL import Image, UnidentifiedImageError

from chat import degrading
from chat.exports.blocks import Block, Span, Table, blocks, html_table, plain
from chat.exports.repeated import once
from chat.models import Citation, Message
from chat.originals import original
from knowledge.models import Attachment

PICTURE_SIDE = 1600  # pixels: more does not show on paper
NAME_LENGTH = 40
CELLS = re.compile(r"![A-Z]+\d+:[A-Z]+\d+$")  # of a named sheet, whose number adds nothing
QUOTE = 400  # characters: a longer passage is cut after the block that passes them


@dataclass
class Picture:
    png: bytes
    width: int  # pixels
    height: int


@dataclass
class ShownFigure:
    """A table or a picture; a picture that cannot be shown is neither."""

    label: str  # "图 3 · 磁盘告警 · 第 2 页 · 巡检手册"
    table: Table | None = None
    picture: Picture | None = None
    above: bool = False  # the table stands in the text already


@dataclass
class Source:
    n: int
    label: str  # "[1] 巡检手册 · 第 2 页 · 磁盘"
    quote: list[Block]  # the words cited
    original: str = ""  # the finished file and its size, when it is handed out
    url: str = ""  # where it is, when that is known


@dataclass
class Answer:
    """Everything an export prints, read once from the database and the files."""

    title: str
    question: str
    text: str  # Markdown with citation marks
    at: datetime  # in the current time zone
    note: str = ""  # what the answer was made without
    figures: list[ShownFigure] = field(default_factory=list)  # in reading order
    sources: list[Source] = field(default_factory=list)
    language: str = "zh-hans"
    headed: bool = True  # "Answer" stands over the text
    body: list[Block] = field(init=False)  # `text` with each table once

    def __post_init__(self) -> None:
        self.body = blocks(self.text, self.cited)
        once(self)

    @classmethod
    def of(cls, message: Message, site: str = "") -> "Answer":
        """`site` is the address of this OpsDesk, where originals are; empty: no links to them."""
        question = question_of(message)
        citations = message.citations.select_related("revision__document__knowledge_base")
        figures = message.figures.select_related("attachment", "citation")  # type: ignore[attr-defined]
        return cls(
            title=" ".join(plain(message.conversation.title or question).split()) or _("Answer"),
            question=plain(question),
            text=message.text,
            at=timezone.localtime(message.created_at),
            note=degrading.sentence(message.data.get("degraded", [])),
            figures=[_shown(figure.attachment, figure.citation) for figure in figures],
            sources=[_source(found, site) for found in citations.defer("revision__parsed")],
            language=message.conversation.language,
        )

    @property
    def cited(self) -> set[int]:
        return {source.n for source in self.sources}

    @property
    def byline(self) -> str:
        return f"{_('OpsDesk')} · {self.at:%Y-%m-%d %H:%M}"

    @property
    def file_name(self) -> str:
        """Of the file, without its suffix."""
        subject = get_valid_filename(f"{self.question[:NAME_LENGTH].strip()} {self.at:%Y-%m-%d}")
        return subject.strip("_.")


def question_of(message: Message) -> str:
    """What the customer said that `message` answers."""
    earlier = message.conversation.messages.filter(
        role=Message.Role.CUSTOMER, seq__lt=message.seq, public=True
    )
    last = earlier.order_by("-seq").first()
    return last.text if last else ""


def page_label(page: int | None) -> str:
    return _("page %(page)s") % {"page": page} if page else ""


def _source(citation: Citation, site: str) -> Source:
    page = "" if CELLS.search(citation.locator) else page_label(citation.page)
    parts = (citation.title, page, citation.locator)
    label = plain(f"[{citation.n}] " + " · ".join(part for part in parts if part))
    source = Source(citation.n, label, _quote(citation.quote))
    if given := original(citation):
        source.original = f"{plain(given['name'])} ({filesizeformat(given['size'])})"
        source.url = site + given["url"] if site else ""
    return source


def _quote(passage: str) -> list[Block]:
    """The cited words, as far as they show what was cited."""
    shown: list[Block] = []
    length = 0
    for block in blocks(passage):
        if length > QUOTE:
            return [*shown, Block("paragraph", [Span("…")])]
        cells = block.table.cells if block.table else []
        spans = [*block.spans, *(span for cell in cells for span in cell.spans)]
        if block.kind == "heading":  # of the document, not of what is sent
            bold = [replace(span, bold=True) for span in block.spans]
            block = replace(block, kind="paragraph", spans=bold)
        length += len(block.text) + sum(len(span.text) for span in spans)
        shown.append(block)
    return shown


def _shown(attachment: Attachment, citation: Citation) -> ShownFigure:
    number = "" if attachment.caption.startswith(attachment.number) else attachment.number
    parts = (number, attachment.caption, page_label(attachment.page), citation.title)
    label = plain(" · ".join(part for part in parts if part))
    if attachment.kind == Attachment.Kind.TABLE:
        return ShownFigure(label, table=html_table(attachment.html))
    return ShownFigure(label, picture=_picture(attachment))


def _picture(attachment: Attachment) -> Picture | None:
    """The picture as PNG, or None when its file is gone or no longer a picture."""
    try:
        with attachment.file.open("rb") as file, Image.open(file) as image:
            image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
            shown = image.convert("RGB")
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", optimize=True)
    return Picture(buffer.getvalue(), shown.width, shown.height)
