"""What an agent does from the console: may they, is it as they saw it, then `handoff.desk`.

An action names the epoch of the conversation that its agent saw. Whoever comes too late reads
who has it. The same reply or note again (by its `client_msg_id`) gives the message that is there.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import uploads
from chat.asking import MESSAGE_LENGTH
from chat.models import Conversation, Message
from handoff import access, actions, assisting, desk, macros
from handoff.models import TAG_LENGTH, Agent, Handoff, Team
from handoff.models.macros import LONGEST_SNOOZE
from opsdesk.errors import Conflict
from opsdesk.sockets import Refused, not_understood

_ID = re.compile(r"[!-~]{1,64}")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # NUL and halves of characters


def opened(user: Any, pk: Any, lock: bool = False) -> Conversation:
    """The conversation `pk`. Raises Refused when there is none that `user` may open."""
    # What is joined would be as it was before the lock was waited for.
    rows = (
        Conversation.objects.select_for_update()
        if lock
        else Conversation.objects.select_related("owner", "user", "site", "knowledge_base")
    )
    try:
        found = rows.get(pk=UUID(str(pk)))
    except (ValueError, Conversation.DoesNotExist):
        raise Refused("not_found", _("There is no such conversation.")) from None
    if not access.opens(user, found):
        raise Refused("forbidden", _("This conversation is with another team."))
    return found


@transaction.atomic
def act(user: Any, action: str, content: dict[str, Any]) -> Message | None:
    """Do `action` of ACTIONS to content["conversation"]; the message that it wrote, if it did.

    Raises Refused: "forbidden", "bad_message", or "conflict" when the conversation has moved on.
    """
    locked = opened(user, content.get("conversation"), lock=True)
    if said := _said_before(user, locked, action, content):
        return said
    if action != "note" and content.get("epoch") != locked.epoch:
        raise Refused("conflict", _whose(locked))
    try:
        return ACTIONS[action](user, locked, content)
    except Conflict as conflict:
        raise Refused("conflict", str(conflict)) from conflict
    except uploads.Refused as refused:
        raise Refused(refused.code, str(refused)) from refused


def _said_before(
    user: Any, conversation: Conversation, action: str, content: dict[str, Any]
) -> Message | None:
    """What this agent's earlier try stored, if one did: true whoever has the conversation now."""
    if action not in ("reply", "note", "macro"):
        return None
    own = _client_id(content)
    ids = [own, macros.note_id(own)] if action == "macro" else [own]
    written = conversation.messages.filter(client_msg_id__in=ids).order_by("seq").last()
    if written is None:
        return None
    as_asked = action == "macro" or written.public == (action == "reply")
    if written.author_id != user.pk or not as_asked:
        raise _bad()
    return written


def _whose(conversation: Conversation) -> str:
    handoff = Handoff.objects.unfinished().filter(conversation=conversation).first()
    who = conversation.owner or (handoff.offered_to if handoff else None)
    if who is None:
        return _("The conversation has changed hands: %(state)s.") % {
            "state": conversation.get_state_display()
        }
    if conversation.owner_id:
        return _("%(agent)s has this conversation.") % {"agent": access.name(who)}
    return _("This conversation is on offer to %(agent)s.") % {"agent": access.name(who)}


def _bad() -> Refused:
    return Refused("bad_message", not_understood())


def _client_id(content: dict[str, Any]) -> str:
    given = content.get("id")
    if not isinstance(given, str) or not _ID.fullmatch(given):
        raise _bad()
    return given


def _text(content: dict[str, Any], optional: bool = False) -> str:
    text = content.get("text", "" if optional else None)
    if not isinstance(text, str) or UNSTORABLE.search(text):
        raise _bad()
    text = text.strip()
    if (not optional and not text) or len(text) > MESSAGE_LENGTH:
        raise Refused("length", _("Write 1 to %(limit)s characters.") % {"limit": MESSAGE_LENGTH})
    return text


def run(user: Any, conversation: Conversation, name: Any) -> actions.Done:
    """Do what `handoff.actions` offers. Raises Refused."""
    try:
        return actions.run(user, conversation, str(name))
    except PermissionDenied:
        raise Refused("forbidden", _("This cannot be done here.")) from None
    except Conflict as conflict:
        raise Refused("conflict", str(conflict)) from conflict


# --- the actions ------------------------------------------------------------------------


def _reply(user: Any, conversation: Conversation, content: dict[str, Any]) -> Message:
    sent, cited = _uploads(content), _chunks(content)
    text = _text(content, optional=bool(sent))
    text, cited = assisting.settled(conversation, text, cited)
    alone = not sent and not cited
    said = desk.reply(conversation, user, text, _client_id(content), alone=alone)
    uploads.attach(said, sent, by=user)
    assisting.cite(said, conversation, cited)
    assisting.used(user, content.get("draft"), said)
    return said


def _chunks(content: dict[str, Any]) -> list[int]:
    given = content.get("cites", [])
    if not isinstance(given, list) or not all(type(one) is int for one in given):
        raise _bad()
    return given


def _note(user: Any, conversation: Conversation, content: dict[str, Any]) -> Message:
    sent = _uploads(content)
    text = _text(content, optional=bool(sent))
    said = desk.note(conversation, user, text, _client_id(content))
    uploads.attach(said, sent, by=user)
    return said


def _uploads(content: dict[str, Any]) -> list[str]:
    given = content.get("uploads", [])
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise _bad()
    return given


def _transfer(user: Any, conversation: Conversation, content: dict[str, Any]) -> None:
    desk.transfer(
        conversation,
        user,
        to=_agent(content["agent"]) if content.get("agent") else None,
        team=_team(content["team"]) if content.get("team") else None,
        text=_text(content, optional=True),
    )


def _assign(user: Any, conversation: Conversation, content: dict[str, Any]) -> None:
    desk.assign(conversation, _agent(content.get("agent")), user)


def _agent(pk: Any) -> Any:
    agent = Agent.objects.filter(user=pk) if isinstance(pk, int) else Agent.objects.none()
    if not agent.exists():
        raise Refused("no_agent", _("There is no such agent."))
    found = get_user_model().objects.get(pk=pk)
    if not access.may_serve(found):
        raise Refused("no_agent", _("There is no such agent."))
    return found


def _team(pk: Any) -> Team:
    found = Team.objects.filter(pk=pk).first() if isinstance(pk, int) else None
    if found is None:
        raise Refused("no_team", _("There is no such team."))
    return found


def _snooze(user: Any, conversation: Conversation, content: dict[str, Any]) -> None:
    minutes = content.get("minutes")
    if minutes is None:
        desk.snooze(conversation, user, None)
    elif isinstance(minutes, int) and 0 < minutes <= LONGEST_SNOOZE:
        desk.snooze(conversation, user, timezone.now() + timedelta(minutes=minutes))
    else:
        raise _bad()


def _macro(user: Any, conversation: Conversation, content: dict[str, Any]) -> Message | None:
    return macros.apply(conversation, user, content.get("macro"), _client_id(content))


def _priority(user: Any, conversation: Conversation, content: dict[str, Any]) -> None:
    priority = content.get("priority")
    if type(priority) is not int or priority not in Handoff.Priority:
        raise _bad()
    desk.prioritise(conversation, priority, user)


def _tags(user: Any, conversation: Conversation, content: dict[str, Any]) -> None:
    given = content.get("tags")
    if not isinstance(given, list) or not all(isinstance(tag, str) for tag in given):
        raise _bad()
    tags = [tag.strip() for tag in given if tag.strip()]
    if any(len(tag) > TAG_LENGTH or UNSTORABLE.search(tag) for tag in tags):
        limit = {"limit": TAG_LENGTH}
        raise Refused("length", _("A tag has at most %(limit)s characters.") % limit)
    desk.tag(conversation, user, tags)


def _simply(action: Callable[[Conversation, Any], object]) -> Callable[..., None]:
    def act(user: Any, conversation: Conversation, content: dict[str, Any]) -> None:
        action(conversation, user)

    return act


ACTIONS: dict[str, Callable[[Any, Conversation, dict[str, Any]], Message | None]] = {
    "claim": _simply(desk.claim),
    "accept": _simply(desk.accept),
    "decline": _simply(desk.decline),
    "take_over": _simply(desk.take_over),
    "reopen": _simply(desk.take_over),
    "return_to_bot": _simply(desk.return_to_bot),
    "resolve": _simply(desk.resolve),
    "reply": _reply,
    "note": _note,
    "transfer": _transfer,
    "assign": _assign,
    "snooze": _snooze,
    "macro": _macro,
    "priority": _priority,
    "tags": _tags,
}
