"""Whether the text layer of a page says what is seen on it.

Fonts whose table of characters is missing or wrong give signs that nobody wrote; bold print
made of two layers gives each character twice.
"""

import re
import unicodedata
from collections import Counter
from itertools import pairwise

from knowledge.parsing.document import Asset, Block
from knowledge.parsing.parts import words

FEWEST = 20  # characters of a page on which to judge
STRANGE = 0.05  # share of characters that no text has
RARE = 0.15  # of the Chinese characters
ACCENTED = 0.3  # of all letters: bytes of one encoding taken for another
COMMON = 0.02  # of Chinese text are these at least
MANY = 150  # letters or characters, for what only holds of a long text
VOWELS = 0.2  # of the Latin letters
AGREES = 0.4  # of the recognised pairs of characters are in the text layer
DOUBLED = 0.9  # of a block's characters stand in pairs
LEAST_DOUBLED = 20  # characters of a page in such blocks; fewer may be meant

_COMMON = set(
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工"
)
_CHARSETS = ("gb2312", "big5", "shift_jis", "euc_kr")
# Marks of PDFium for a hyphen at a line's end, and spaces.
_HARMLESS = re.compile(r"[\s\u0002\ufffe\u00ad]+")
# Scripts that a wrong table of characters hits upon, and hardly anyone writes.
_EXOTIC = re.compile(r"[\u0700-\u08ff\u1200-\u1cff\u2c00-\u2dff\ua000-\uabff\ufff0-\uffff]")
_BETWEEN_TAGS = re.compile(r"(?<=>)[^<]+")
_PAIR = re.compile(r"(\S)\1")


def suspicious(layer: str) -> bool:
    """Whether the text should be compared with what is recognised on the page."""
    text = _HARMLESS.sub("", layer)
    if len(text) < FEWEST:
        return False
    strange = sum(map(_strange, text)) + len(_EXOTIC.findall(text))
    return strange > STRANGE * len(text) or _wrong_letters(text) or _wrong_characters(text)


def _strange(character: str) -> bool:
    return unicodedata.category(character) in ("Co", "Cn", "Cc", "Cs") or character == "\ufffd"


def _wrong_letters(text: str) -> bool:
    letters = [one for one in text if one.isalpha() and ord(one) < 0x250]
    accented = sum(0xA0 <= ord(one) < 0x100 for one in letters)
    if len(letters) >= FEWEST and accented > ACCENTED * len(letters):
        return True
    vowels = sum(one in "aeiouyAEIOUY" for one in letters)
    mostly = len(letters) > 0.5 * len(text)
    return mostly and len(letters) >= MANY and vowels < VOWELS * len(letters)


def _wrong_characters(text: str) -> bool:
    characters = [one for one in text if "\u3400" <= one <= "\u9fff"]
    if len(characters) < FEWEST:
        return False
    if min(_uncharted(characters, charset) for charset in _CHARSETS) > RARE:
        return True
    common = sum(one in _COMMON for one in characters)
    japanese = any("\u3040" <= one <= "\u30ff" for one in text)
    return len(characters) >= MANY and common < COMMON * len(characters) and not japanese


def _uncharted(characters: list[str], charset: str) -> float:
    """The share that is not in a national character set, which holds what is in everyday use."""
    return sum(not one.encode(charset, "ignore") for one in characters) / len(characters)


def agrees(layer: str, recognised: str) -> bool:
    """Whether the text layer holds what was recognised; yes also when nothing was."""
    seen, said = _pairs(recognised), _pairs(layer)
    return seen.total() < FEWEST // 2 or (seen & said).total() >= AGREES * seen.total()


def _pairs(text: str) -> Counter[tuple[str, str]]:
    plain = unicodedata.normalize("NFKC", _HARMLESS.sub("", text)).lower()
    return Counter(pairwise(plain))


def undouble(blocks: list[Block], assets: list[Asset]) -> None:
    """Mend the blocks of one page in which each character stands twice."""
    doubled = [block for block in blocks if _doubled(words(block))]
    if sum(len(words(block)) for block in doubled) < LEAST_DOUBLED:
        return
    for block in doubled:
        block.text = _PAIR.sub(r"\1", block.text)
        block.rows = [[_PAIR.sub(r"\1", cell) for cell in row] for row in block.rows]
        if block.asset is not None:
            asset = assets[block.asset]
            asset.html = _BETWEEN_TAGS.sub(lambda text: _PAIR.sub(r"\1", text[0]), asset.html)


def _doubled(text: str) -> bool:
    packed = _HARMLESS.sub("", text)
    pairs = _PAIR.findall(packed)
    return len(set(pairs)) >= 3 and 2 * len(pairs) >= DOUBLED * len(packed)
