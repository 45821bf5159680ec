"""A model's words as sentences with what they cite, each as soon as it is whole.

Two ways to write them: JSON, {"answerable": …, "sentences": [{"text", "cites"}]}, and, of
servers that know no JSON, text with marks: 先执行 `df -h`。[1]
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.utils.translation import gettext as _

from chat import grounding
from chat.llms import CutError
from knowledge.sentences import sentences
from opsdesk.errors import ModelError

NO_ANSWER = "NO_ANSWER"
LONGEST = 2000  # characters of a sentence, or a block, that says anything
REFUSAL = 40  # characters of what `_REFUSED` finds
_FENCE = re.compile(r"^\s*```", re.MULTILINE)
_ROW = r"^[ \t]*\|[^\n]*\|[ \t]*$"
# What is not cut: code and tables.
_BLOCK = re.compile(
    rf"(^[ \t]*```.*?^[ \t]*```[ \t]*$|(?:{_ROW}\n)+{_ROW})", re.MULTILINE | re.DOTALL
)
_OPEN_TABLE = re.compile(r"(?:^[ \t]*\|[^\n]*\n?)+\Z", re.MULTILINE)
_TRAILING_MARKS = re.compile(r"\s*(?:\[\d{1,3}\]\s*)+")
_THOUGHT = "<think>", "</think>"  # what some models think stands before what they say
_JSON = re.compile(r"\s*(?:```(?:json)?\s*)?\{")
_UNDECIDED = re.compile(r"\s*(?:`{1,3}|```(?:j|js|jso|json)?\s*)?")  # JSON may still follow
_REFUSED = re.compile(r'"answerable"\s*:\s*false')
_ARRAY = re.compile(r'"sentences"\s*:\s*\[')
_CLOSING = re.compile(r'[}\]"]')
_ENDING = re.compile(r"[\n.!?;。！？；…]")
_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class Sentence:
    """A sentence, a block of code or a table, without marks."""

    text: str
    cites: tuple[int, ...]  # numbers of passages
    begins: bool = False  # no space the model wrote parts it from what stands before


class NoAnswer(Exception):
    """The model found no answer in the passages."""


def read(pieces: Iterable[str]) -> Iterator[Sentence]:
    """The sentences of a stream; of one that was cut those before the last. Raises NoAnswer, and
    ModelError when JSON is garbage or nothing but thoughts came."""
    pieces = _spoken(iter(pieces))
    head = ""
    for piece in pieces:
        head += piece
        if not _UNDECIDED.fullmatch(head):
            break
    everything = chain([head], pieces)
    yield from _of_json(everything) if _JSON.match(head) else _of_text(everything)


def _spoken(pieces: Iterator[str]) -> Iterator[str]:
    """`pieces` without the thoughts before them."""
    head = ""
    for piece in pieces:
        head += piece
        begun = head.lstrip()
        if not _THOUGHT[0].startswith(begun[: len(_THOUGHT[0])]):
            break
        if _THOUGHT[1] in begun:
            head = begun.split(_THOUGHT[1], 1)[1].lstrip()
            break
    else:
        if head.lstrip().startswith(_THOUGHT[0]):
            raise ModelError(_("The model said nothing."), permanent=False)
    yield from chain([head], pieces)


def _of_json(pieces: Iterable[str]) -> Iterator[Sentence]:
    """Each object of the array as soon as it is closed."""
    decoder = json.JSONDecoder(strict=False)
    text, place = "", -1  # what was read, and where the next object begins
    for piece in _until_cut(pieces):
        if piece is None:
            return
        text += piece
        if _REFUSED.search(text, max(0, len(text) - len(piece) - REFUSAL)):
            raise NoAnswer
        if place >= 0 and not _CLOSING.search(piece):
            continue  # nothing can be whole now that was not before
        if place < 0 and (array := _ARRAY.search(text)):
            place = array.end()
        while place >= 0:
            place = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]
            try:
                said, place = decoder.raw_decode(text, place)
            except (ValueError, RecursionError):
                break  # not whole yet
            yield from _cut(said)
    if place < 0 or not text.startswith("]", place):
        raise ModelError(_("The model's words are not the JSON asked for."), permanent=False)


def _cut(said: Any) -> Iterator[Sentence]:
    """An object of the array, in sentences that are checked one by one."""
    if isinstance(said, str):
        said = {"text": said}
    if not isinstance(said, dict) or not isinstance(said.get("text"), str):
        return
    text, cites = said["text"], said.get("cites")
    numbers = [n for n in cites if isinstance(n, int)] if isinstance(cites, list) else []
    for place, part in enumerate(_together(text)):
        bare = grounding.without_marks(part)
        yield Sentence(bare, tuple(numbers or grounding.marks(part)), begins=place == 0)


def _of_text(pieces: Iterable[str]) -> Iterator[Sentence]:
    for place, sentence in enumerate(whole_sentences(pieces)):
        if place == 0 and sentence.strip().startswith(NO_ANSWER):
            raise NoAnswer
        yield Sentence(grounding.without_marks(sentence), tuple(grounding.marks(sentence)))


def whole_sentences(pieces: Iterable[str]) -> Iterator[str]:
    """Sentences as soon as they are complete, each with the marks behind it; blocks whole."""
    waiting = ""
    for piece in _until_cut(pieces):
        if piece is None:
            yield from _together(waiting)[:-1]
            return
        waiting += piece
        if len(waiting) > LONGEST and not _ENDING.search(piece):
            continue  # looked at anew for each of its pieces it would take minutes
        ready, waiting = _complete(waiting)
        yield from ready
    yield from _together(waiting)


def _until_cut(pieces: Iterable[str]) -> Iterator[str | None]:
    """`pieces`, and None where they were cut off."""
    try:
        yield from pieces
    except CutError:
        yield None


def _complete(text: str) -> tuple[list[str], str]:
    """The sentences that nothing can be added to, and the rest: the last two may get marks."""
    start = text.rindex("```") if len(_FENCE.findall(text)) % 2 else len(text)
    if table := _OPEN_TABLE.search(text):
        start = min(start, table.start())
    if start < len(text):
        head = _together(text[:start])
        return head[:-1], "".join(head[-1:]) + text[start:]
    parts = _together(text)
    return parts[:-2], "".join(parts[-2:])


def _together(text: str) -> list[str]:
    """Sentences with their marks. A block is one."""
    parts: list[str] = []
    for index, block in enumerate(_BLOCK.split(text)):
        if index % 2:
            parts.append(block)
            continue
        for sentence in sentences(block):
            marks = _TRAILING_MARKS.match(sentence)
            if parts and marks:
                parts[-1] += marks[0]
                sentence = sentence[marks.end() :]
            if sentence.strip():
                parts.append(sentence)
            elif parts:
                parts[-1] += sentence
    return parts
