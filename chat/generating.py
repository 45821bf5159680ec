"""Answers by a model, from the passages only: every sentence is checked before it is shown."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils.translation import gettext as _

from chat import dangers, grounding, statements
from chat.evidence import visible
from chat.llms import BARE, TEXT, Messages, Usage
from chat.prompting import digest, prompt
from chat.state import TurnState
from chat.statements import Sentence
from knowledge.retrieval import Passage
from opsdesk.errors import ModelError

KEPT = 0.5  # of what the model wrote; with less left an answer is not trusted
RESERVE = 5.0  # seconds kept for an extractive answer when the model takes too long
SCHEMA = {
    "type": "object",
    "properties": {
        "answerable": {"type": "boolean"},
        "sentences": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "cites": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["text", "cites"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["answerable", "sentences"],
    "additionalProperties": False,
}
PROMPTS = ("answer.system", "answer.user")
MARKED = ("answer.marked", "answer.user")  # of a server that takes no request for JSON
_LINE = re.compile(
    r"\s*(?:[-*+•]\s|\d{1,3}[.)、]|[（(]\d{1,2}[)）]|#{1,6}\s|>)"
)  # has one of its own
_BLOCK = re.compile(r"\s*(?:```|\|)")


@dataclass
class Generated:
    """What a model's answer came to. `refused`: it found no answer in the passages."""

    kept: list[Sentence] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)  # {"sentence", "missing"}
    refused: bool = False
    length: int = 0  # characters the model wrote
    destroys: bool = False  # it showed a command that destroys and stands in no passage

    @property
    def text(self) -> str:
        return "".join(sentence.text for sentence in self.kept).strip()

    @property
    def trusted(self) -> bool:
        enough = len(self.text) >= KEPT * self.length
        return bool(self.text) and enough and not self.destroys

    def drop(self, places: set[int]) -> None:
        """Take out kept sentences by their places: no passage says so."""
        self.dropped += [{"sentence": self.kept[i].text, "missing": ["?"]} for i in sorted(places)]
        self.kept = [one for i, one in enumerate(self.kept) if i not in places]


class Speaker:
    """Tells who watches the sentences of an answer, each marked with its sources.

    They are counted 1, 2, 3 … as they come: `text` is what is said in the end.
    """

    def __init__(self, turn: TurnState, passages: list[Passage]) -> None:
        self.turn, self.passages = turn, passages
        self.text = ""
        self.order: list[int] = []  # numbers of the passages cited
        self._last = ""

    @property
    def sources(self) -> list[Passage]:
        return [self.passages[n - 1] for n in self.order]

    def say(self, sentence: Sentence) -> None:
        new = [n for n in sentence.cites if n not in self.order]
        if new:
            self.order += new
            self.turn.emit("citations", citations=self.sources)
        numbers = [self.order.index(n) + 1 for n in sentence.cites]
        said = self._gap(sentence) + marked(replace(sentence, cites=tuple(numbers)))
        warning = dangers.warning(sentence.text, after=self.text)
        self.turn.emit("delta", text=f"\n\n{warning}\n\n{said}" if warning else said)
        self.text += said
        self._last = sentence.text

    def _gap(self, sentence: Sentence) -> str:
        """What parts a sentence from those before it, where one between them was left out too."""
        if not self.text or self.text.endswith("\n\n"):
            return ""
        line = _LINE.match(sentence.text)
        if _BLOCK.match(sentence.text) or _BLOCK.match(self._last):
            return "\n\n"
        if line:
            return "\n" if _LINE.match(self._last) else "\n\n"
        if sentence.begins and _LINE.match(self._last):
            return "\n\n"
        close = not self.text[-1].isspace() and not sentence.text[:1].isspace()
        latin = sentence.begins and self._last[-1:].isascii() and sentence.text[:1].isascii()
        return " " if close and (latin or sentence.text[:1] in "([:") else ""


def generate(
    model: Any, turn: TurnState, passages: list[Passage], say: Callable[[Sentence], None]
) -> Generated:
    """Ask `model`; `say` is told what passes the check at once. Raises ModelError."""
    made = Generated()
    pieces = model.stream(
        messages(turn.query, passages),
        schema=SCHEMA,
        name="answer",
        otherwise=messages(turn.query, passages, MARKED),
        deadline=turn.deadline - RESERVE,
        cancelled=turn.cancelled,
        report=noting(turn, *PROMPTS, otherwise=MARKED),
    )
    try:
        for sentence in statements.read(pieces):
            if time.monotonic() > turn.deadline - RESERVE:
                raise ModelError(_("The model took too long."), permanent=False)
            made.length += len(sentence.text)
            long = len(sentence.text) > statements.LONGEST
            checked = ["?"] if long else check(sentence, passages, turn.query)
            _sort(made, sentence, checked, say)
    except statements.NoAnswer:
        made.refused = True
    finally:
        pieces.close()
    return made


def noting(
    turn: TurnState, *prompts: str, otherwise: tuple[str, ...] = ()
) -> Callable[[Usage], None]:
    """Notes requests on the turn: made of `prompts`, or `otherwise` where none was for JSON."""

    def note(usage: Usage) -> None:
        names = otherwise if otherwise and usage.way in (TEXT, BARE) else prompts
        tokens = usage.tokens_in, usage.tokens_out
        turn.used(names[0], digest(*names), usage.model, *tokens, usage.ms, usage.way)

    return note


def _sort(
    made: Generated,
    sentence: Sentence,
    checked: Sentence | list[str],
    say: Callable[[Sentence], None],
) -> None:
    if isinstance(checked, Sentence):
        made.kept.append(checked)
        say(checked)
    elif checked:
        made.dropped.append({"sentence": sentence.text, "missing": checked})
        made.destroys = made.destroys or bool(dangers.found(sentence.text))


def check(sentence: Sentence, passages: list[Passage], question: str) -> Sentence | list[str]:
    """The sentence with the passages it stands in, or what stands in none of them.

    Of a sentence that says nothing, nothing is missing.
    """
    said = replace(sentence, text=visible(sentence.text))
    if not re.search(r"\w", said.text):
        return []
    texts = {n: _full(passage) for n, passage in enumerate(passages, 1)}
    cited = [n for n in dict.fromkeys(said.cites) if n in texts]
    if not cited:  # forgotten, or of a passage that is not there: whichever it stands in
        cited = [n for n in texts if _stands(said.text, texts[n], question)][:1]
    about = [n for n in cited if grounding.supported(said.text, texts[n])]
    missing = grounding.ungrounded(said.text, [texts[n] for n in about], question)
    if not about or missing:
        return missing or ["?"]
    return replace(said, cites=tuple(about))


def _stands(sentence: str, passage: str, question: str) -> bool:
    grounded = not grounding.ungrounded(sentence, [passage], question)
    return grounded and grounding.supported(sentence, passage)


def _full(passage: Passage) -> str:
    return "\n".join([passage.title, *passage.heading_path, passage.question, passage.text])


def marked(sentence: Sentence) -> str:
    """Markdown with the marks of what it cites, before the space that closes it."""
    body = sentence.text.rstrip()
    mark = "".join(f"[{n}]" for n in sentence.cites)
    gap = "\n\n" if _BLOCK.match(sentence.text) else ""
    return f"{body}{gap}{mark}{sentence.text[len(body) :]}"


def messages(
    question: str, passages: list[Passage], prompts: tuple[str, str] = PROMPTS
) -> Messages:
    """The prompts. What a passage says is data: its text cannot close its element."""
    system = prompt(prompts[0]).template
    user = prompt(prompts[1]).substitute(passages=numbered(passages), question=data(question))
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
