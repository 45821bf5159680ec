"""How well what customers tell is found and asked for, on dialogues that we wrote.

`data/slots/`: `held.jsonl` was written before the rules and is not looked at while they change,
`tuned.jsonl` beside them; both are ours and small, so shares say where it errs rather than how
often elsewhere. Without a model; nothing is written.
"""

import datetime
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chat.models import Topic
from chat.topics import trial
from knowledge.scope import fold

DATA = Path(__file__).parent / "data" / "slots"
TODAY = datetime.date(2026, 11, 21)  # by which the dialogues say "yesterday"
DAYS = {"today": 0, "yesterday": 1}


@dataclass
class Measured:
    messages: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    asked: list[int] = field(default_factory=list)  # questions back, by dialogue with a topic
    misses: list[str] = field(default_factory=list)

    def share(self, part: str, whole: str) -> float:
        return self.counts[part] / self.counts[whole] if self.counts[whole] else 1.0


def topics(file: Path = DATA / "topics.json") -> list[Topic]:
    """The topics of the dialogues, of which none is a row."""
    rows = json.loads(file.read_text("utf-8"))
    return [Topic(pk=-number, **row) for number, row in enumerate(rows, 1)]


def read(file: Path) -> list[dict[str, Any]]:
    """`{"id", "style", "turns": [{"say", "topic", "values": all told so far, "person"?}]}` a line:
    `topic` where the message begins one, "" for none. Raises OSError, ValueError."""
    lines = file.read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def measure(dialogues: list[dict[str, Any]], known: list[Topic]) -> Measured:
    """Values found of those that were told (`found` of `told`, and `right` of `taken`) after each
    message; `topic`: whether the message was taken for the right one, or for none."""
    made = Measured()
    for dialogue in dialogues:
        said = [turn["say"] for turn in dialogue["turns"]]
        steps = trial.play(known, said, today=TODAY)
        for turn, step in zip(dialogue["turns"], steps, strict=True):
            _compare(made, dialogue["id"], turn, step)
        if dialogue["turns"][0].get("topic"):
            made.asked.append(sum(bool(step.asked) for step in steps))
    return made


def _compare(made: Measured, name: str, turn: dict[str, Any], step: trial.Step) -> None:
    made.messages += 1
    wanted = {key: _day(value) for key, value in turn["values"].items()}
    if "topic" in turn:
        made.counts["topics"] += 1
        made.counts["topic"] += turn["topic"] == step.topic
        if turn["topic"] != step.topic:
            made.misses.append(f"{name} {turn['say']!r}: topic {step.topic!r}")
    if turn.get("person"):
        made.counts["person"] += step.person
    taken = {key: value for key, value in step.values.items() if value}
    made.counts["told"] += len(wanted)
    made.counts["taken"] += len(taken)
    for key in wanted.keys() | taken.keys():
        same = _same(wanted.get(key, ""), taken.get(key, ""))
        made.counts["right"] += same
        if not same:
            made.misses.append(
                f"{name} {turn['say']!r}: {key} {taken.get(key)!r}, not {wanted.get(key)!r}"
            )


def _same(wanted: str, taken: str) -> bool:
    """An error text may be told in more words than the least."""
    return bool(wanted and taken) and (
        fold(wanted) == fold(taken) or (len(wanted) > 7 and fold(wanted) in fold(taken))
    )


def _day(value: str) -> str:
    if value in DAYS:
        return str(TODAY - datetime.timedelta(days=DAYS[value]))
    return f"{TODAY.year}-{value}" if len(value) == 5 and value[2] == "-" else value


def issues(file: Path) -> list[str]:
    """The titles of `{"title": …}` a line. Raises OSError, ValueError, KeyError."""
    return [str(row["title"]) for row in read(file)]


def asked_back(messages: list[str], known: list[Topic]) -> dict[str, Any]:
    """What becomes of each of `messages` when a conversation begins with it: how many are asked
    back because of a topic, or because they say too little; and what each was asked."""
    counts: Counter[str] = Counter()
    replies = []
    for message in messages:
        [step] = trial.play(known, [message], today=TODAY)
        kind = "topic" if step.asked else "vague" if step.reply else "searched"
        counts[kind] += 1
        counts["of a topic"] += bool(step.topic)
        counts["values"] += sum(bool(value) for value in step.values.values())
        replies.append((message, kind, step.values))
    return {"counts": counts, "replies": replies}
