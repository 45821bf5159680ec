"""What a customer told about a topic so far, apart from the row that keeps it."""

import dataclasses
from typing import Any

from chat.models import Collected, Conversation, Topic, Turn
from chat.topics.schema import Field, fields

TIMES = 2  # that the same is asked; then it goes on without


@dataclasses.dataclass
class Collecting:
    topic: int | None  # key of the Topic; of one that is only tried out None
    name: str  # of the topic
    question: str  # that it began with
    values: dict[str, str] = dataclasses.field(default_factory=dict)
    field: str = ""  # the one that is being asked for
    asked: dict[str, int] = dataclasses.field(default_factory=dict)  # times
    declined: list[str] = dataclasses.field(default_factory=list)
    open: bool = True  # the question waits for what is missing

    def copy(self) -> "Collecting":
        made = dataclasses.replace(self)
        made.values, made.asked = dict(self.values), dict(self.asked)
        made.declined = list(self.declined)
        return made

    def missing(self, topic: Topic) -> list[Field]:
        """What is still to be asked for, in its order."""
        return [
            one
            for one in fields(topic.schema)
            if one.required and one.name not in self.values and one.name not in self.declined
        ]

    def tell(self, name: str, value: str) -> None:
        self.values[name] = value
        if name in self.declined:
            self.declined.remove(name)

    def decline(self, name: str) -> None:
        if name not in self.values and name not in self.declined:
            self.declined.append(name)


def load(conversation: Conversation) -> list[Collecting]:
    """All of a conversation, the latest first."""
    return [_of(row) for row in Collected.objects.filter(conversation=conversation)]


def keep(turn: Turn, collecting: Collecting, topics: list[Topic]) -> None:
    """Write what was told, with the end of `turn`: the same again when that is repeated."""
    topic = next((one for one in topics if one.pk == collecting.topic), None)
    if topic is None:  # deleted meanwhile
        return
    told: dict[str, Any] = dataclasses.asdict(collecting)
    told |= {
        "fields": [[one.name, one.label] for one in fields(topic.schema)],
        "turn": turn,
    }
    del told["topic"]
    Collected.objects.update_or_create(
        conversation_id=turn.conversation_id, topic_id=topic.pk, defaults=told
    )


def _of(row: Collected) -> Collecting:
    return Collecting(
        topic=row.topic_id,
        name=row.name,
        question=row.question,
        values=row.values,
        field=row.field,
        asked=row.asked,
        declined=row.declined,
        open=row.open,
    )
