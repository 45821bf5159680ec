"""What who waits for a person is told when it takes long, and waking what was put aside.

Nobody who was handed off is left in silence: with nobody there, or after OPSDESK_WAIT_MINUTES, the
chat says so once and offers the form. `sweep` runs every few seconds, in any number of processes.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.models import Conversation
from handoff import desk, teams
from handoff.models import Handoff
from handoff.ownership import say, speaking
from opsdesk.errors import Conflict

AT_ONCE = 50  # conversations of a sweep, which holds up the turns of its process
BEGINS = ("request", "transfer", "agent_gone")  # changes of hands with which a wait begins


def sweep() -> int:
    """How many conversations were told or woken."""
    return _tell() + _wake()


def _tell() -> int:
    waiting = Handoff.objects.filter(status=Handoff.Status.WAITING, told_at=None)
    staffed: dict[int | None, bool] = {}
    told = 0
    for handoff in waiting.longest_first().select_related("team__calendar", "conversation"):
        if handoff.team_id not in staffed:
            staffed[handoff.team_id] = teams.staffed(handoff.team)
        if not staffed[handoff.team_id] or _long(handoff):
            told += _told(handoff, staffed[handoff.team_id])
        if told >= AT_ONCE:
            break
    return told


def _long(handoff: Handoff) -> bool:
    """Whether it waits for longer than patience lasts, since it was called or handed on."""
    before = timezone.now() - timedelta(minutes=settings.HANDOFF_WAIT_MINUTES)
    if not settings.HANDOFF_WAIT_MINUTES or handoff.requested_at > before:
        return False
    changes = handoff.conversation.ownership_changes.filter(action__in=BEGINS, at__gt=before)
    return not changes.exists()


def _told(handoff: Handoff, staffed: bool) -> bool:
    try:
        return _tell_one(handoff, staffed)
    except Conversation.DoesNotExist:  # deleted meanwhile
        return False


@transaction.atomic
def _tell_one(handoff: Handoff, staffed: bool) -> bool:
    conversation = Conversation.objects.select_for_update().get(pk=handoff.conversation_id)
    mine = Handoff.objects.filter(pk=handoff.pk, status=Handoff.Status.WAITING, told_at=None)
    if not mine.update(told_at=timezone.now()):  # taken meanwhile, or another process said it
        return False
    said = conversation.messages.filter(epoch=conversation.epoch, data__event="nobody_on_duty")
    if said.exists():  # when it was called
        return False
    with speaking(conversation):
        say(conversation, *(_busy() if staffed else desk.nobody(handoff.team)))
    return True


def _busy() -> tuple[str, str]:
    text = _("All colleagues are busy. Your place in the line is kept; you can also leave a way to "
             "reach you.")  # fmt: skip
    return "still_waiting", text


def _wake() -> int:
    """Those put aside until a time that has come."""
    over = Handoff.objects.unfinished().filter(snoozed_until__lte=timezone.now())
    first = over.select_related("conversation").order_by("snoozed_until")[:AT_ONCE]
    return sum(_woken(handoff.conversation) for handoff in first)


def _woken(conversation: Conversation) -> bool:
    try:
        desk.wake(conversation)
    except (Conflict, Conversation.DoesNotExist):  # another process did, or its agent; deleted
        return False
    return True
