"""What is known about a customer, beside the conversation: also from other visits and channels."""

import re
from typing import Any

from django.db.models import Q

from chat import slots
from chat.models import Conversation
from handoff import access, actions
from handoff.models import Handoff, OwnershipChange, Satisfaction

EARLIER = 20
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_NUMBER = re.compile(r"(?<!\d)(?:\d[ -]?){6,14}\d(?!\d)")


def of(conversation: Conversation, user: Any) -> dict[str, Any]:
    """{"facts", "collected": [[label, value]], "summary", "reason", "contacts", "rating",
    "earlier", "changes", "actions"} as `user` may see it."""
    last = Handoff.objects.filter(conversation=conversation).order_by("-pk").first()
    same = _same_person(conversation)
    contacts = _contacts(conversation, same)
    return {
        "facts": _facts(conversation),
        "collected": [list(pair) for pair in slots.collected(conversation)],
        "summary": last.summary if last else "",
        "reason": last.get_reason_display() if last else "",
        "contacts": contacts,
        "rating": _rating(conversation),
        "earlier": _earlier(conversation, user, same, contacts),
        "changes": _changes(conversation),
        "actions": actions.offered(user, conversation),
    }


def _facts(conversation: Conversation) -> dict[str, Any]:
    base, site = conversation.knowledge_base, conversation.site
    return {
        "who": access.name(conversation.user) if conversation.user else conversation.identity,
        "verified": conversation.verified,
        "channel": conversation.get_channel_display(),
        "site": str(site) if site else "",
        "language": conversation.language,
        "base": base.name if base else "",
        "since": conversation.created_at.isoformat(),
    }


def _same_person(conversation: Conversation) -> Q:
    """Conversations of the same user, of whom the same site vouches for, or of the browser."""
    same = Q(pk=conversation.pk)
    if conversation.user_id:
        same |= Q(user=conversation.user_id)
    if conversation.identity:
        same |= Q(site=conversation.site_id, identity=conversation.identity)
    if conversation.visitor:
        same |= Q(visitor=conversation.visitor)
    return same


def _contacts(conversation: Conversation, same: Q) -> list[str]:
    """How this person can be reached, what they left last first; then what their account says."""
    left = Handoff.objects.filter(conversation__in=Conversation.objects.filter(same))
    given = left.exclude(contact="").order_by("-pk").values_list("contact", flat=True)
    account = [conversation.user.email] if conversation.user else []
    vouched = [conversation.identity] if _ADDRESS.fullmatch(conversation.identity) else []
    return [one for one in dict.fromkeys([*given, *account, *vouched]) if one]


def _reached_alike(contacts: list[str]) -> Q:
    """Conversations in which the same address or number was left, or of the account that has it:
    whoever writes from the web page today may have been in the widget before."""
    alike = Q(pk=None)
    for text in contacts:
        for address in _ADDRESS.findall(text):
            alike |= Q(handoffs__contact__icontains=address) | Q(user__email__iexact=address)
            alike |= Q(identity__iexact=address)
        for number in _NUMBER.findall(text):
            alike |= Q(handoffs__contact__icontains=number)
    return alike


def _earlier(
    conversation: Conversation, user: Any, same: Q, contacts: list[str]
) -> list[dict[str, Any]]:
    """The latest first; `by` says how it is known that they are this person's."""
    known = set(Conversation.objects.filter(same).values_list("pk", flat=True))
    found = Conversation.objects.filter(same | _reached_alike(contacts)).distinct()
    others = found.exclude(pk=conversation.pk).exclude(last_seq=0).order_by("-updated_at")
    return [
        {
            "conversation": str(other.pk),
            "title": other.title,
            "state": other.get_state_display(),
            "channel": other.get_channel_display(),
            "by": _known_by(conversation, other) if other.pk in known else "contact",
            "updated_at": other.updated_at.isoformat(),
        }
        for other in others[:EARLIER]
        if access.opens(user, other)
    ]


def _known_by(one: Conversation, other: Conversation) -> str:
    if one.user_id and one.user_id == other.user_id:
        return "account"
    if one.identity and (one.site_id, one.identity) == (other.site_id, other.identity):
        return "account"
    return "browser"


def _rating(conversation: Conversation) -> dict[str, Any] | None:
    """What the customer said last of how they were helped."""
    given = Satisfaction.objects.filter(handoff__conversation=conversation)
    last = given.order_by("-handoff").first()
    return {"score": last.score, "comment": last.comment} if last else None


def _changes(conversation: Conversation) -> list[dict[str, Any]]:
    """The last changes of hands, newest first."""
    changes = OwnershipChange.objects.filter(conversation=conversation)
    return [
        {
            "text": change.message.text,
            "actor": access.name(change.actor) if change.actor else "",
            "at": change.at.isoformat(),
        }
        for change in changes.select_related("message", "actor").order_by("-epoch")[:EARLIER]
    ]
