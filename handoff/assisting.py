"""What helps an agent to write: passages, a draft by the same graph, canned replies.

All of it is from the bases that the customer may read: what is quoted to them is theirs to read.
"""

import re
from collections.abc import Callable
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from chat import graph, presenting, remembering, turns, understanding
from chat.models import Citation, Conversation, Message, Turn
from chat.state import TurnState
from handoff import access
from handoff.models import CannedReply, Draft, Handoff
from knowledge import citing, retrieval
from knowledge.models import Chunk
from knowledge.scope import Scope

FOUND = 6  # passages of one search
CITED = 10  # of one reply
LATEST = 12  # messages of the customer among which that is sought which asks
_VARIABLE = re.compile(r"\{(customer|agent|question|team)\}")
_MARK = re.compile(r"\[(\d{1,2})\]")


def passages(conversation: Conversation, query: str) -> list[dict[str, Any]]:
    """What the knowledge says of `query`, as citations with the id of their passage."""
    found = retrieval.search(query, turns.bases(conversation), top_k=FOUND).passages
    return _shown([passage.chunk_id for passage in found])


def _shown(chunks: list[int]) -> list[dict[str, Any]]:
    told = presenting.passages_json(chunks)  # without those that were deleted meanwhile
    return [
        {
            **citation,
            "chunk": chunks[citation["n"] - 1],
            "html": presenting.html(citation["quote"]),
        }
        for citation in told
    ]


def draft(conversation: Conversation, agent: Any) -> dict[str, Any] | None:
    """What OpsDesk would say to what the customer asked last: {"draft": id, "text", "html",
    "citations", "confidence", "guessed": whether it is the best of several that may be meant};
    None when it has no answer. Nothing is said, nobody called."""
    asked = _asked(conversation)
    if asked is None:
        return None
    try:
        answered = graph.answered(_read(asked))
    except citing.Outdated:  # a document was replaced meanwhile: once more
        answered = graph.answered(_read(asked))
    if answered.outcome != Turn.Outcome.ANSWERED:
        return None
    chunks = [citation["chunk"] for citation in answered.citations]
    row = Draft.objects.create(
        conversation=conversation,
        agent=agent,
        text=answered.text,
        citations=chunks,
        confidence=answered.confidence,
    )
    return {
        "draft": row.pk,
        "text": answered.text,
        "html": presenting.html(answered.text, len(chunks)),
        "confidence": answered.confidence,
        "guessed": answered.guessed,
        "cites": chunks,
        "citations": _shown(chunks),
    }


def _read(asked: Message) -> TurnState:
    """What the customer said, as OpsDesk would read it: after a choice what it picks, else the
    question that it completed. Nobody can be asked which one is meant."""
    choice = turns.choice_before(asked)
    question = asked.text if choice else turns.said(asked).text
    turn = graph.outside(question, turns.bases(asked.conversation), turns.history(asked))
    turn.asked, turn.guesses = choice, True
    turn.scope = Scope.of(asked.data.get("scope", {}))
    return turn


def _asked(conversation: Conversation) -> Message | None:
    """What the customer said last that asks something; "转人工" does not."""
    theirs = remembering.said(conversation.pk).filter(role=Message.Role.CUSTOMER).order_by("-seq")
    latest = list(theirs.select_related("turn")[:LATEST])
    asking = (one for one in latest if not understanding.intent(one.text))
    return next(asking, next(iter(latest), None))


def used(agent: Any, pk: Any, message: Message) -> None:
    """The draft `pk` became `message`, as it was or with changes."""
    mine = _drafts(agent, pk).filter(conversation=message.conversation_id, message=None)
    if row := mine.first():
        same = row.text.strip() == message.text.strip()
        row.outcome = Draft.Outcome.SENT if same else Draft.Outcome.EDITED
        row.message = message
        row.save(update_fields=["outcome", "message"])


def became(agent: Any, pk: Any, outcome: str) -> None:
    """The draft `pk` was inserted or dismissed; what was sent stays sent."""
    _drafts(agent, pk).filter(message=None).update(outcome=outcome)


def _drafts(agent: Any, pk: Any) -> Any:
    mine = Draft.objects.filter(agent=agent)
    return mine.filter(pk=pk) if isinstance(pk, int) else mine.none()


def settled(conversation: Conversation, text: str, chunks: list[int]) -> tuple[str, list[int]]:
    """`text` and `chunks` without passages that are gone or not for the customer to read: their
    marks go, and all others keep what they mean."""
    there = set(_readable(conversation, chunks).values_list("pk", flat=True)) if chunks else set()
    kept = [pk for pk in chunks if pk in there]
    if kept == chunks:
        return text, chunks

    def mark(found: re.Match[str]) -> str:
        n = int(found[1])
        if not 1 <= n <= len(chunks):
            return found[0]
        return f"[{kept.index(chunks[n - 1]) + 1}]" if chunks[n - 1] in there else ""

    return _MARK.sub(mark, text), kept


def _readable(conversation: Conversation, chunks: list[int]) -> QuerySet[Chunk]:
    return Chunk.objects.filter(pk__in=chunks, knowledge_base__in=turns.bases(conversation))


def cite(message: Message, conversation: Conversation, chunks: list[int]) -> None:
    """Let the marks [1] … of a reply point at `chunks`, in its transaction.

    Marks that nothing is given for stay text; `settled` has taken away what cannot be cited.
    """
    marks = [int(n) for n in _MARK.findall(message.text)]
    wanted = chunks[: min(CITED, max(marks, default=0))]
    if not wanted:
        return
    found = _readable(conversation, wanted).select_related("document").in_bulk()
    rows = []
    for n, pk in enumerate(wanted, 1):
        chunk = found.get(pk)
        if chunk is None:
            break
        rows.append(
            Citation(
                message=message, n=n, chunk=chunk, document=chunk.document,
                revision_id=chunk.revision_id, title=chunk.document.title,
                external_id=chunk.document.external_id, page=chunk.page, locator=chunk.locator,
                quote=chunk.text, regions=chunk.regions,
            )
        )  # fmt: skip
    Citation.objects.bulk_create(rows)


def canned(conversation: Conversation, agent: Any) -> list[dict[str, str]]:
    """The replies that the agent may call up here, filled in: [{"name", "text"}]."""
    fill = filler(conversation, agent)
    replies = CannedReply.objects.filter(shared_with(conversation, agent)).distinct()
    return [{"name": reply.name, "text": fill(reply.text)} for reply in replies]


def shared_with(conversation: Conversation, agent: Any) -> Q:
    """Replies and macros for everybody, for the conversation's team, or one of the agent's."""
    last = Handoff.objects.filter(conversation=conversation).order_by("-pk").first()
    team = last.team if last else None
    return Q(team=None) | Q(team=team) | Q(team__agents__user=agent)


def filler(conversation: Conversation, agent: Any) -> Callable[[str], str]:
    """What puts names and the question in the place of {customer}, {agent} …"""
    last = Handoff.objects.filter(conversation=conversation).order_by("-pk").first()
    team = last.team if last else None
    values = {
        "customer": access.name(conversation.user) if conversation.user else _("dear customer"),
        "agent": access.name(agent),
        "question": conversation.title,
        "team": team.name if team else "",
    }
    return lambda text: _VARIABLE.sub(lambda m: values[m[1]], text)
