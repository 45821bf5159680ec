"""Sentences of Chinese and English text, without losing a character."""

import re

# What must not be cut: the number of a list item, inline code, a Markdown link or picture,
# an address.
_WHOLE = (
    r"^[ \t]*\d{1,3}\.[ \t]|`[^`\n]{1,300}`|!?\[[^\]\n]{0,300}\]\([^)\n]{0,500}\)"
    r"|https?://[^\s，。；！？、）】」]+"
)
_END = r"[。！？!?…]+|\.(?=\s+[A-Z\u4e00-\u9fff])|(?=\n)"
_CLOSING = r"[”’」』）)】》\"']*"
_SENTENCE = re.compile(
    rf"(?:{_WHOLE}|(?!{_END}).)*?(?:(?:{_END}){_CLOSING}\s*|\Z)", re.DOTALL | re.MULTILINE
)
_CLAUSE = re.compile(r"[^；;，,、：:\s]*[；;，,、：:\s]*")


def sentences(text: str) -> list[str]:
    """The sentences of `text` in order; joined they are `text` again. A line's end ends one too."""
    return [part for part in _SENTENCE.findall(text) if part]


def fit(text: str, limit: int) -> list[str]:
    """`text` in pieces of at most `limit` characters, cut between sentences where that is
    possible, else between clauses, else anywhere; joined they are `text` again."""
    pieces = [text]
    for finer in (sentences, _CLAUSE.findall, list):
        if all(len(piece) <= limit for piece in pieces):
            break
        pieces = [
            part
            for piece in pieces
            for part in ([piece] if len(piece) <= limit else _gather(finer(piece), limit))
        ]
    return pieces


def _gather(parts: list[str], limit: int) -> list[str]:
    gathered: list[str] = []
    for part in parts:
        if gathered and len(gathered[-1]) + len(part) <= limit:
            gathered[-1] += part
        else:
            gathered.append(part)
    return gathered
