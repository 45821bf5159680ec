"""The one interface of all tools."""

from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise

from chat.models import Conversation
from knowledge.models import KnowledgeBase
from opsdesk.errors import BoundaryError


class ToolError(BoundaryError):
    """A tool did not do what was asked. Its sentence is for staff: it may name what is inside."""


@dataclass(frozen=True)
class Context:
    """For whom, and until when."""

    user: Any  # who is signed in, or None
    identity: str = ""  # who it is known to be, "" when nobody knows
    conversation: Conversation | None = None  # None in a trial
    bases: list[KnowledgeBase] = field(default_factory=list)  # that are asked
    deadline: float = 0.0  # of time.monotonic()

    @property
    def who(self) -> str:
        """Tells apart whose results are whose."""
        if self.user is not None:
            return f"user {self.user.pk}"
        visitor = self.conversation.visitor if self.conversation else ""
        return f"site {self.site} {self.identity}" if self.identity else f"visitor {visitor}"

    @property
    def site(self) -> int | None:
        """Which site says who it is; what one calls "1001" is another person for the next."""
        return self.conversation.site_id if self.conversation else None


@dataclass(frozen=True)
class Result:
    """What a tool brought."""

    text: str = ""  # to be said, Markdown
    person: bool = False  # a person is to be called
    query: str = ""  # to be looked for in the knowledge as well
    data: Any = None  # all of it, for the trial page alone


class Tool:
    """Base class of a tool: `run` does it, for arguments that are valid by `schema`.

    `run` ends by `context.deadline` and raises ToolError. Who may use it, what is confirmed, the
    record, the breaker and what happens when it is slow or fails are the caller's:
    `chat.tools.calling`.
    """

    name: str  # a–z, 0–9, _
    title: str | Promise  # for customers
    description: str  # for the model that chooses
    schema: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
    permission = ""  # of the user, such as "chat.view_turn"; "" lets everybody
    timeout = 10.0  # seconds
    sensitive = False  # only for a known identity, after a confirmation
    identified = False  # only for a known identity, which it makes use of
    repeatable = True  # doing it twice is as good as once
    # Whether arguments must have been said by the customer; else a model may word them.
    told = True
    version = ""  # changes with what it does: a confirmation holds for one version

    @classmethod
    def called(cls, name: str) -> "Tool":
        """One that is there no more."""
        gone = cls()
        gone.name = gone.title = name
        return gone

    def allows(self, context: Context) -> bool:
        """Whether the one who asks may use it at all."""
        user = context.user
        return not self.permission or bool(user and user.has_perm(self.permission))

    def knows(self, context: Context) -> bool:
        """Whether it takes the one who asks for who they are said to be."""
        return bool(context.identity)

    def bound(self, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        """What a call depends on: the arguments, and of the context what `run` makes use of."""
        return arguments

    def run(self, arguments: dict[str, Any], context: Context) -> Result:
        raise NotImplementedError
