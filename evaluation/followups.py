"""How well follow-ups are completed, against what people made of them."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chat import followups

Complete = Callable[[str, Sequence[str]], str]
WAYS: dict[str, Complete] = {
    "left as it is": lambda question, earlier: question,
    "first message and question": lambda question, earlier: f"{earlier[0]} {question}",
    "all messages and question": lambda question, earlier: " ".join([*earlier, question]),
    "completed": followups.complete,
}


@dataclass(frozen=True)
class Dialogue:
    earlier: list[str]  # messages, oldest first
    question: str
    complete: str  # the question as a person completed it


def read(file: Path) -> list[Dialogue]:
    """JSON Lines with `history`, `follow_up`, `complete_question`. Raises OSError, ValueError,
    KeyError."""
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return [Dialogue(row["history"], row["follow_up"], row["complete_question"]) for row in rows]


def measure(way: Complete, dialogues: Sequence[Dialogue]) -> dict[str, float]:
    """Shares 0–1: `same` as a person's; of the letters put in `right` ones, and of those a person
    put in `found` ones; `F1` over all letters, the mean of the dialogues."""
    same = put_in = wanted = right = f1 = 0.0
    for one in dialogues:
        made = way(one.question, one.earlier)
        ours, theirs = _letters(made), _letters(one.complete)
        added, missing = ours - _letters(one.question), theirs - _letters(one.question)
        same += made == one.complete
        put_in, wanted = put_in + added.total(), wanted + missing.total()
        right += (added & missing).total()
        f1 += 2 * (ours & theirs).total() / max(1, ours.total() + theirs.total())
    return {
        "same": same / len(dialogues),
        "right": right / put_in if put_in else 1.0,
        "found": right / wanted if wanted else 1.0,
        "F1": f1 / len(dialogues),
    }


def _letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalnum, text))
