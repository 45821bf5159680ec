"""Answers by a model, from the passages only: every sentence is checked before it is shown."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from chat import grounding
from chat.llms import Messages
from chat.prompting import prompt
from chat.state import TurnState
from knowledge.retrieval import Passage
from knowledge.sentences import sentences

NO_ANSWER = "NO_ANSWER"
KEPT = 0.5  # of what the model wrote; with less left an answer is not trusted
RESERVE = 5.0  # seconds kept for an extractive answer when the model takes too long
_FENCE = re.compile(r"^\s*```", re.MULTILINE)
_BLOCK = re.compile(r"(^[ \t]*```.*?^[ \t]*```[ \t]*$)", re.MULTILINE | re.DOTALL)
_TRAILING_MARKS = re.compile(r"\s*(?:\[\d{1,3}\]\s*)+")


@dataclass
class Generated:
    """What a model's answer came to. `refused`: it found no answer in the passages."""

    kept: list[str] = field(default_factory=list)  # with marks, joined they are the answer
    dropped: list[dict[str, Any]] = field(default_factory=list)  # {"sentence", "missing"}
    refused: bool = False
    length: int = 0  # characters the model wrote

    @property
    def text(self) -> str:
        return "".join(self.kept).strip()

    @property
    def trusted(self) -> bool:
        return bool(self.text) and len(self.text) >= KEPT * self.length

    def drop(self, places: set[int]) -> None:
        """Take out kept sentences by their places: no passage says so."""
        self.dropped += [{"sentence": self.kept[i], "missing": ["?"]} for i in sorted(places)]
        self.kept = [one for i, one in enumerate(self.kept) if i not in places]


def generate(model: Any, turn: TurnState, passages: list[Passage]) -> Generated:
    """Ask `model`; what passes the check is emitted at once. Raises ModelError."""
    made = Generated()
    pieces = model.stream(
        messages(turn.query, passages), deadline=turn.deadline - RESERVE, cancelled=turn.cancelled
    )
    for sentence in whole_sentences(pieces):
        made.length += len(sentence)
        if not made.kept and sentence.strip().startswith(NO_ANSWER):
            made.refused = True
            break
        checked = check(sentence, passages, turn.query)
        if checked and isinstance(checked, str):
            made.kept.append(checked)
            turn.emit("delta", text=checked)
        elif checked:
            made.dropped.append({"sentence": sentence, "missing": checked})
    pieces.close()
    return made


def check(sentence: str, passages: list[Passage], question: str) -> str | list[str]:
    """The sentence with the marks of the passages it stands in, or what stands in none of them.

    "" when it says nothing.
    """
    if not re.search(r"\w", grounding.without_marks(sentence)):
        return ""
    texts = {n: _full(passage) for n, passage in enumerate(passages, 1)}
    cited = [n for n in grounding.marks(sentence) if n in texts]
    if not cited:  # forgotten, or of a passage that is not there: whichever it stands in
        cited = [n for n in texts if _stands(sentence, texts[n], question)][:1]
    about = [n for n in cited if grounding.supported(sentence, texts[n])]
    missing = grounding.ungrounded(sentence, [texts[n] for n in about], question)
    if not about or missing:
        return missing or ["?"]
    return _remarked(sentence, about)


def _stands(sentence: str, passage: str, question: str) -> bool:
    grounded = not grounding.ungrounded(sentence, [passage], question)
    return grounded and grounding.supported(sentence, passage)


def _full(passage: Passage) -> str:
    return "\n".join([passage.title, *passage.heading_path, passage.question, passage.text])


def _remarked(sentence: str, cited: list[int]) -> str:
    bare = grounding.without_marks(sentence)
    body = bare.rstrip()
    mark = "".join(f"[{n}]" for n in cited)
    gap = "\n\n" if body.endswith("```") else ""
    return f"{body}{gap}{mark}{bare[len(body) :]}"


def whole_sentences(pieces: Iterable[str]) -> Iterator[str]:
    """Sentences as soon as they are complete, each with the marks behind it; code blocks whole."""
    waiting = ""
    for piece in pieces:
        waiting += piece
        ready, waiting = _complete(waiting)
        yield from ready
    yield from _together(waiting)


def _complete(text: str) -> tuple[list[str], str]:
    """The sentences that nothing can be added to, and the rest: the last two may get marks."""
    if len(_FENCE.findall(text)) % 2:
        start = text.rindex("```")
        head = _together(text[:start])
        return head[:-1], "".join(head[-1:]) + text[start:]
    parts = _together(text)
    return parts[:-2], "".join(parts[-2:])


def _together(text: str) -> list[str]:
    """Sentences with their marks. A code block is one."""
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


def messages(question: str, passages: list[Passage]) -> Messages:
    """The prompt. What a passage says is data: its text cannot close its element."""
    user = prompt("answer.user").substitute(passages=numbered(passages), question=data(question))
    system = prompt("answer.system").template
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def numbered(passages: list[Passage]) -> str:
    """The passages as the prompts show them."""
    return "\n".join(_passage(n, passage) for n, passage in enumerate(passages, 1))


def _passage(n: int, passage: Passage) -> str:
    where = " › ".join([passage.title, *passage.heading_path])
    body = f"问：{passage.question}\n答：{passage.text}" if passage.question else passage.text
    return f'<段落 编号="{n}" 出处="{data(where)}">\n{data(body)}\n</段落>'


def data(text: str) -> str:
    """`text` as a prompt may hold it: it closes none of its elements."""
    return re.sub(r"</?\s*(?=段落|资料|问题)", "‹", text)
