"""Macros: what they would do in a conversation, and doing it."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.models import Conversation, Message
from handoff import assisting, desk
from handoff.models import Macro
from opsdesk.errors import Conflict


def note_id(client_msg_id: str) -> str:
    """Under which the note of a macro is stored once, beside its reply."""
    return f"{client_msg_id[:62]}.n"


def offered(conversation: Conversation, agent: Any) -> list[dict[str, Any]]:
    """Those that the agent may use here: [{"macro": id, "name", "steps", "reply", "note"}]."""
    fill = assisting.filler(conversation, agent)
    return [
        {
            "macro": macro.pk, "name": macro.name, "steps": macro.steps,
            "reply": fill(macro.reply), "note": fill(macro.note),
        }
        for macro in _theirs(conversation, agent)
    ]  # fmt: skip


def _theirs(conversation: Conversation, agent: Any) -> QuerySet[Macro]:
    found = Macro.objects.filter(assisting.shared_with(conversation, agent))
    return found.select_related("to_team").distinct()


def apply(
    conversation: Conversation, agent: Any, pk: Any, client_msg_id: str = ""
) -> Message | None:
    """Do all that a macro says, within the caller's transaction; the message it wrote, if it did.

    Raises Conflict when `agent` may not, or the macro is gone: then nothing of it may stay.
    """
    found = _theirs(conversation, agent).filter(pk=pk) if isinstance(pk, int) else None
    macro = found.first() if found is not None else None
    if macro is None:
        raise Conflict(_("This macro is not there any more."))
    fill = assisting.filler(conversation, agent)
    said = None
    if macro.note.strip():
        said = desk.note(conversation, agent, fill(macro.note), note_id(client_msg_id))
    if macro.reply.strip():
        said = desk.reply(conversation, agent, fill(macro.reply), client_msg_id)
    if macro.priority is not None:
        desk.prioritise(conversation, macro.priority, agent)
    if macro.tags:
        desk.tag(conversation, agent, macro.tags, add=True)
    _then(conversation, agent, macro)
    return said


def _then(conversation: Conversation, agent: Any, macro: Macro) -> None:
    match macro.then:
        case Macro.Then.TEAM | Macro.Then.QUEUE:
            desk.transfer(conversation, agent, team=macro.to_team)
        case Macro.Then.SNOOZE:
            until = timezone.now() + timedelta(minutes=macro.minutes or 0)
            desk.snooze(conversation, agent, until)
        case Macro.Then.BOT:
            desk.return_to_bot(conversation, agent)
        case Macro.Then.RESOLVE:
            desk.resolve(conversation, agent)
