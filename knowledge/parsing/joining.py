"""How pieces of a page become one: lines of text, edges of a box, variants of a character."""

import re
import unicodedata

from knowledge.parsing.document import Box

_WIDE = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f]")


def join_lines(first: str, second: str) -> str:
    """Chinese lines join without a space, words of other scripts with one."""
    if not first or not second:
        return first or second
    touching = _WIDE.match(first[-1]) or _WIDE.match(second[0])
    return f"{first}{second}" if touching else f"{first} {second}"


def share_box(left: float, top: float, right: float, bottom: float) -> Box:
    """Shares of the page, kept within it."""

    def within(share: float) -> float:
        return round(min(max(share, 0.0), 1.0), 4)

    return within(left), within(top), within(right), within(bottom)


# PDF fonts often name a radical where its character is meant. NFKC knows those of Kangxi,
# but not those of the supplement.
_SUPPLEMENT = dict(
    zip(
        map(ord, "⺟⺠⻁⻄⻅⻆⻉⻋⻓⻔⻘⻙⻚⻛⻜⻝⻢⻣⻤⻥⻦⻨⻩⻬⻮⻰⻳"),
        "母民虎西见角贝车长门青韦页风飞食马骨鬼鱼鸟麦黄齐齿龙龟",
        strict=True,
    )
)
_VARIANTS = _SUPPLEMENT | {
    code: unicodedata.normalize("NFKC", chr(code))
    for code in (*range(0x2F00, 0x2FD6), *range(0xF900, 0xFADA), *range(0xFB00, 0xFB07))
}


def unify(text: str) -> str:
    """One code for one character: radicals, compatibility ideographs and ligatures resolved."""
    return text.translate(_VARIANTS)
