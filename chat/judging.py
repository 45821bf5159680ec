"""A second look of a model at an answer: which sentences do not follow from what they cite?

Asked only when OPSDESK_JUDGE says so; the check of facts and words (`chat.grounding`) has
gone before.
"""

import re
from collections.abc import Sequence
from typing import Any

from chat import generating
from chat.llms import Messages
from chat.prompting import prompt
from chat.state import TurnState
from knowledge.retrieval import Passage
from opsdesk.errors import ModelError

_VERDICT = re.compile(r"\s*\d{1,3}(?:\s*[,，、]\s*\d{1,3})*\s*[.。]?\s*")


def unsupported(
    model: Any, turn: TurnState, sentences: Sequence[str], passages: list[Passage]
) -> set[int]:
    """Places (from 0) of the `sentences` that `model` finds unsupported by the passages they cite.

    Raises ModelError, also when it says anything but numbers.
    """
    pieces = model.stream(
        messages(sentences, passages),
        deadline=turn.deadline - generating.RESERVE,
        cancelled=turn.cancelled,
    )
    said = "".join(pieces)
    if not _VERDICT.fullmatch(said):
        raise ModelError(f"No verdict on the answer: {said[:100]!r}", permanent=False)
    places = {int(number) - 1 for number in re.findall(r"\d+", said)}
    return places & set(range(len(sentences)))


def messages(sentences: Sequence[str], passages: list[Passage]) -> Messages:
    numbered = "\n".join(
        f"{n}. {generating.data(one.strip())}" for n, one in enumerate(sentences, 1)
    )
    user = prompt("judge.user").substitute(
        passages=generating.numbered(passages), sentences=numbered
    )
    return [
        {"role": "system", "content": prompt("judge.system").template},
        {"role": "user", "content": user},
    ]
