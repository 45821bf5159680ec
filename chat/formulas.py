r"""Formulas in Markdown: $…$, $$…$$, \(…\) and \[…\], kept as TeX for the page to draw.

Operations text is full of dollars that are none: prices, variables of a shell. A formula is
what is written tightly between its signs and holds something that only formulas do.
"""

import re
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml

_INLINE = re.compile(
    r"\$\$(?P<dollars>.+?)\$\$|\\\[(?P<brackets>.+?)\\\]|\\\((?P<parens>.+?)\\\)"
    r"|\$(?P<dollar>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?![A-Za-z0-9_$({])",
    re.DOTALL,
)
_TEX = re.compile(r"\\[A-Za-z]+|[\^=<>≤≥≈±×÷]|[^\W\d_]_[\w{]|^[^\W\d_]$")
_CLOSING = {"$$": "$$", r"\[": r"\]"}


def formulas(renderer: MarkdownIt) -> None:
    """A plugin: inline formulas become `<span class="math">`, those on their own `<div …>`."""
    renderer.inline.ruler.before("escape", "formula", _inline)
    alternatives: Any = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    renderer.block.ruler.before("fence", "formula_block", _block, alternatives)
    renderer.add_render_rule("formula", _rendered("span"))
    renderer.add_render_rule("formula_display", _rendered("div"))


def _inline(state: Any, silent: bool) -> bool:
    found = _INLINE.match(state.src, state.pos)
    if not found:
        return False
    tex = found[str(found.lastgroup)]
    within_word = found["dollar"] and re.match(
        r"[A-Za-z0-9_]", state.src[state.pos - 1 : state.pos]
    )
    if within_word or not _TEX.search(tex):
        return False
    if not silent:
        display = found["dollars"] or found["brackets"]
        # A paragraph holds no block: the page draws it on a line of its own.
        token = state.push("formula", "span", 0)
        token.content, token.info = tex.strip(), "display" if display else ""
    state.pos = found.end()
    return True


def _block(state: Any, start: int, end: int, silent: bool) -> bool:
    def line(number: int) -> str:
        return str(state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]])

    opening = line(start)[:2]
    closing = _CLOSING.get(opening)
    if closing is None or state.is_code_block(start):
        return False
    last = start
    while not (line(last)[2:] if last == start else line(last)).rstrip().endswith(closing):
        last += 1
        if last >= end or not line(last).strip():
            return False
    tex = state.getLines(start, last + 1, state.blkIndent, False).strip()[2:-2].strip()
    if not _TEX.search(tex) or closing in tex:
        return False
    if not silent:
        state.line = last + 1
        token = state.push("formula_display", "div", 0)
        token.content, token.map, token.info = tex, [start, last + 1], "display"
    return True


def _rendered(tag: str) -> Any:
    def render(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        token = tokens[index]
        name = "math display" if token.info else "math"
        return f'<{tag} class="{name}">{escapeHtml(token.content)}</{tag}>'

    return render
