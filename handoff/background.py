"""What is known about a customer, beside the conversation."""

from typing import Any

from django.db.models import Q, QuerySet

from chat import slots
from chat.models import Conversation
from handoff import access, actions, queues
from handoff.models import Handoff, OwnershipChange

EARLIER = 10


def of(conversation: Conversation, user: Any) -> dict[str, Any]:
    """{"facts", "collected": [[label, value]], "summary", "reason", "contact", "earlier",
    "changes", "actions"} as `user` may see it."""
    handoffs = Handoff.objects.filter(conversation__in=_same_person(conversation, itself=True))
    last = handoffs.filter(conversation=conversation).order_by("-pk").first()
    reached = handoffs.exclude(contact="").order_by("-pk").first()
    return {
        "facts": _facts(conversation),
        "collected": [list(pair) for pair in slots.collected(conversation)],
        "summary": last.summary if last else "",
        "reason": last.get_reason_display() if last else "",
        "contact": reached.contact if reached else "",
        "earlier": _earlier(conversation, user),
        "changes": _changes(conversation),
        "actions": actions.offered(user, conversation),
    }


def _facts(conversation: Conversation) -> dict[str, Any]:
    base, site = conversation.knowledge_base, conversation.site
    return {
        "who": queues.name(conversation.user) if conversation.user else conversation.identity,
        "verified": conversation.verified,
        "channel": conversation.get_channel_display(),
        "site": str(site) if site else "",
        "language": conversation.language,
        "base": base.name if base else "",
        "since": conversation.created_at.isoformat(),
    }


def _same_person(conversation: Conversation, itself: bool = False) -> QuerySet[Conversation]:
    """Conversations of the same user, of whom the same site vouches for, or of the browser."""
    same = Q(pk=conversation.pk)
    if conversation.user_id:
        same |= Q(user=conversation.user_id)
    elif conversation.identity:
        same |= Q(site=conversation.site_id, identity=conversation.identity)
    elif conversation.visitor:
        same |= Q(visitor=conversation.visitor, user=None, identity="")
    found = Conversation.objects.filter(same)
    return found if itself else found.exclude(pk=conversation.pk)


def _earlier(conversation: Conversation, user: Any) -> list[dict[str, Any]]:
    others = _same_person(conversation).exclude(last_seq=0).order_by("-updated_at")[:EARLIER]
    return [
        {
            "conversation": str(other.pk),
            "title": other.title,
            "state": other.state,
            "updated_at": other.updated_at.isoformat(),
        }
        for other in others
        if access.opens(user, other)
    ]


def _changes(conversation: Conversation) -> list[dict[str, Any]]:
    """The last changes of hands, newest first."""
    changes = OwnershipChange.objects.filter(conversation=conversation)
    return [
        {
            "text": change.message.text,
            "actor": queues.name(change.actor) if change.actor else "",
            "at": change.at.isoformat(),
        }
        for change in changes.select_related("message", "actor").order_by("-epoch")[:EARLIER]
    ]
