"""What goes on after the reply: slow calls, and the end of old records."""

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from chat import dangers, transcript, turns
from chat.models import Conversation, Message, ToolCall, Turn
from chat.tools import calling, http, registry
from chat.tools.acting import MODE
from chat.tools.base import Context, Tool, ToolError
from opsdesk.errors import Conflict
from opsdesk.sealing import unseal

Status = ToolCall.Status


def finish(pk: int) -> None:
    """Make a call that a turn had no time for, and say what it brought. A task: when its worker
    was killed over it, it is made again where that does no harm, else its outcome is unknown."""
    record = ToolCall.objects.select_related("conversation__user").filter(pk=pk).first()
    if record is None or record.conversation is None:
        return
    conversation = record.conversation
    if record.status in (Status.ASKED, Status.CANCELLED):
        return
    with translation.override(conversation.language):
        if record.status not in calling.OPEN:  # a worker was killed before, or after, it said so
            _tell(record, registry.tool(record.tool, _asker(conversation)), record.result)
            return
        if conversation.epoch != record.epoch:  # a person sees to it now
            calling.close(record, Status.CANCELLED, error="a person took over")
            return
        asker = _asker(conversation)
        tool = registry.tool(record.tool, asker)
        _finish(record, tool, asker)


def _asker(conversation: Conversation) -> Context:
    return calling.asker_of(conversation, turns.bases(conversation))


def _finish(record: ToolCall, tool: Tool | None, asker: Context) -> None:
    arguments = unseal(record.sealed) if record.sealed else None
    if tool is None or arguments is None or not calling.same(tool, record, arguments, asker):
        calling.close(record, Status.REFUSED, error=_("It was changed after it was proposed."))
        _tell(record, tool)
    elif record.status == Status.RUNNING and not tool.repeatable:
        calling.close(record, Status.UNKNOWN, error=_("Its process was stopped."))
        _tell(record, tool)
    else:
        _make(record, tool, arguments, asker)


def _make(record: ToolCall, tool: Tool, arguments: dict[str, Any], asker: Context) -> None:
    mine = ToolCall.objects.filter(pk=record.pk, status=record.status)
    if not mine.update(status=Status.RUNNING):
        return  # another worker took it up
    text = ""
    with suppress(ToolError):  # which is on record
        text = calling.run(tool, record, arguments, asker, tool.timeout, patient=True).text
    _tell(record, tool, text)


def _tell(record: ToolCall, tool: Tool | None, text: str = "") -> None:
    """Say what became of a call, of which `text` is the result."""
    if record.status == Status.REFUSED:
        changed = _("This was changed in the meantime and has not been done. Please ask again.")
        _deliver(record, changed, [])
    elif record.status != Status.DONE:
        outcome = calling.failed(tool or Tool.called(record.tool), record)
        _deliver(record, outcome.text, outcome.options)
    elif dangers.found(http.unescaped(text)):
        sentence = _("The result can only be shown by a person.")
        _deliver(record, sentence, [_("Talk to a person")])
    else:
        _deliver(record, text, [])


def _deliver(record: ToolCall, text: str, options: list[str]) -> None:
    """Say it once; where a person took over meanwhile it is a note for them."""
    assert record.conversation_id is not None  # noqa: S101
    answered = record.status == Status.DONE
    say = partial(
        transcript.append,
        record.conversation_id,
        Message.Role.ASSISTANT,
        text,
        client_msg_id=f"{transcript.LATE}{record.pk}",
        data={
            "outcome": Turn.Outcome.ANSWERED if answered else Turn.Outcome.CHAT,
            "mode": MODE,
            "options": options,
        },
    )
    try:
        say(epoch=record.epoch)
    except Conflict:
        say(public=False)


def forget_old() -> int:
    """Delete records older than OPSDESK_TOOL_CALL_DAYS; how many there were. A task, hourly: what
    nobody confirmed is void by then."""
    unanswered = ToolCall.objects.filter(
        status=Status.ASKED, created_at__lt=timezone.now() - calling.CONFIRM
    )
    unanswered.update(status=Status.CANCELLED, sealed="", finished_at=timezone.now())
    if not settings.TOOL_CALL_DAYS:
        return 0
    limit = timezone.now() - timedelta(days=settings.TOOL_CALL_DAYS)
    deleted, _by_model = ToolCall.objects.filter(created_at__lt=limit).delete()
    return deleted
