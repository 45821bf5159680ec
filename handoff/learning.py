"""What people answered becomes knowledge: a draft FAQ entry, which a curator publishes."""

from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import followups, grounding, remembering
from chat.models import Citation, Conversation, Message, Turn
from handoff import teams
from handoff.actions import Action, Done
from handoff.models import Handoff
from knowledge import entries, permissions
from knowledge.masking import masked
from knowledge.models import Entry, KnowledgeBase
from opsdesk.errors import Conflict

CONTEXT = 40  # messages shown beside a draft
SHORT = 4  # characters of an answer that says nothing: "好的", "稍等"
ENTRY = "admin:knowledge_entry_change"


class FaqDraft(Action):
    """The customer's question with what the person answered, as a draft."""

    name = "faq_draft"
    title = gettext_lazy("Make a draft FAQ entry")

    def allowed(self, user: Any, conversation: Conversation) -> bool:
        handoff = _helped(conversation)
        return handoff is not None and _base(user, handoff) is not None

    def refusal(self, user: Any, conversation: Conversation) -> str:
        handoff = _helped(conversation)
        if handoff is None or (_held(user).exists() and not any(_bases(handoff))):
            return ""  # whatever the user may, nothing tells which base it is
        return _("This needs a role that may add FAQ entries to the knowledge base in question.")

    @transaction.atomic
    def run(self, user: Any, conversation: Conversation) -> Done:
        handoff = _helped(conversation)
        if handoff is None:
            raise Conflict(_("No person has resolved this conversation."))
        Conversation.objects.select_for_update().get(pk=conversation.pk)
        handoff.refresh_from_db()
        if handoff.entry_id:
            return _done(_("The draft was made before."), handoff.entry_id)
        entry = draft(user, handoff)
        Handoff.objects.filter(pk=handoff.pk).update(entry=entry)
        text = _("A draft was made. It answers when a curator has published it.")
        if entry.origin != Entry.Origin.HANDOFF or entry.reference != _reference(handoff):
            text = _("There is an entry that asks the same.")
        return _done(text, entry.pk)


def _done(text: str, entry: int) -> Done:
    return Done(text, reverse(ENTRY, args=[entry]))


def draft(user: Any, handoff: Handoff) -> Entry:
    """The draft of what a person resolved, or the entry of the base that asks the same.

    Raises Conflict when nothing was asked or answered, or no base is the user's to change.
    """
    base = _base(user, handoff)
    question, answer = _question(handoff), _answer(handoff)
    if base is None or not question or not answer:
        raise Conflict(_("There is no question with an answer in it."))
    return entries.draft(
        base,
        masked(question),
        masked(answer),
        origin=Entry.Origin.HANDOFF,
        reference=_reference(handoff),
        context=[*_talk(handoff), *_sources(handoff)],
        user=user,
    )


def _reference(handoff: Handoff) -> str:
    when = timezone.localtime(handoff.requested_at)
    return f"{masked(str(handoff.conversation))} · {when:%Y-%m-%d %H:%M} · {handoff.pk}"


def _helped(conversation: Conversation) -> Handoff | None:
    """The last handoff that a person resolved."""
    resolved = Handoff.objects.filter(
        conversation=conversation, status=Handoff.Status.RESOLVED, taken_by__isnull=False
    )
    return resolved.order_by("-pk").first()


# --- which base -----------------------------------------------------------------------
def _base(user: Any, handoff: Handoff) -> KnowledgeBase | None:
    """The base it belongs to, as far as `user` may bring entries into it."""
    held = _held(user).in_bulk()
    for pk in _bases(handoff):
        if pk in held:
            return held[pk]
    return next(iter(held.values())) if len(held) == 1 else None


def _held(user: Any) -> QuerySet[KnowledgeBase]:
    """The bases that `user` may bring entries into."""
    every = KnowledgeBase.objects.all()
    if user.has_perm("knowledge.add_entry"):
        return every
    return every.filter(pk__in=permissions.by_role(user, "add"))


def _bases(handoff: Handoff) -> Iterator[int]:
    """Ids of the base that was asked, of the one that was cited last, of those of the team."""
    if handoff.conversation.knowledge_base_id:
        yield handoff.conversation.knowledge_base_id
    said = Citation.objects.filter(message__in=_messages(handoff))
    yield from teams.cited_bases(said).values()
    if handoff.team:
        yield from handoff.team.bases.values_list("pk", flat=True)


# --- what is in it --------------------------------------------------------------------
def _messages(handoff: Handoff) -> QuerySet[Message]:
    """What customer, OpsDesk and people said to each other until it was resolved."""
    said = remembering.said(handoff.conversation_id)
    return said.filter(created_at__lte=handoff.closed_at) if handoff.closed_at else said


def _question(handoff: Handoff) -> str:
    """The last question before somebody came, complete in itself; else the first one after."""
    if asked := _asked(handoff):
        trace = asked.trace
        if picked := trace.get("picked"):  # each of the places has another answer
            return _("%(question)s (%(place)s)") % {"question": trace["query"], "place": picked}
        return str(trace["query"]) if trace.get("completed") else asked.message.text
    said = _messages(handoff).filter(role=Message.Role.CUSTOMER).order_by("seq")
    texts = [one.text for one in said if len(one.text.strip()) > SHORT]
    return followups.complete(texts[0], []) if texts else ""


def _asked(handoff: Handoff) -> Turn | None:
    """Its turn, unless that only called for a person."""
    turns = Turn.objects.filter(
        conversation=handoff.conversation_id, message__seq__lte=handoff.last_seq
    ).exclude(outcome=Turn.Outcome.CHAT)
    if handoff.turn_id and handoff.reason in (Handoff.Reason.ASKED, Handoff.Reason.UNHAPPY):
        turns = turns.exclude(pk=handoff.turn_id)
    return turns.select_related("message").order_by("-pk").first()


def _answer(handoff: Handoff) -> str:
    """What the person said while they had it, but for "hello" and "one moment"."""
    said = _messages(handoff).filter(role=Message.Role.AGENT, seq__gt=handoff.last_seq)
    texts = (grounding.without_marks(one.text).strip() for one in said.order_by("seq"))
    return "\n\n".join(text for text in texts if len(text) > SHORT)


def _talk(handoff: Handoff) -> list[dict[str, str]]:
    who = dict(Message.Role.choices)
    latest = _messages(handoff).order_by("-seq")[:CONTEXT]
    return [
        {
            "who": str(who[one.role]),
            "at": f"{timezone.localtime(one.created_at):%Y-%m-%d %H:%M}",
            "text": masked(one.text),
        }
        for one in reversed(latest)
    ]


def _sources(handoff: Handoff) -> list[dict[str, str]]:
    """What was cited to the customer, each place once."""
    places = dict.fromkeys(
        " · ".join(part for part in (one.title, one.locator) if part)
        for one in _citations(handoff).order_by("message__seq", "n")
    )
    return [{"who": _("Source"), "at": "", "text": place} for place in places]


def _citations(handoff: Handoff) -> QuerySet[Citation]:
    return Citation.objects.of_answers().filter(message__in=_messages(handoff))
