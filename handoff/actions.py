"""What can be done with a conversation beside talking: named in `settings.CONSOLE_ACTIONS`.

The console shows the buttons; an app to the right fills in more.
"""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from chat.models import Conversation
from handoff import access


@dataclass(frozen=True)
class Done:
    """What an action came to: a sentence, and the page to go on at."""

    text: str
    url: str = ""


class Action:
    """Subclasses set `name` and `title`, and say who may and what is done.

    `run` must be harmless to repeat: people click twice. It raises Conflict, with a sentence, when
    it cannot be done.
    """

    name: str  # in addresses and on the socket
    title: str | Promise

    def allowed(self, user: Any, conversation: Conversation) -> bool:
        """Whether `user`, who may open the conversation, is offered it now."""
        raise NotImplementedError

    def refusal(self, user: Any, conversation: Conversation) -> str:
        """Why `user`, who is not offered it, is shown it all the same, as what they may not do; ""
        where it is no matter of theirs."""
        return ""

    def run(self, user: Any, conversation: Conversation) -> Done:
        raise NotImplementedError


def offered(user: Any, conversation: Conversation) -> list[dict[str, str]]:
    """The buttons for `user`: [{"name", "title"}], with "refused", why, where not allowed."""
    if not access.opens(user, conversation):
        return []
    return [
        {"name": one.name, "title": str(one.title)} | ({"refused": why} if why else {})
        for one in _registered()
        for allowed in [one.allowed(user, conversation)]
        for why in ["" if allowed else one.refusal(user, conversation)]
        if allowed or why
    ]


def run(user: Any, conversation: Conversation, name: str) -> Done:
    """Do it. Raises PermissionDenied when `user` may not or there is none, Conflict when it cannot
    be done."""
    for one in _registered():
        if one.name != name:
            continue
        if access.opens(user, conversation) and one.allowed(user, conversation):
            return one.run(user, conversation)
    raise PermissionDenied


def _registered() -> list[Action]:
    return [import_string(name)() for name in settings.CONSOLE_ACTIONS]
