"""Plain text: paragraphs by blank lines, modest headings; logs, JSON and programs as written."""

import json
import re
from pathlib import PurePath

from knowledge.parsing import markdown
from knowledge.parsing.document import Block, ParsedDocument

_HEADING = re.compile(
    r"第[一二三四五六七八九十百零〇\d]{1,6}[章节篇部]\s*\S.{0,40}"
    r"|(?P<number>\d{1,2}(?:\.\d{1,2}){0,3})[.、]?\s+[^\s\d].{0,50}"
    r"|(?P<chinese>[一二三四五六七八九十]{1,3})、\S.{0,40}"
)
_MARKDOWN = re.compile(r"^#{2,6} \S", re.MULTILINE)
_ENDS_SENTENCE = tuple("。！？；，,;:：.!?、")
_LIST = re.compile(r"\s*(?:[-*+•·]|\d{1,3}[.)、）]|[(（]\d{1,3}[)）])\s*\S")
_LOG = re.compile(
    r"\s*(?:\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
    r"|\d{1,3}(?:\.\d{1,3}){3} \S+ \S+ \[)"
)
_CODE_SUFFIXES = {
    ".c", ".cfg", ".conf", ".cpp", ".cs", ".go", ".h", ".ini", ".java", ".js", ".json", ".log",
    ".php", ".properties", ".ps1", ".py", ".rb", ".rs", ".sh", ".sql", ".toml", ".ts", ".xml",
    ".yaml", ".yml",
}  # fmt: skip


def parse(text: str, name: str) -> ParsedDocument:
    """Blocks of the text. A suffix such as .conf or .sql says that it is all code."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    suffix = PurePath(name).suffix.lower()
    parsed = ParsedDocument(parser="text")
    if suffix in _CODE_SUFFIXES or _is_json(text):
        language = "json" if suffix == ".json" or _is_json(text) else suffix[1:]
        language = "" if language == "log" else language
        parsed.blocks = [Block("code", part, language=language) for part in _parts(text)]
        return parsed
    if len(_MARKDOWN.findall(text)) > 1:  # Markdown saved under another name
        return markdown.parse(text)
    for paragraph in re.split(r"\n[ \t\u3000]*(?:\n[ \t\u3000]*)+", text):
        parsed.blocks += _blocks(paragraph.strip("\n"))
    return parsed


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _parts(text: str) -> list[str]:
    """A long program or log in pieces of whole stanzas, about a screen each."""
    parts: list[str] = []
    for stanza in re.split(r"\n\s*\n", text):
        if not stanza.strip():
            continue
        if parts and len(parts[-1]) + len(stanza) < 1500:
            parts[-1] += f"\n\n{stanza}"
        else:
            parts.append(stanza.strip("\n"))
    return parts


def _blocks(paragraph: str) -> list[Block]:
    lines = paragraph.split("\n")
    if not paragraph.strip():
        return []
    if sum(bool(_LOG.match(line)) for line in lines) * 2 > len(lines):
        return [Block("code", paragraph)]
    if len(lines) > 1 and all(_LIST.match(line) for line in lines):
        return [Block("list", paragraph.strip())]
    blocks: list[Block] = []
    if level := _level(lines[0]):
        blocks.append(Block("heading", lines[0].strip(), level=level))
        lines = lines[1:]
    rest = "\n".join(line.rstrip() for line in lines).strip()
    if rest:
        blocks.append(Block("paragraph", rest))
    return blocks


def _level(line: str) -> int:
    """The level of a heading, 0 when the line is none."""
    line = line.strip()
    match = _HEADING.fullmatch(line)
    if not match or line.endswith(_ENDS_SENTENCE):
        return 0
    if match["number"]:
        return match["number"].count(".") + 1
    return 2 if "节" in line[:8] else 1
