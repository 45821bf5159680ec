"""A second look of a model at an answer: which sentences do not follow from what they cite?

Asked only when OPSDESK_JUDGE says so; the check of facts and words (`chat.grounding`) has
gone before.
"""

from collections.abc import Sequence
from typing import Any

from chat import generating
from chat.llms import Messages
from chat.prompting import prompt
from chat.state import TurnState
from knowledge.retrieval import Passage

SCHEMA = {
    "type": "object",
    "properties": {"unsupported": {"type": "array", "items": {"type": "integer"}}},
    "required": ["unsupported"],
    "additionalProperties": False,
}
PROMPTS = ("judge.system", "judge.user")


def unsupported(
    model: Any, turn: TurnState, sentences: Sequence[str], passages: list[Passage]
) -> set[int]:
    """Places (from 0) of the `sentences` that `model` finds unsupported by the passages they cite.

    Raises ModelError.
    """
    verdict = model.structured(
        messages(sentences, passages),
        SCHEMA,
        name="judge",
        deadline=turn.deadline - generating.RESERVE,
        cancelled=turn.cancelled,
        report=generating.noting(turn, *PROMPTS),
    )
    return {number - 1 for number in verdict["unsupported"]} & set(range(len(sentences)))


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
