"""Markdown → blocks, in process and fast: only block structure is parsed, text stays as written."""

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from knowledge.parsing import tables
from knowledge.parsing.document import Asset, Block, ParsedDocument

_FRONT = re.compile(r"\A\ufeff?(---|\+\+\+)[ \t]*\n(.*?)\n\1[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title\s*[:=]\s*(.+?)\s*$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_SHORTCODE = re.compile(r"\{\{[<%].*?[%>]\}\}")
_IMAGE = re.compile(r"!\[([^\]]*)\]\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)(?:\{[^}\n]*\})?")
_LOCAL_LINK = re.compile(
    r"(?<!!)\[([^\]\[]+)\]\((?!https?://|mailto:)[^()\s]*(?:\([^()]*\)[^()\s]*)*\)"
)
_ANCHOR = re.compile(r"\s*\{#[^}]*\}\s*$")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
# Tags of HTML, and components with a capital letter: what else stands in angle brackets
# ("<namespace>") is for the reader to fill in.
_TAG = re.compile(
    r"</?(?:[A-Z][A-Za-z0-9.]*|a|abbr|b|center|cite|code|dd|del|details|div|dl|dt|em|figcaption"
    r"|figure|font|h[1-6]|hr|i|img|ins|kbd|li|mark|ol|p|picture|pre|s|section|small|source|span"
    r"|strong|sub|summary|sup|table|tbody|td|tfoot|th|thead|tr|u|ul|video|iframe)"
    r"(?:\s+[\w:@.-]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|\{[^}]*\}|[^\s\"'>]+))?)*\s*/?>"
)
_ALT = re.compile(r"<img\b[^>]*\balt\s*=\s*[\"']([^\"']*)[\"'][^>]*>", re.IGNORECASE)
_ADMONITION = re.compile(r"^(\s*)(?:!!!|\?\?\?\+?|===)[ \t]+(?:[\w-]+)?[ \t]*(?:\"(.*)\")?[ \t]*$")
_CONTAINER = re.compile(r"^\s*:::+[ \t]*(?:\{?[\w-]*\}?)?[ \t]*(.*?)[ \t]*$")
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_LITERAL = re.compile(
    r"(^[ \t]*(?:```|~~~).*?^[ \t]*(?:```|~~~)[ \t]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL
)
_QUOTE = re.compile(r"^ {0,3}> ?", re.MULTILINE)
DEEPEST = 8


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    # Inline syntax stays in the text: only its source is wanted, and this halves the time.
    return parser.disable(["inline", "text_join"], ignoreInvalid=True)


_MARKDOWN = _parser()


def parse(text: str) -> ParsedDocument:
    """The document; its title from the front matter, else its first heading of level 1."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")
    parsed = ParsedDocument(parser="markdown")
    front = _FRONT.match(text)
    if front:
        text = text[front.end() :]
        title = _TITLE.search(front[2])
        parsed.title = title[1].strip("\"'") if title else ""
    _read(_unwrap(text), parsed)
    tables.show(parsed)
    if not parsed.title:
        first = next((b for b in parsed.blocks if b.kind == "heading" and b.level == 1), None)
        parsed.title = first.text if first else ""
    return parsed


def _unwrap(text: str) -> str:
    """Boxes of MkDocs (`!!! note "Title"`) and VuePress (`::: tip`) opened: their text counts."""
    if "!!!" not in text and "???" not in text and "===" not in text and ":::" not in text:
        return text
    lines: list[str] = []
    depths: list[int] = []  # of the boxes that are open
    fence = ""
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        while depths and line.strip() and indent <= depths[-1] and not fence:
            depths.pop()
        mark = _FENCE.match(line)
        if mark:
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        box = None if fence else _ADMONITION.match(line)
        if box:
            lines += ["", _shift(box[1] + f"**{box[2]}**" if box[2] else "", depths), ""]
            depths.append(indent)
        elif not fence and (container := _CONTAINER.match(line)):
            lines += ["", f"**{container[1]}**" if container[1] else "", ""]
        else:
            lines.append(_shift(line, depths))
    return "\n".join(lines)


def _shift(line: str, depths: list[int]) -> str:
    """The line without the indentation of the boxes around it."""
    for _ in depths:
        line = line.removeprefix("    ")
    return line


def _read(text: str, parsed: ParsedDocument, depth: int = 0) -> None:
    lines = text.split("\n")
    tokens = _MARKDOWN.parse(text)
    for first, last in _top_level(tokens):
        _READERS.get(tokens[first].type, _ignore)(tokens[first : last + 1], lines, parsed, depth)


def _top_level(tokens: list[Token]) -> Iterator[tuple[int, int]]:
    """Index ranges of the outermost blocks."""
    start = 0
    for index, token in enumerate(tokens):
        if token.level == 0 and token.nesting >= 0:
            start = index
        if token.level == 0 and token.nesting <= 0:
            yield start, index


def _source(tokens: list[Token], lines: list[str]) -> str:
    first, last = tokens[0].map or (0, 0)
    return "\n".join(lines[first:last])


def _ignore(tokens: list[Token], lines: list[str], parsed: ParsedDocument, depth: int) -> None:
    """A rule or a link definition says nothing."""


def _heading(tokens: list[Token], lines: list[str], parsed: ParsedDocument, depth: int) -> None:
    text = clean(_ANCHOR.sub("", tokens[1].content))
    if text:
        parsed.blocks.append(Block("heading", text, level=int(tokens[0].tag[1])))


def _paragraph(tokens: list[Token], lines: list[str], parsed: ParsedDocument, depth: int) -> None:
    source = tokens[1].content.strip()
    if source.startswith("$$") and source.endswith("$$") and len(source) > 4:
        parsed.blocks.append(Block("formula", source[2:-2].strip()))
        return
    text = clean(source)
    if text:
        parsed.blocks.append(Block("paragraph", text))


def _code(tokens: list[Token], lines: list[str], parsed: ParsedDocument, depth: int) -> None:
    words = tokens[0].info.split()
    text = tokens[0].content.removesuffix("\n")
    if text.strip():
        parsed.blocks.append(Block("code", text, language=words[0] if words else ""))


def _list(tokens: list[Token], lines: list[str], parsed: ParsedDocument, depth: int) -> None:
    text = clean(_source(tokens, lines).rstrip())
    if text:
        parsed.blocks.append(Block("list", text))


def _quote(tokens: list[Token], lines: list[str], parsed: ParsedDocument, depth: int) -> None:
    inner = _QUOTE.sub("", _source(tokens, lines))
    if depth < DEEPEST:
        _read(re.sub(r"\A\[!(\w+)\]", r"**\1**", inner), parsed, depth + 1)
    else:
        parsed.blocks.append(Block("paragraph", inner))


def _table(tokens: list[Token], lines: list[str], parsed: ParsedDocument, depth: int) -> None:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(clean(token.content))
    parsed.blocks.append(Block("table", rows=rows, header_rows=1))


def _html(tokens: list[Token], lines: list[str], parsed: ParsedDocument, depth: int) -> None:
    source = _COMMENT.sub("", tokens[0].content)
    if "<table" in source.lower():
        table = tables.read(source)
        if table.cells:
            block = Block("table", rows=table.rows, header_rows=table.header_rows)
            block.asset = len(parsed.assets)
            parsed.assets.append(Asset("table", html=table.html))
            parsed.blocks.append(block)
            return
    text = clean(source)
    if text and depth < DEEPEST:
        _read(text, parsed, depth + 1)


def clean(text: str) -> str:
    """Markdown without what readers never see: comments, tags, shortcodes, picture addresses.

    Code in backquotes and fences stays as it is.
    """
    if not any(mark in text for mark in ("<", "![", "](", "{{")):
        return text.strip()
    pieces = _LITERAL.split(text)
    pieces[::2] = [_clean(piece) for piece in pieces[::2]]
    return "".join(pieces).strip()


def _clean(text: str) -> str:
    text = _SHORTCODE.sub("", _COMMENT.sub("", text))
    text = _IMAGE.sub(r"\1", text)
    text = _LOCAL_LINK.sub(r"\1", text)
    if "<" in text:
        text = _TAG.sub("", _ALT.sub(r"\1", _BREAK.sub("\n", text)))
    return text


_READERS = {
    "heading_open": _heading,
    "paragraph_open": _paragraph,
    "fence": _code,
    "code_block": _code,
    "bullet_list_open": _list,
    "ordered_list_open": _list,
    "blockquote_open": _quote,
    "table_open": _table,
    "html_block": _html,
}
