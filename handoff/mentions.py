"""@name in a note calls a colleague: who can be called, who is, and whether they have looked."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from chat.models import Conversation, Message
from handoff import access, teams
from handoff.models import Handoff, Mention
from handoff.ownership import agent_group
from opsdesk.realtime import notify

SHOWN_FOR = timedelta(days=7)
SHOWN = 50  # conversations
EXCERPT = 80  # characters of the note


def colleagues(conversation: Conversation) -> QuerySet[Any]:
    """The users who may open it: others would be called to a closed door."""
    last = Handoff.objects.filter(conversation=conversation).order_by("-pk").first()
    theirs = teams.agents(last.team if last else teams.of(conversation)).values("user")
    who = Q(pk__in=theirs) | Q(is_superuser=True, agent__isnull=False)
    return get_user_model().objects.filter(who, is_active=True, is_staff=True)


def note(message: Message) -> None:
    """Call whom the note names, in its transaction."""
    if "@" not in message.text:
        return
    named = {
        name: user
        for user in colleagues(message.conversation).exclude(pk=message.author_id)
        for name in (user.get_username(), access.name(user))
    }
    if not named:
        return
    longest = sorted(named, key=len, reverse=True)  # 王海 is not 王海燕
    found = re.findall("@(" + "|".join(map(re.escape, longest)) + ")", message.text)
    for user in {named[name] for name in found}:
        _called, made = Mention.objects.get_or_create(message=message, user=user)
        if made:
            _tell(user, message)


def _tell(user: Any, message: Message) -> None:
    called = {
        "type": "handoff.mention",
        "conversation": str(message.conversation_id),
        "by": access.name(message.author),
        "text": message.text[:EXCERPT],
    }
    notify(agent_group(user.pk), called)


def seen(user: Any, conversation: Conversation) -> int:
    """`user` has looked; how many calls that answers."""
    new = Mention.objects.filter(user=user, message__conversation=conversation, seen_at=None)
    return new.update(seen_at=timezone.now())


def of(user: Any) -> dict[UUID, bool]:
    """The conversations that `user` was lately called into, the last call first, at most SHOWN:
    whether they have still to look."""
    lately = Mention.objects.filter(user=user, created_at__gte=timezone.now() - SHOWN_FOR)
    into = lately.order_by().values_list("message__conversation")
    calls = into.annotate(last=Max("created_at"), new=Count("pk", filter=Q(seen_at=None)))
    return {pk: new > 0 for pk, _last, new in calls.order_by("-last")[:SHOWN]}
