"""What is known about a customer, beside the conversation: also from other visits and channels."""

import re
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import Q

from chat import slots
from chat.models import Conversation
from handoff import access, actions
from handoff.models import Handoff, OwnershipChange, Satisfaction

EARLIER = 20
CONTACTS = 5
LOOKED_AT = 20  # calls with a contact, of the same person
RECENT = 1000  # calls with a contact, of anybody
OF_MANY = Q(channel=Conversation.Channel.API)  # an integration is one account for all its customers
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_NUMBER = re.compile(r"(?<!\d)(?:\d[ -]?){6,14}\d(?!\d)")


def of(conversation: Conversation, user: Any) -> dict[str, Any]:
    """{"facts", "collected": [[label, value]], "summary", "reason", "contacts", "rating",
    "earlier", "changes", "actions"} as `user` may see it."""
    last = Handoff.objects.filter(conversation=conversation).order_by("-pk").first()
    same = _same_person(conversation)
    contacts = _contacts(conversation, user, same)
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
        "language": dict(settings.LANGUAGES).get(conversation.language, conversation.language),
        "base": base.name if base else "",
        "since": conversation.created_at.isoformat(),
    }


def _same_person(conversation: Conversation) -> Q:
    """Conversations of the same user, of whom the same site vouches for, or of the browser while
    nobody said who sits at it, as in `visitors.conversations`."""
    same = Q(pk=conversation.pk)
    if account := _account(conversation):
        same |= Q(user=account) & ~OF_MANY
    if conversation.identity:
        same |= Q(site=conversation.site_id, identity=conversation.identity)
    if conversation.visitor:
        same |= Q(visitor=conversation.visitor, user=None, identity="")
    return same


def _account(conversation: Conversation) -> Any:
    """The user who asks; None over the API, where one account speaks for many people."""
    return None if conversation.channel == Conversation.Channel.API else conversation.user


def _contacts(conversation: Conversation, user: Any, same: Q) -> list[str]:
    """How this person can be reached, what they left last first, as far as `user` may see it;
    then what their account says."""
    known = Conversation.objects.filter(same).values("pk")
    left = Handoff.objects.filter(conversation__in=known).exclude(contact="").order_by("-pk")
    given = [
        one.contact
        for one in left.select_related("conversation")[:LOOKED_AT]
        if access.opens(user, one.conversation)
    ]
    account = _account(conversation)
    mail = [account.email] if account else []
    vouched = [conversation.identity] if _ADDRESS.fullmatch(conversation.identity) else []
    last = list(dict.fromkeys(given))[:CONTACTS]
    return [one for one in dict.fromkeys([*last, *mail, *vouched]) if one]


def _reached_alike(contacts: list[str]) -> Q:
    """Conversations in which the same address or number was left, or of the account that has it:
    whoever writes from the web page today may have been in the widget before."""
    addresses = [one for text in contacts for one in _ADDRESS.findall(text)]
    written = [*addresses, *(one for text in contacts for one in _NUMBER.findall(text))]
    if not written:
        return Q(pk=None)
    said = [Q(contact__icontains=one) for one in written]
    mails = [Q(email__iexact=one) for one in addresses]
    lately = Handoff.objects.exclude(contact="").order_by("-pk").values("pk")[:RECENT]
    calls = Handoff.objects.filter(reduce(or_, said), pk__in=lately)
    users = get_user_model().objects.filter(reduce(or_, mails, Q(pk=None)))
    # Found first, so that conversations are looked up by their indexes.
    return (
        Q(pk__in=list(calls.values_list("conversation", flat=True)))
        | Q(user__in=list(users.values_list("pk", flat=True)[:RECENT])) & ~OF_MANY
        | Q(identity__in={*addresses, *map(str.lower, addresses)})
    )


def _earlier(
    conversation: Conversation, user: Any, same: Q, contacts: list[str]
) -> list[dict[str, Any]]:
    """The latest first; `by` says how it is known that they are this person's."""
    found = Conversation.objects.filter(same | _reached_alike(contacts))
    others = found.exclude(pk=conversation.pk).exclude(last_seq=0).order_by("-updated_at")
    shown = list(others[:EARLIER])
    theirs = Conversation.objects.filter(same, pk__in=[other.pk for other in shown])
    known = set(theirs.values_list("pk", flat=True))
    return [
        {
            "conversation": str(other.pk),
            "title": other.title,
            "state": other.get_state_display(),
            "channel": other.get_channel_display(),
            "by": _known_by(conversation, other) if other.pk in known else "contact",
            "updated_at": other.updated_at.isoformat(),
        }
        for other in shown
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
