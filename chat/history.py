"""What somebody asked before."""

from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from chat.models import Conversation, Message

AT_ONCE = 20


def past(mine: QuerySet[Conversation], query: str, offset: int) -> dict[str, Any]:
    """Of `mine`, newest first, those in which something was said, with `query` in it; a page
    from `offset`: {"items": [{"conversation", "title", "state", "updated_at"}], "more": bool}"""
    mine = mine.exclude(last_seq=0)
    if query:
        said = Message.objects.filter(conversation=OuterRef("pk"), public=True)
        mine = mine.filter(Exists(said.filter(text__icontains=query)))
    rows = list(mine.order_by("-updated_at", "pk")[offset : offset + AT_ONCE + 1])
    return {"items": [_row(row) for row in rows[:AT_ONCE]], "more": len(rows) > AT_ONCE}


def _row(conversation: Conversation) -> dict[str, Any]:
    return {
        "conversation": str(conversation.pk),
        "title": conversation.title,
        "state": conversation.state,
        "updated_at": conversation.updated_at.isoformat(),
    }
